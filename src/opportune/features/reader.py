"""One state at one instant, as the functions that finish features read it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from opportune.domain.decisions import Value
from opportune.domain.instants import DAY_US, to_us
from opportune.features.gather import State


class Reader:
    """One state at one instant; what several features need is worked out once and kept in `memo`."""

    __slots__ = ("at", "at_us", "memo", "state", "values")

    def __init__(self, state: State, at: datetime) -> None:
        self.state, self.at, self.at_us = state, at, to_us(at)
        self.memo: dict[Any, Any] = {}
        self.values: dict[str, Value] = {}


#: A feature, finished.
Finish = Callable[[Reader], Any]


def age_days(us: int, at_us: int) -> float | None:
    """Days from an instant to now, never negative; null for -1, none."""
    return None if us < 0 else max(at_us - us, 0) / DAY_US


def shared(key: Any, work: Callable[[Reader], Any]) -> Finish:
    """Work done once for all features that name the same key."""

    def once(r: Reader) -> Any:
        if key not in r.memo:
            r.memo[key] = work(r)
        return r.memo[key]

    return once
