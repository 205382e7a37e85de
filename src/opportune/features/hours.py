"""Hours of the week: where an instant falls in it, and circular smoothing over the week's end."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEEK_HOURS = 168
#: 1970-01-01 was a Thursday: hour 0 since 1970 is hour 72 of a week that begins on Monday.
EPOCH_SLOT = 72
#: Standard deviation of the circular Gaussian, in hours, and how far it reaches.
SIGMA_HOURS, REACH_HOURS = 2.0, 6


def _kernel() -> tuple[float, ...]:
    raw = [math.exp(-0.5 * (d / SIGMA_HOURS) ** 2) for d in range(-REACH_HOURS, REACH_HOURS + 1)]
    return tuple(weight / sum(raw) for weight in raw)


#: Weights of the hours from -REACH to +REACH, summing to 1.
KERNEL = _kernel()


def slot_of(tile: int) -> int:
    """The hour of week, 0-167, Monday 0:00 UTC first, of an hour since 1970."""
    return (tile + EPOCH_SLOT) % WEEK_HOURS


def smoothed(weights: Iterable[tuple[int, float]], size: int) -> tuple[float, ...]:
    """(slot, weight) pairs spread over their neighbours, round the circle of `size` slots (24 or 168)."""
    found = [0.0] * size
    for slot, weight in weights:
        at = slot - REACH_HOURS
        for share in KERNEL:
            found[at % size] += weight * share
            at += 1
    return tuple(found)


def smoothed_rows(slots: Sequence[Any], weights: Sequence[Any], size: int) -> NDArray[np.float64]:
    """The same for many rows at once: lists of slots (hours of the week) and of weights -> (rows, size).

    A row without visits is null or empty in both.
    """
    dense = np.zeros((len(slots), size))
    lengths = [0 if held is None else len(held) for held in slots]
    rows = np.repeat(np.arange(len(slots)), lengths)
    if len(rows):
        at = np.concatenate([held for held, n in zip(slots, lengths, strict=True) if n]).astype(np.int64) % size
        told = np.concatenate([held for held, n in zip(weights, lengths, strict=True) if n])
        np.add.at(dense, (rows, at), told)
    circle = np.zeros((size, size))
    for d, share in enumerate(KERNEL):
        for slot in range(size):
            circle[slot, (slot + d - REACH_HOURS) % size] += share
    spread: NDArray[np.float64] = dense @ circle
    return spread
