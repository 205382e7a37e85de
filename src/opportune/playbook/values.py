"""How values are written in a playbook, and what every block of it has in common.

Durations are written `90s 15m 1h 7d 2w`; money in minor units of the playbook's currency; hours `HH:MM` local.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d|w)$")
#: An instant and any two durations still make an instant.
_LONGEST_S = 36_500 * 86_400
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: object) -> object:
    """`90s 15m 1h 7d 2w` as timedelta; a timedelta passes through. Raises ValueError, for a bare number too."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {value}s, {value}m, {value}h or {value}d")
    if isinstance(value, str):
        match = _DURATION.match(value.strip())
        if not match:
            raise ValueError(f"'{value}' is not a duration: write a whole number and s, m, h, d or w, like 30m or 7d")
        seconds = int(match[1]) * _UNIT_S[match[2]]
        if seconds > _LONGEST_S:
            raise ValueError(f"'{value}' is longer than a hundred years: write a shorter time")
        return timedelta(seconds=seconds)
    return value


def format_duration(value: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back: `90s`, `1h`, `7d`."""
    seconds = value // timedelta(seconds=1)
    unit = next((unit for unit in "dhm" if seconds and seconds % _UNIT_S[unit] == 0), "s")
    return f"{seconds // _UNIT_S[unit]}{unit}"


def _in_utc(value: datetime) -> datetime:
    """Aware UTC; without an offset UTC is meant."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+\s*[smhdw]$"}),
]
Instant = Annotated[datetime, AfterValidator(_in_utc)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Purpose = Literal["marketing", "transactional"]
Channel = Literal["email", "push", "sms", "inapp", "onsite"]


class Block(BaseModel):
    """Common settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
