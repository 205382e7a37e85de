"""The one vector builder: training sets and decisions both come through here. Null becomes NaN."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opportune.domain.decisions import Value
from opportune.features.catalog import BY_NAME, Feature

Matrix = NDArray[np.float64]


def columns(names: Sequence[str]) -> list[str]:
    """One name per column: a vector feature of size n gives `name_0` .. `name_(n-1)`.

    Raises KeyError for a name the catalogue does not have, ValueError for a text.
    """
    wide: list[str] = []
    for name in names:
        feature = _numeric(name)
        wide += [name] if feature.dtype != "vector" else [f"{name}_{i}" for i in range(feature.size)]
    return wide


def build(values: Mapping[str, Value], names: Sequence[str]) -> Matrix:
    """One customer: 1-d float64, in the order of `columns(names)`.

    Raises KeyError for a name not in `values`, ValueError for a text.
    """
    row: list[float] = []
    for name in names:
        value = values[name]
        if value is None:
            row += [np.nan] * BY_NAME[name].size
        elif isinstance(value, tuple | list):
            row += value
        elif isinstance(value, str):
            raise ValueError(f"{name} is a text: no model can read it")
        else:
            row.append(value)
    return np.array(row, dtype=np.float64)


def build_many(many: Iterable[Mapping[str, Value]], names: Sequence[str]) -> Matrix:
    """Many customers: 2-d float64, one row each."""
    rows = [build(values, names) for values in many]
    return np.vstack(rows) if rows else np.empty((0, len(columns(names))), dtype=np.float64)


def frame_to_matrix(frame: Any, names: Sequence[str]) -> Matrix:
    """A pandas frame with one column per feature (vectors as sequences): 2-d float64, rows in the frame's order."""
    parts: list[Matrix] = []
    for name in names:
        feature = _numeric(name)
        series = frame[name]
        if feature.dtype == "vector":
            blank = [np.nan] * feature.size
            cells = [blank if cell is None or np.ndim(cell) == 0 else cell for cell in series]
            parts.append(np.array(cells, dtype=np.float64).reshape(len(series), feature.size))
        else:
            parts.append(series.to_numpy(dtype=np.float64, na_value=np.nan).reshape(-1, 1))
    return np.hstack(parts) if parts else np.empty((len(frame), 0), dtype=np.float64)


def _numeric(name: str) -> Feature:
    feature = BY_NAME[name]
    if feature.dtype == "text":
        raise ValueError(f"{name} is a text: no model can read it")
    return feature
