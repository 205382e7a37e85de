"""Which local hour of the day to speak at: opens per letter sent, smoothed round the clock and shrunk.

Every rate is opens relative to sends of the same hour, so that hours in which much was sent look no better for it.
Counts are smoothed by a circular normal curve of sigma 2 h. A customer's own shape is shrunk towards that of the part
of the day in which the customer is usually around, that towards everybody's, by Gamma-Poisson shrinkage (Clayton &
Kaldor 1987): (observed opens + w) / (expected opens + w) times the shape above it; w is chosen by likelihood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.learning.calibration import Floats

Ints = npt.NDArray[np.int64]

SIGMA_H = 2.0
#: Parts of the day, three hours each; the last number stands for customers hardly seen yet.
N_PARTS = 8
UNSEEN = N_PARTS
#: Events a customer needs before the usual part of the day is said.
LEAST_SEEN = 12.0
#: Expected opens that a part's shape must outweigh; within the smoothing window of an hour.
PART_WEIGHT = 3.0
_AWAY = np.abs((np.arange(24)[:, None] - np.arange(24)[None, :] + 12) % 24 - 12)
KERNEL: Floats = np.exp(-0.5 * (_AWAY / SIGMA_H) ** 2)
KERNEL /= KERNEL.sum(axis=1, keepdims=True)
#: Candidates for the weight of the shape above beside a customer's own, and for the weight of the average level.
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 1e9)
LEVEL_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)


def to_local(utc: Floats, offset_h: Floats) -> Floats:
    """Counts by UTC hour (n, 24) as counts by local hour, offsets (n,) in hours; half hours are split evenly."""
    whole = np.floor(offset_h).astype(np.int64)
    part = (offset_h - whole)[:, None]
    index = (np.arange(24)[None, :] - whole[:, None]) % 24
    here = np.take_along_axis(utc, index, axis=1)
    if not part.any():
        return here
    return np.asarray(part * np.take_along_axis(utc, (index - 1) % 24, axis=1) + (1 - part) * here)


def part_of(active: Floats) -> Ints:
    """The part of the day (n,) in which customers are usually around, from activity by local hour (n, 24)."""
    busiest = (active @ KERNEL).argmax(axis=1) * N_PARTS // 24
    return np.where(active.sum(axis=1) >= LEAST_SEEN, busiest, UNSEEN).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Letters whose answer is known. `row`: into the arrays of Histories; `hour`: local, 0-23; `opened` 0/1.

    `p_hour`: probability with which chance chose the hour; NaN when it was not left to chance. `cohort`: 0 is oldest.
    """

    row: Ints
    hour: Ints
    opened: Floats
    p_hour: Floats
    cohort: Ints

    def __len__(self) -> int:
        return len(self.row)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Letters":
        """The letters under a mask."""
        return Letters(
            row=self.row[mask],
            hour=self.hour[mask],
            opened=self.opened[mask],
            p_hour=self.p_hour[mask],
            cohort=self.cohort[mask],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """What was known of each customer before their letters: (n, 24) by local hour."""

    sent: Floats
    opened: Floats
    active: Floats

    def take(self, rows: Ints) -> "Histories":
        """These rows."""
        return Histories(sent=self.sent[rows], opened=self.opened[rows], active=self.active[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The fitted shapes. `p`: share of letters opened; `everybody` (24,) and `parts` (9, 24): relative, mean about 1.

    `own_weight`, `level_weight`: expected opens that the shape above, and the average level, are worth.
    """

    p: float
    everybody: Floats
    parts: Floats
    own_weight: float
    level_weight: float
    part_letters: tuple[int, ...] = field(default=(0,) * (N_PARTS + 1))

    def levels(self, known: Histories, parts: Ints) -> Floats:
        """How readily each opens (n,), 1 for the average."""
        expected = self.p * (known.sent * self.parts[parts]).sum(axis=1)
        return np.asarray((known.opened.sum(axis=1) + self.level_weight) / (expected + self.level_weight))

    def shapes(self, known: Histories) -> tuple[Floats, Floats, Ints]:
        """Relative chance of each local hour (n, 24), level (n,), and part of the day (n,)."""
        parts = part_of(known.active)
        level = self.levels(known, parts)
        above = self.parts[parts]
        expected = (known.sent * above * (self.p * level)[:, None]) @ KERNEL
        own = (known.opened @ KERNEL + self.own_weight) / (expected + self.own_weight)
        return above * own, level, parts

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "p": self.p,
            "everybody": self.everybody.tolist(),
            "parts": self.parts.tolist(),
            "own_weight": self.own_weight,
            "level_weight": self.level_weight,
            "part_letters": list(self.part_letters),
        }

    @classmethod
    def from_json(cls, block: Mapping[str, Any]) -> "Timing":
        """Raises ValueError or KeyError for anything but 24 positive hours, 9 parts, positive weights."""
        everybody, parts = np.array(block["everybody"], dtype=np.float64), np.array(block["parts"], dtype=np.float64)
        p, own, level = float(block["p"]), float(block["own_weight"]), float(block["level_weight"])
        if everybody.shape != (24,) or parts.shape != (N_PARTS + 1, 24):
            raise ValueError(f"hours of shape {everybody.shape} and {parts.shape} are no send-time model")
        if not (np.isfinite(parts).all() and (parts > 0).all() and (everybody > 0).all() and 0 <= p <= 1):
            raise ValueError("a send-time model holds numbers that are no chances")
        if not (own > 0 and level > 0):
            raise ValueError("a send-time model needs positive weights")
        return cls(
            p=p,
            everybody=everybody,
            parts=parts,
            own_weight=own,
            level_weight=level,
            part_letters=tuple(int(n) for n in block["part_letters"]),
        )


def fit(letters: Letters, known: Histories) -> Timing:
    """Shapes of everybody and of each part of the day from all letters; weights by the likelihood of the newest cohort.

    Raises ValueError when no letter was opened.
    """
    if not len(letters) or not letters.opened.any():
        raise ValueError("send times need letters of which some were opened")
    p = float(letters.opened.mean())
    sent, opened = _by_hour(letters.hour, np.ones(len(letters))), _by_hour(letters.hour, letters.opened)
    everybody = (opened @ KERNEL + PART_WEIGHT) / (p * sent @ KERNEL + PART_WEIGHT)
    everybody = everybody / everybody.mean()
    p_of = p * everybody
    p_of *= letters.opened.sum() / (sent * p_of).sum()
    p = float(p_of.mean())
    part = part_of(known.active)[letters.row]
    parts, n_letters = np.tile(everybody, (N_PARTS + 1, 1)), []
    for k in range(N_PARTS + 1):
        mine = part == k
        n_letters.append(int(mine.sum()))
        expected = _by_hour(letters.hour[mine], p_of[letters.hour[mine]])
        seen = _by_hour(letters.hour[mine], letters.opened[mine])
        # the level of a part is no matter of hours: only its shape is kept
        expected *= seen.sum() / expected.sum() if seen.any() else 1.0
        parts[k] *= (seen @ KERNEL + PART_WEIGHT) / (expected @ KERNEL + PART_WEIGHT)
        parts[k] /= parts[k].mean()
    newest = letters.where(letters.cohort == letters.cohort.max())
    mine = known.take(newest.row)
    best: tuple[float, Timing] | None = None
    for own in WEIGHTS:
        for level in LEVEL_WEIGHTS:
            made = Timing(
                p=p,
                everybody=everybody,
                parts=parts,
                own_weight=own,
                level_weight=level,
                part_letters=tuple(n_letters),
            )
            loss = _log_loss(made, newest, mine)
            if best is None or loss < best[0]:
                best = (loss, made)
    assert best is not None
    return best[1]


def _by_hour(hour: Ints, weight: Floats) -> Floats:
    return np.bincount(hour, weights=weight, minlength=24).astype(np.float64)


def p_open(timing: Timing, letters: Letters, known: Histories) -> Floats:
    """Probability that each letter is opened, from what was known before it. `known`: one row per letter."""
    shapes, level, _ = timing.shapes(known)
    p = timing.p * level * shapes[np.arange(len(letters)), letters.hour]
    return np.clip(p, 1e-4, 0.99)


def _log_loss(timing: Timing, letters: Letters, known: Histories) -> float:
    p = p_open(timing, letters, known)
    return float(-(letters.opened * np.log(p) + (1 - letters.opened) * np.log1p(-p)).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """Share opened if letters went within an hour of `hour`, by SNIPS; `se`: standard error; `n`: letters that tell."""

    value: float
    se: float
    n: int
    influence: Floats


def snips(letters: Letters, best_hour: Ints) -> PolicyValue:
    """Off-policy value of sending at the best hour or an hour beside it, each with chance 1/3; letters are randomised.

    Self-normalised importance sampling (Swaminathan & Joachims 2015). No letter that tells: value NaN.
    """
    near = np.abs((letters.hour - best_hour + 12) % 24 - 12) <= 1
    weight = np.where(near, 1 / 3 / letters.p_hour, 0.0)
    total = weight.sum()
    if total == 0:
        return PolicyValue(value=float("nan"), se=float("nan"), n=0, influence=np.zeros(len(letters)))
    value = float((weight * letters.opened).sum() / total)
    influence = weight * (letters.opened - value) / total
    return PolicyValue(value=value, se=float(np.sqrt((influence**2).sum())), n=int(near.sum()), influence=influence)


def best_hours(shapes: Floats, allowed: Sequence[int]) -> Ints:
    """The best of the allowed local hours for each row (n,)."""
    hours = np.array(sorted(allowed), dtype=np.int64)
    return np.asarray(hours[shapes[:, hours].argmax(axis=1)])
