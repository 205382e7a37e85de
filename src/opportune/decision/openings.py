"""Openings: local hours of the week in which something may happen, exact through every clock change.

Open and shut are properties of the wall clock: an instant is open when the local weekday and time of day lie in one of
the openings. Clock changes need no rule of their own: an hour that comes twice is judged twice, a skipped one is never
reached, and where a change jumps into an opening, it opens at the change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache

from opportune.domain.instants import DAY_US, from_us, to_us

_SECOND_US = 1_000_000
#: 1970-01-01 was a Thursday.
_EPOCH_WEEKDAY = 3
EVERY_DAY = (True,) * 7


@dataclass(frozen=True, slots=True)
class Opening:
    """Open from `from_s` up to `to_s` (seconds of the local day) on these days, Monday first; `to_s` not later than
    `from_s`: into the next day."""

    days: tuple[bool, ...]
    from_s: int
    to_s: int

    def holds(self, weekday: int, second: int) -> bool:
        """Whether a local weekday (Monday 0) and second of the day lie in it."""
        if self.from_s < self.to_s:
            return self.days[weekday] and self.from_s <= second < self.to_s
        return (self.days[weekday] and second >= self.from_s) or (self.days[weekday - 1] and second < self.to_s)


Openings = tuple[Opening, ...]


def second_of(at: time) -> int:
    """Seconds since local midnight."""
    return at.hour * 3600 + at.minute * 60 + at.second


def is_open_at(local_at: datetime, openings: Openings) -> bool:
    """Whether a local wall-clock time lies in any of the openings."""
    weekday, second = local_at.weekday(), local_at.hour * 3600 + local_at.minute * 60 + local_at.second
    return any(opening.holds(weekday, second) for opening in openings)


@lru_cache(maxsize=8192)  # all candidates of a decision, and all customers of a batch in one zone, ask the same
def opens_everywhere(at: int, openings: Openings, zones: tuple[tzinfo, ...]) -> int | None:
    """The earliest instant >= `at` (us) that is open in every one of these zones; null when none is near."""
    n_days = 2 if all(opening.days == EVERY_DAY for opening in openings) else 8
    opening, settled = at, False
    while not settled:
        settled = True
        for zone in zones:
            opens = _opens_in(opening, openings, zone, n_days)
            if opens is None:
                return None
            if opens != opening:
                opening, settled = opens, False
        if opening - at > (n_days + 1) * DAY_US:  # the pattern has come round: there is no opening
            return None
    return opening


def _opens_in(at: int, openings: Openings, zone: tzinfo, n_days: int) -> int | None:
    if isinstance(zone, timezone):  # a fixed offset: plain arithmetic
        offset_us = zone.utcoffset(None) // timedelta(microseconds=1)
        day, second_us = divmod(at + offset_us, DAY_US)
        weekday = (day + _EPOCH_WEEKDAY) % 7
        if any(opening.holds(weekday, second_us // _SECOND_US) for opening in openings):
            return at
        starts = (
            (day + days) * DAY_US + opening.from_s * _SECOND_US - offset_us
            for days in range(n_days + 1)
            for opening in openings
            if opening.days[(weekday + days) % 7]
        )
        return min((start for start in starts if start > at), default=None)
    local_at = from_us(at).astimezone(zone)
    if is_open_at(local_at, openings):
        return at
    return _next_opening(at, local_at, openings, zone, n_days)


def _next_opening(at: int, local_at: datetime, openings: Openings, zone: tzinfo, n_days: int) -> int | None:
    """The first instant after a shut `at` that is open: the start of an opening, or a clock change into one."""
    opens = _earliest(_starts(local_at, openings, zone, range(n_days + 1)), at, openings, zone)
    if opens is None:  # a zone that skipped the only day
        opens = _earliest(_starts(local_at, openings, zone, range(n_days + 1, n_days + 9)), at, openings, zone)
    if opens is None:
        return None
    if from_us(opens).astimezone(zone).utcoffset() != local_at.utcoffset():
        change = _change_between(at, opens, zone)
        if is_open_at(from_us(change).astimezone(zone), openings):
            return change
    return opens


def _starts(local_at: datetime, openings: Openings, zone: tzinfo, days: Iterable[int]) -> Iterator[int]:
    for day in days:
        on = local_at.date() + timedelta(days=day)
        for opening in openings:
            if opening.days[on.weekday()]:
                start = time(opening.from_s // 3600, opening.from_s % 3600 // 60, opening.from_s % 60)
                wall = datetime.combine(on, start, tzinfo=zone)
                for fold in (0, 1):
                    yield to_us(wall.replace(fold=fold).astimezone(UTC))


def _earliest(starts: Iterable[int], at: int, openings: Openings, zone: tzinfo) -> int | None:
    later = (us for us in sorted(starts) if us > at)
    return next((us for us in later if is_open_at(from_us(us).astimezone(zone), openings)), None)


def _change_between(low: int, high: int, zone: tzinfo) -> int:
    """The instant of the clock change in (low, high], found by halving."""
    before = from_us(low).astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if from_us(middle).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
