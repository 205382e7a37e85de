"""Date and replenishment triggers: when each instance is due next, from what is known of a customer. Pure.

One timer is pending per instance. Its key names the occurrence (a year, or a day, and how far from it), so that what
has had its turn is never due again, whatever becomes of the customer's zone or of the day itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from opportune.domain.events import Event
from opportune.domain.timers import PastTimer, Timer, TimerFate
from opportune.playbook.triggers import Occasion, Trigger
from opportune.triggers.calendar import Day, days_of, local_day, local_instant, read_day
from opportune.triggers.heard import place_of
from opportune.triggers.marks import Holds, is_meant, key_of, keys_of, value_at

_DAY = timedelta(days=1)
#: How far back past occurrences matter: a year, what an offset may add, and a day for zones.
MEMORY = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one customer. `events`: those the trigger hears, in their order. `pending` and `past`: the
    timers of this rule."""

    customer_id: str
    traits: Mapping[str, Any]
    zone: tzinfo
    events: Sequence[Event] = ()
    pending: Sequence[Timer] = ()
    past: Sequence[PastTimer] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instance:
    """One thing that has a day: `key` of its own (`""`: the only one), its days, and where they come from."""

    key: str
    days: Sequence[Day]
    is_yearly: bool
    not_before: datetime | None = None
    first_year: int | None = None
    event: Event | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


def due_next(
    rule: str, trigger: Trigger, known: Known, occasions: Mapping[str, Occasion], holds: Holds, now: datetime
) -> list[Timer]:
    """The timers that should be pending now: at most one per instance, none that is too late already."""
    if trigger.kind == "replenishment":
        return list(_refills(rule, trigger, known, holds, now))
    found = []
    for instance in _instances(trigger, known, occasions, holds):
        mine = (
            timer
            for day in instance.days
            for timer in _occurrences(rule, trigger, known, instance, day, now)
            if _may_fire(trigger, timer, known, instance.key)
        )
        best = min(mine, key=lambda timer: (timer.due_at, timer.key), default=None)
        if best is not None:
            found.append(best)
    return found


def _instances(trigger: Trigger, known: Known, occasions: Mapping[str, Occasion], holds: Holds) -> Iterator[_Instance]:
    if trigger.occasion is not None:
        occasion = occasions.get(trigger.occasion)
        if occasion is not None:
            yield _Instance(key="", days=_days_for(occasion, known.traits), is_yearly=False)
    elif trigger.first is not None:
        yield from _firsts(trigger, known, holds)
    elif trigger.on:
        yield from _stated(trigger, known, holds)
    elif trigger.date is not None:
        day = read_day(value_at(known.traits, trigger.date.removeprefix("traits.")))
        if day is not None:
            yield _Instance(key="", days=(day,), is_yearly=trigger.every == "year", first_year=day.year)


def _days_for(occasion: Occasion, traits: Mapping[str, Any]) -> list[Day]:
    country = traits.get("country")
    if isinstance(country, str):
        wanted = country.strip().casefold()
        own = next((days for name, days in occasion.countries.items() if name.casefold() == wanted), None)
        if own is not None:
            return days_of(own)
    return days_of(occasion.on)


def _firsts(trigger: Trigger, known: Known, holds: Holds) -> Iterator[_Instance]:
    assert trigger.first is not None
    seen = set()
    for event in known.events:
        key = key_of(event, trigger.first.key) or ""
        if key in seen or not is_meant(trigger.first, event, known.traits, holds):
            continue
        seen.add(key)
        day = local_day(event.event_at, known.zone)
        is_yearly = trigger.every != "once"
        first_year = (day.year or 0) + 1 if is_yearly else None  # the day itself is no anniversary
        yield _Instance(
            key=key, days=(day,), is_yearly=is_yearly, not_before=event.event_at, first_year=first_year, event=event
        )


def _stated(trigger: Trigger, known: Known, holds: Holds) -> Iterator[_Instance]:
    """The newest event per key says the day."""
    newest: dict[str, Event] = {}
    for event in known.events:
        for on in trigger.on:
            if is_meant(on, event, known.traits, holds):
                newest[key_of(event, on.key) or ""] = event
    for key, event in newest.items():
        day = read_day(value_at(event.properties, (trigger.date or "").removeprefix("properties.")))
        if day is not None:
            yield _Instance(
                key=key, days=(day,), is_yearly=trigger.every == "year", not_before=event.event_at, event=event,
                first_year=day.year, payload=event.properties,
            )  # fmt: skip


