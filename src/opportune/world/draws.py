"""Random numbers by hashing: the same (seed, stream, customer, day, j) always gives the same draw.

Because no draw depends on what was drawn before, two policies run in the same world meet the same customers having the
same days (common random numbers), and any part of the world can be computed without the rest.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MASK = (1 << 64) - 1
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


class Stream(IntEnum):
    """What a draw is for. Numbers are part of the world's definition: never reuse or renumber."""

    RHYTHM = 1
    ARRIVAL = 2
    ZONE = 3
    ZONE_KNOWN = 4
    HOUR_TYPE = 5
    ENGAGEMENT = 6
    TASTE = 7
    ADDRESS = 8
    CONSENT = 9
    TRAIT = 10
    PRODUCT = 11
    START_MODE = 12
    SYMBOL = 13
    MODE = 14
    SIGN_UP = 15
    SECOND_SESSION = 16
    HOUR = 17
    SECOND = 18
    SLOT = 19
    GAP = 20
    BASKET = 21
    REFUND = 22
    NEWSLETTER = 23
    DELIVERY = 24
    OPEN = 25
    CLICK = 26
    UNSUBSCRIBE = 27
    ORDER = 28
    DELAY = 29
    DEVICE = 30


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


class Draws:
    """Uniform draws in [0, 1) addressed by name instead of by order."""

    def __init__(self, seed: int) -> None:
        self._key = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])

    def uniform(self, stream: Stream, who: Ints, day: Ints | int = 0, j: Ints | int = 0) -> Floats:
        """One draw per element of the broadcast of `who`, `day` and `j` (all non-negative integers)."""
        base = np.uint64((self._key + int(stream) * 0xD1342543DE82EF95) & _MASK)
        x = np.asarray(who, np.int64).astype(np.uint64)
        for part in (x, day, j):
            value = np.atleast_1d(np.asarray(part, np.int64)).astype(np.uint64)
            base = _mix((base + value) * _GOLDEN + _M2)  # type: ignore[assignment]
        return (np.asarray(base) >> _S11).astype(np.float64) * 2.0**-53

    def exponential(self, stream: Stream, who: Ints, day: Ints | int = 0, j: Ints | int = 0) -> Floats:
        """Exponential draws of mean 1."""
        return -np.log1p(-self.uniform(stream, who, day, j))

    def choice(self, shares: Floats, stream: Stream, who: Ints, day: Ints | int = 0, j: Ints | int = 0) -> Ints:
        """Index into `shares` (non-negative, scaled to sum 1) with those probabilities."""
        edges = np.cumsum(shares) / np.sum(shares)
        return np.searchsorted(edges[:-1], self.uniform(stream, who, day, j), side="right").astype(np.int64)
