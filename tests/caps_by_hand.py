"""Caps counted by hand: every window looked at, nothing clever. The oracle beside decision/caps.py."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from opportune.decision.caps import Counted
from opportune.playbook.schema import Cap


def is_counted(what: Counted, cap: Cap) -> bool:
    """Whether the cap counts such a send at all."""
    c = cap.counts
    named = ((c.channel, what.channel), (c.topic, what.topic), (c.purpose, what.purpose), (c.campaign, what.campaign))
    return all(wanted in (None, has) for wanted, has in named) and (c.tag is None or c.tag in what.tags)


def label(at: datetime, calendar: str, zone: tzinfo) -> tuple[int, ...]:
    """The name of the local day, week or month that holds this instant."""
    on = at.astimezone(zone).date()
    return {"day": (on.toordinal(),), "week": on.isocalendar()[:2], "month": (on.year, on.month)}[calendar]


def has_room(at: datetime, cap: Cap, limit: int | None, others: Sequence[datetime], zone: tzinfo) -> bool:
    """Whether one more send at `at` keeps the cap, given the instants of all others that it counts."""
    if cap.rolling is not None:
        ends = [at, *(x for x in others if at < x < at + cap.rolling)]
        if any(1 + sum(end - cap.rolling < x <= end for x in others) > (limit or 0) for end in ends):
            return False
    elif cap.calendar is not None:
        mine = label(at, cap.calendar, zone)
        if 1 + sum(label(x, cap.calendar, zone) == mine for x in others) > (limit or 0):
            return False
    return cap.at_least_apart is None or all(abs(x - at) >= cap.at_least_apart for x in others)


def edges(start: datetime, caps: Iterable[Cap], others: Sequence[datetime], zone: tzinfo) -> list[datetime]:
    """Every instant from `start` on at which an answer could change from no to yes, in order."""
    found = {start}
    for cap in caps:
        found |= {x + cap.rolling for x in others if cap.rolling is not None}
        found |= {x + cap.at_least_apart for x in others if cap.at_least_apart is not None}
        if cap.calendar is not None:
            day = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
            last = max([start, *others]) - start
            found |= {(day + timedelta(days=n)).astimezone(UTC) for n in range(last.days + 40)}
    return sorted(x for x in found if x >= start)