def _occurrences(
    rule: str, trigger: Trigger, known: Known, instance: _Instance, day: Day, now: datetime
) -> Iterator[Timer]:
    """The timers of one day about now: last year's to those after next year's, or the one year's it names."""
    around = max(now, trigger.starts_at or now).astimezone(known.zone).year
    years: Iterable[int] = range(around - 1, around + 3)
    if day.year is not None and not instance.is_yearly:
        years = (day.year,)
    for year in years:
        if instance.is_yearly and instance.first_year is not None and year < instance.first_year:
            continue
        for offset in trigger.offsets:
            try:
                on = day.in_year(year, trigger.feb_29)
                due_at = local_instant(on + offset, trigger.at, known.zone) + trigger.delay
                expires_at = due_at + trigger.expires_after
            except (OverflowError, ValueError):
                continue  # a day at the end of time
            name = str(year) if instance.is_yearly else on.isoformat()
            key = f"{instance.key}@{name}" if instance.key else name
            timer = Timer(
                rule=rule,
                customer_id=known.customer_id,
                key=f"{key}{offset // _DAY:+d}d" if offset else key,
                due_at=due_at,
                set_at=instance.event.event_at if instance.event else due_at,
                set_by=instance.event.message_id if instance.event else f"day:{on.isoformat()}",
                expires_at=expires_at,
                payload={
                    **instance.payload,
                    "date": on.isoformat(),
                    "days": -(offset // _DAY),
                    "years": _years(day, instance, year),
                },
            )
            yield from _in_time(timer, known, now, instance.not_before)


def _years(day: Day, instance: _Instance, year: int) -> int | None:
    return year - day.year if instance.is_yearly and day.year is not None else None


def _in_time(timer: Timer, known: Known, now: datetime, not_before: datetime | None) -> Iterator[Timer]:
    """The timer, unless it is too late. One that is pending already keeps its turn: if its hour has passed because the
    customer's zone changed it is due now."""
    waiting = next((it for it in known.pending if it.key == timer.key), None)
    if waiting is not None and timer.due_at <= now:
        due_at = min(waiting.due_at, now)
        spare = (timer.expires_at or timer.due_at) - timer.due_at
        yield Timer(
            rule=timer.rule, customer_id=timer.customer_id, key=timer.key, due_at=due_at, set_at=timer.set_at,
            set_by=timer.set_by, expires_at=due_at + spare, payload=timer.payload,
        )  # fmt: skip
    elif (timer.expires_at or timer.due_at) > now and (not_before is None or timer.due_at >= not_before):
        yield timer


def _may_fire(trigger: Trigger, timer: Timer, known: Known, instance: str) -> bool:
    """Whether this occurrence has not had its turn, and lies inside the trigger's days and outside its cool-down."""
    if trigger.starts_at is not None and timer.due_at < trigger.starts_at:
        return False
    if trigger.ends_at is not None and timer.due_at >= trigger.ends_at:
        return False
    for line in known.past:
        if line.key == timer.key and line.is_done:
            return False
        is_mine = line.key.startswith(f"{instance}@") if instance else True
        if trigger.cooldown and line.fate is TimerFate.FIRED and is_mine and line.at + trigger.cooldown > timer.due_at:
            return False
    return True


def _refills(rule: str, trigger: Trigger, known: Known, holds: Holds, now: datetime) -> Iterator[Timer]:
    """Per key: the last purchase and the mean gap between purchase days; opens `window` before what they predict."""
    bought: dict[str, list[Event]] = {}
    for event in known.events:
        for on in trigger.on:
            if is_meant(on, event, known.traits, holds):
                for key in keys_of(event, on.key):
                    bought.setdefault(key, []).append(event)
    window = trigger.window or timedelta(0)
    for key, events in sorted(bought.items()):
        last = max(events, key=place_of)
        gap = own_gap(events) or trigger.usual
        if gap is None:
            continue
        predicted_at = last.event_at + gap
        # A window longer than the gap would open before the purchase: never before half of the gap has passed.
        due_at = max(predicted_at - window, last.event_at + gap / 2) + trigger.delay
        timer = Timer(
            rule=rule,
            customer_id=known.customer_id,
            key=key,
            due_at=due_at,
            set_at=last.event_at,
            set_by=last.message_id,
            expires_at=max(predicted_at + window, due_at + timedelta(hours=1)),
            payload={"key": key, "predicted_at": predicted_at.isoformat(), "last_at": last.event_at.isoformat(),
                     "gap_days": gap / _DAY, "is_usual": own_gap(events) is None},
        )  # fmt: skip
        is_spent = any(it.key == key and it.is_done and it.set_at >= last.event_at for it in known.past)
        is_late = timer.expires_at is not None and timer.expires_at <= now
        if not is_spent and not is_late and _is_open(trigger, timer, known):
            yield timer


def own_gap(events: Iterable[Event]) -> timedelta | None:
    """The mean time between days (UTC) with a purchase, by the first of each day; null with fewer than two days."""
    first_of: dict[Any, datetime] = {}
    for event in events:
        on = event.event_at.date()
        first_of[on] = min(first_of.get(on, event.event_at), event.event_at)
    if len(first_of) < 2:
        return None
    return (max(first_of.values()) - min(first_of.values())) / (len(first_of) - 1)


def _is_open(trigger: Trigger, timer: Timer, known: Known) -> bool:
    others = [it for it in known.past if it.key == timer.key and it.fate is TimerFate.FIRED]
    if trigger.cooldown and any(it.at + trigger.cooldown > timer.due_at for it in others):
        return False
    starts, ends = trigger.starts_at, trigger.ends_at
    return (starts is None or timer.due_at >= starts) and (ends is None or timer.due_at < ends)
