"""Training features through Feast: finished rows written as its offline source, looked up point in time."""

import warnings
from pathlib import Path
from typing import Any

from opportune.adapters.feast_repo import PROJECT, Place, exclusive, open_store
from opportune.features.catalog import FEATURES
from opportune.features.columns import arrow_columns

_VIEW = "customer_features"


class FeastOffline:
    """Finished rows in, the same rows out of `get_historical_features`, every one of them accounted for."""

    def __init__(self, home: Path, project: str = PROJECT, place: Place | None = None) -> None:
        """`place` null: a file registry in the home."""
        self._home, self._place = home, place or Place(home=home, project=project)

    def look_up(self, finished: Any) -> Any:
        """A frame with customer_id, at and features -> the same frame with the values Feast gives.

        The source is written anew each time (the features were computed as known at `at`, which is also Feast's
        created instant), so nothing stale can be joined. Raises RuntimeError when a row or key is lost on the way.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = ["customer_id", "at"]
        if finished.empty:
            return finished.copy()
        features = [f for f in FEATURES if f.name in finished]
        unique = finished.drop_duplicates(keys)[[*keys, *(f.name for f in features)]].reset_index(drop=True)
        instants = unique["at"].dt.tz_convert("UTC").dt.as_unit("us")
        folder = self._home.absolute() / "feast" / "offline"
        path = folder / "customer_features.parquet"
        with exclusive(folder / ".lock"):
            table = pa.table(
                {
                    "customer_id": pa.array(unique["customer_id"], pa.string()),
                    "event_timestamp": pa.array(instants, pa.timestamp("us", tz="UTC")),
                    "created": pa.array(instants, pa.timestamp("us", tz="UTC")),
                    **arrow_columns(unique),
                }
            )
            draft = path.with_suffix(".draft")
            pq.write_table(table, draft)
            draft.replace(path)
            asked = unique[["customer_id"]].assign(event_timestamp=instants)
            store = open_store(self._place)
            with warnings.catch_warnings():  # Feast's duckdb store reaches for ibis, which warns about its own calls
                warnings.simplefilter("ignore", DeprecationWarning)
                found = store.get_historical_features(
                    entity_df=asked, features=[f"{_VIEW}:{f.name}" for f in features]
                ).to_df()
        return _checked(finished, unique, found)


def _checked(finished: Any, unique: Any, found: Any) -> Any:
    """The found values on the rows asked for; raises RuntimeError unless keys are the same, each once."""
    import pandas as pd

    found = found.rename(columns={"event_timestamp": "at"})
    found["at"] = pd.to_datetime(found["at"], utc=True).dt.as_unit("us")
    index = pd.MultiIndex.from_arrays([found["customer_id"], found["at"]])
    wanted = pd.MultiIndex.from_arrays([unique["customer_id"], unique["at"].dt.tz_convert("UTC").dt.as_unit("us")])
    if len(found) != len(unique) or not index.is_unique or len(wanted.difference(index)):
        raise RuntimeError(
            f"Feast returned {len(found)} rows for {len(unique)} asked: a training set from them would be wrong"
        )
    values = found.set_index(index)
    order = pd.MultiIndex.from_arrays([finished["customer_id"], finished["at"].dt.tz_convert("UTC").dt.as_unit("us")])
    picked = values.loc[order]
    whole = finished.copy()
    for feature in (f for f in FEATURES if f.name in finished):
        whole[feature.name] = picked[feature.name].to_numpy()
        if feature.dtype in ("int", "bool"):
            if picked[feature.name].isna().any():
                raise RuntimeError(f"Feast lost values of {feature.name}, which is never null")
            whole[feature.name] = whole[feature.name].astype("int64" if feature.dtype == "int" else "bool")
    return whole
