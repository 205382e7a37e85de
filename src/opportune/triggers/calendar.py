"""Days of a customer's calendar: read, brought into a year, and turned into an instant at a local hour. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from opportune.playbook.triggers import day_of


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """A day as it is written. `year` null: it comes every year. 29 February stands for itself."""

    year: int | None
    month: int
    day: int

    def in_year(self, year: int, feb_29: str) -> date:
        """The day as it is kept in a year. `feb_29`: `feb_28` or `mar_1`, where there is none."""
        if (self.month, self.day) == (2, 29) and not _is_leap(year):
            return date(year, 2, 28) if feb_29 == "feb_28" else date(year, 3, 1)
        return date(year, self.month, self.day)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def read_day(value: object) -> Day | None:
    """A day from a trait or property: `1990-03-14`, an instant that begins so, or `03-14`; null: none of them."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > 10 and text[10] in "T ":
        text = text[:10]
    try:
        return Day(*day_of(text))
    except ValueError:
        return None


def days_of(texts: Iterable[str]) -> list[Day]:
    """Days of the playbook, where they are known to be days."""
    return [Day(*day_of(text)) for text in texts]


def local_day(at: datetime, zone: tzinfo) -> Day:
    """The day of an instant where the customer is."""
    local = at.astimezone(zone)
    return Day(local.year, local.month, local.day)


def local_instant(on: date, hour: time, zone: tzinfo) -> datetime:
    """When the clocks of a zone show this hour on this day, UTC.

    An hour they skip moves forward by as much as they do; of one they show twice the first counts.
    """
    return datetime.combine(on, hour, tzinfo=zone).replace(fold=0).astimezone(UTC)
