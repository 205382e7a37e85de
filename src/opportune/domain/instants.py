"""Instants: aware UTC datetimes outside, integer microseconds where thousands are compared."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_US = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware datetime. Raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError(f"naive datetime {at!r}: give it a zone")
    return (at - EPOCH) // _US


def from_us(us: int) -> datetime:
    """The aware UTC datetime of integer microseconds since 1970-01-01."""
    return EPOCH + timedelta(microseconds=us)


def parse_instant(text: str) -> datetime:
    """An ISO 8601 date or instant as aware UTC; a bare date or a missing offset means UTC. Raises ValueError."""
    at = datetime.fromisoformat(text.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def format_instant(at: datetime) -> str:
    """ISO 8601 in UTC with a numeric offset, the form every answer uses."""
    return at.astimezone(UTC).isoformat()
