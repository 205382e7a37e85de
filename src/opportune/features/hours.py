"""Hours of the week: where an instant falls in it, and circular smoothing over the week's end."""

import math
from collections.abc import Sequence
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


def smoothed(week: Sequence[float]) -> list[float]:
    """168 weights, each spread over its neighbours round the week. Term by term, so that any machine says the same."""
    circle = np.array([*week[-REACH_HOURS:], *week, *week[:REACH_HOURS]])
    found = circle[:WEEK_HOURS] * KERNEL[0]
    for d in range(1, len(KERNEL)):
        found += circle[d : d + WEEK_HOURS] * KERNEL[d]
    spread: list[float] = found.tolist()
    return spread


def folded(week: Sequence[float]) -> list[float]:
    """The days of a week laid on top of each other: 24 weights."""
    return [sum(week[hour::24]) for hour in range(24)]


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
    spread = np.zeros_like(dense)
    for d, share in enumerate(KERNEL):
        spread += np.roll(dense, d - REACH_HOURS, axis=1) * share
    return spread
