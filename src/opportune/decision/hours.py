"""Hours: how good each absolute hour is for this customer, by the local clock, exact through every clock change."""

from datetime import datetime, timedelta, tzinfo
from math import cos, pi
from typing import Protocol

from opportune.decision.zones import calendar_zone
from opportune.domain.decisions import Case
from opportune.domain.instants import from_us
from opportune.playbook.load import Playbook

#: Name of the score that tells the hours apart.
SEND_TIME = "send_time"
EVEN = (1.0,) * 24
#: How much the default hour counts: it breaks ties between slots of equal worth and changes no value.
_HINT = 1e-6


class HourWeights(Protocol):
    """Start of a UTC hour in microseconds -> weight. A plain dict will do."""

    def get(self, at_us: int, default: float, /) -> float:
        """The weight of that hour."""
        ...


class LocalHours:
    """Weights of the 24 local hours, asked by absolute hour."""

    def __init__(self, weights: tuple[float, ...], zone: tzinfo) -> None:
        self._weights, self._zone = weights, zone
        self._known: dict[int, float] = {}

    def get(self, at_us: int, default: float, /) -> float:
        """The weight of the local hour in which this instant lies; `default` is never needed."""
        known = self._known.get(at_us)
        if known is None:
            known = self._known[at_us] = self._weights[from_us(at_us).astimezone(self._zone).hour]
        return known


def hour_weights(case: Case, playbook: Playbook) -> HourWeights | None:
    """What tells the hours apart for this case; null when nothing does, so that the earliest slot is as good as any.

    The send-time score; without one the playbook's default hour; else, while hours are explored, all hours alike.
    """
    score, policy = case.scores.get(SEND_TIME), playbook.spec
    if score is not None and score.hours:
        weights = score.hours
    elif policy.send_time.default_hour is not None:
        weights = preferring(policy.send_time.default_hour)
    elif policy.exploration.hours > 0 and not case.customer.is_test:
        weights = EVEN
    else:
        return None
    return LocalHours(weights, calendar_zone(case.customer))


def preferring(hour: int) -> tuple[float, ...]:
    """Weights of 1, and a trifle more the nearer an hour is to this one."""
    return tuple(1 + _HINT * cos((h - hour) * pi / 12) for h in range(24))


def next_at(hour: int, now: datetime, zone: tzinfo) -> datetime:
    """The next instant at which the local hour is `hour`: now if it is, else the first half hour of UTC in it.

    An hour that a clock change skips comes the day after.
    """
    if now.astimezone(zone).hour == hour:
        return now
    step = timedelta(minutes=30)
    at = now - timedelta(minutes=now.minute % 30, seconds=now.second, microseconds=now.microsecond)
    while True:
        at += step
        if at.astimezone(zone).hour == hour:
            return at
