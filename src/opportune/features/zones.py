"""Time zones as plain numbers: which offset holds when. One source, `zoneinfo`, for online and offline."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from opportune.domain.instants import to_us
from opportune.domain.traits import is_zone

_US = timedelta(microseconds=1)
_DAY = timedelta(days=1)


def offset_us(zone: str | None, at: datetime) -> int:
    """Microseconds that local time is ahead of UTC at an instant. Null, or a zone that is none: UTC."""
    offset = at.astimezone(_zone(zone)).utcoffset() if zone and is_zone(zone) else None
    return 0 if offset is None else offset // _US


def offsets(zone: str, first_year: int, last_year: int) -> list[tuple[int, int, int]]:
    """(from, to, offset) in microseconds, [from, to), without gaps over the years asked for, UTC."""
    spans: list[tuple[int, int, int]] = []
    for year in range(first_year, last_year + 1):
        for start, end, offset in _of_year(zone, year):
            if spans and spans[-1][2] == offset:
                spans[-1] = (spans[-1][0], end, offset)
            else:
                spans.append((start, end, offset))
    return spans


@lru_cache(maxsize=1024)
def _of_year(zone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """The spans of one year: a change is looked for day by day, and then to the second."""
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    spans, start, offset = [], at, offset_us(zone, at)
    while at < end:
        after = at + _DAY
        changed = offset_us(zone, after)
        if changed != offset:
            low, high = at, after
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (middle, high) if offset_us(zone, middle) == offset else (low, middle)
            if high < end:
                spans.append((to_us(start), to_us(high), offset))
                start, offset = high, changed
        at = after
    return (*spans, (to_us(start), to_us(end), offset))


@lru_cache(maxsize=1024)
def _zone(name: str | None) -> ZoneInfo:
    return ZoneInfo(name or "UTC")
