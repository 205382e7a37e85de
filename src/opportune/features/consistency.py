"""Served against recomputed: the same feature, customer and instant, told apart by how they differ. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from opportune.domain.decisions import Value
from opportune.features.catalog import NAMES

#: Floats may differ by this, relative above 1 and absolute below. Whole numbers may not differ at all.
TOLERANCE = 1e-9
#: More than this share of a feature's compared rows calls for somebody.
ALARM_SHARE = 0.001


class Difference(StrEnum):
    """How a served value is not the offline one."""

    MISMATCH = "mismatch"  # both are there and differ
    MISSING = "missing"  # offline there is a value, served it was null
    EXTRA = "extra"  # served there was a value, offline it is null


@dataclass(slots=True)
class Tally:
    """One feature over the compared rows. `max_relative_error`: of the mismatches; 1.0 where numbers cannot be told."""

    n: int = 0
    n_mismatch: int = 0
    n_missing: int = 0
    n_extra: int = 0
    max_relative_error: float = 0.0

    @property
    def share(self) -> float:
        """Rows that differ in whatever way, in [0, 1]."""
        return (self.n_mismatch + self.n_missing + self.n_extra) / self.n if self.n else 0.0


@dataclass(slots=True)
class Consistency:
    """Every catalogue feature over `n_rows` decisions; a served name the catalogue lacks is tallied as extra too."""

    n_rows: int = 0
    features: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in NAMES})

    def add(self, names: Iterable[str], differences: Mapping[str, tuple[Difference, float]]) -> None:
        """Count one compared row: the features that were served, and those of them that differ."""
        self.n_rows += 1
        for name in names:
            tally = self.features.setdefault(name, Tally())
            tally.n += 1
            if name not in differences:
                continue
            what, error = differences[name]
            if what is Difference.MISMATCH:
                tally.n_mismatch += 1
                tally.max_relative_error = max(tally.max_relative_error, error)
            elif what is Difference.MISSING:
                tally.n_missing += 1
            else:
                tally.n_extra += 1

    @property
    def worst(self) -> tuple[str, float]:
        """The feature with the largest share of rows that differ, and that share."""
        name = max(sorted(self.features), key=lambda it: self.features[it].share)
        return name, self.features[name].share

    @property
    def share(self) -> float:
        """Values that differ among all compared, in [0, 1]."""
        n = sum(tally.n for tally in self.features.values())
        return sum(t.n_mismatch + t.n_missing + t.n_extra for t in self.features.values()) / n if n else 0.0

    @property
    def is_alarming(self) -> bool:
        """True when some feature differs in more than ALARM_SHARE of the rows."""
        return self.worst[1] > ALARM_SHARE


def differences(served: Mapping[str, Value], offline: Mapping[str, Value]) -> dict[str, tuple[Difference, float]]:
    """What differs between one served vector and the offline one: name -> (how, relative error).

    What was not served at all, because nobody asked for it, is not compared.
    """
    found: dict[str, tuple[Difference, float]] = {}
    for name, mine in served.items():
        theirs = offline.get(name)
        if mine is None and theirs is None:
            continue
        if mine is None:
            found[name] = (Difference.MISSING, 0.0)
        elif theirs is None:
            found[name] = (Difference.EXTRA, 0.0)
        elif (error := relative_error(mine, theirs)) > 0:
            found[name] = (Difference.MISMATCH, error)
    return found


def relative_error(served: Value, offline: Value) -> float:
    """0.0 when the same; of vectors the largest; relative above 1, absolute below; 1.0 when it is no matter of size."""
    if isinstance(served, tuple | list) and isinstance(offline, tuple | list):
        if len(served) != len(offline):
            return 1.0
        return max((relative_error(a, b) for a, b in zip(served, offline, strict=True)), default=0.0)
    if isinstance(served, int | float) and isinstance(offline, int | float):
        if served == offline or (served != served and offline != offline):
            return 0.0
        error = abs(served - offline) / max(1.0, abs(offline))
        if not math.isfinite(error):
            return 1.0
        whole = isinstance(served, int) and isinstance(offline, int)
        return error if whole or error > TOLERANCE else 0.0
    return 0.0 if served == offline else 1.0
