"""Finished features as typed Arrow columns: the catalogue says the type, whatever the values at hand look like."""

from typing import Any

from opportune.features.catalog import FEATURES


def arrow_columns(frame: Any) -> dict[str, Any]:
    """Name -> Arrow array of every feature column of a pandas frame, in the catalogue's order; NaN becomes null."""
    import pyarrow as pa

    kinds = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "vector": pa.list_(pa.float64()),
        "text": pa.string(),
    }
    return {f.name: pa.array(frame[f.name], kinds[f.dtype], from_pandas=True) for f in FEATURES if f.name in frame}
