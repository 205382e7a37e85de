"""Arming: which timers new events set, restart and cancel. Pure; independent of the order in which events arrive.

Per (rule, key) of a customer only two instants matter: that of the newest event that starts it (X) and that of the
newest event that stops it (Y). An absence timer is pending exactly when X is later than Y, and due its wait after X.
What starts another trigger is a function of the events too; when it is due is a fact: its delay from when we knew.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Send
from opportune.domain.timers import Timer
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import On, Trigger
from opportune.triggers.marks import env_of, key_of

MAX_PAYLOAD_BYTES = 8 * 1024
#: Inactivity without a list of its own: any event, of any name.
_ANY = (On(event=""),)
#: Kinds that fire when something has not happened for a while since the event that set them.
WAITING = ("absence", "inactivity")
#: Before anything: stands for "has not happened".
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Touched:
    """What a customer's events do to triggers: newest start per (rule, key); newest stop per (rule, key; null: all)."""

    starts: dict[tuple[str, str], Event] = field(default_factory=dict)
    stops: dict[tuple[str, str | None], datetime] = field(default_factory=dict)

    def stopped_at(self, rule: str, key: str) -> datetime:
        """The newest stop of this instance; the year 1 when there is none."""
        return max(self.stops.get((rule, key), NEVER), self.stops.get((rule, None), NEVER))


@dataclass(frozen=True, slots=True)
class Armed:
    """Timers to set or restart, and (rule, customer id, key) of those to cancel."""

    arm: list[Timer]
    cancel: list[tuple[str, str, str]]


def touch(
    customer: Customer, events: Iterable[Event], playbook: Playbook, only: Collection[str] | None = None
) -> Touched:
    """Which instances these events start (live ones only; of inactivity imported ones too) and stop (any).

    `only`: of these rules; null: of all.
    """
    touched = Touched()
    for event in events:
        starting = playbook.starting(event.name) if event.origin is not Origin.OWN else ()
        stopping = playbook.stopping(event.name)
        if not starting and not stopping:
            continue
        env = env_of(event, customer.traits)
        for rule in starting:
            trigger = playbook.spec.triggers[rule]
            if (only is not None and rule not in only) or not _may_start(trigger, event):
                continue
            for on in trigger.on or _ANY:
                if on.event not in (event.name, "") or not playbook.holds(on.when, env):
                    continue
                at = (rule, key_of(event, on.key) or "")
                before = touched.starts.get(at)
                if before is None or _order(before) < _order(event):
                    touched.starts[at] = event
        for rule in stopping:
            trigger = playbook.spec.triggers[rule]
            for on in trigger.unless:
                if on.event == event.name and playbook.holds(on.when, env):
                    stop = (rule, stop_key(event, on, trigger))
                    touched.stops[stop] = max(touched.stops.get(stop, NEVER), event.event_at)
    return touched


def plan(
    customer_id: str,
    touched: Touched,
    pending: Sequence[Timer],
    fired: Sequence[tuple[str, str, datetime]],
    history: Touched,
    playbook: Playbook,
    now: datetime,
) -> Armed:
    """What to set and cancel. `history`: stops among the events stored before, where a start came late, else empty.

    `fired`: (rule, key, fired at) of the past, as far back as `look_back` says.
    """
    found = Armed([], [])
    waiting = {(t.rule, t.key): t for t in pending}
    for (rule, key), event in sorted(touched.starts.items()):
        trigger = playbook.spec.triggers[rule]
        before = waiting.get((rule, key))
        last_fired = max((at for r, k, at in fired if (r, k) == (rule, key)), default=NEVER)
        if before is not None and (before.set_at, before.set_by) >= _order(event):
            continue
        timer = _timer(customer_id, rule, key, event, trigger, before, now)
        if trigger.kind in WAITING:
            stopped_at = max(touched.stopped_at(rule, key), history.stopped_at(rule, key))
            if stopped_at >= event.event_at or last_fired >= event.event_at:
                continue
        if trigger.kind == "inactivity":
            timer = _after_cooldown(timer, trigger, last_fired)
            if not is_open(trigger, timer.due_at):
                continue
        if trigger.cooldown is not None and last_fired + trigger.cooldown > timer.due_at:
            continue
        if _is_stale(event, trigger, now):
            continue
        found.arm.append(timer)
        waiting[rule, key] = timer
    armed = {(t.rule, t.key) for t in found.arm}
    for (rule, key), pending_timer in waiting.items():
        if (rule, key) not in armed and touched.stopped_at(rule, key) >= pending_timer.set_at:
            found.cancel.append((rule, customer_id, key))
    return found


def started_at(send: Send, events: Iterable[Event], playbook: Playbook) -> datetime:
    """When the instance behind a reserved send began: its newest start known when it was reserved, else the year 1."""
    trigger = playbook.spec.triggers.get(send.trigger)
    if trigger is None:
        return NEVER
    starts = (
        e.event_at
        for e in events
        for on in trigger.on
        if e.name == on.event and e.event_at <= send.reserved_at and (key_of(e, on.key) or "") == send.trigger_key
    )
    return max(starts, default=NEVER)


def look_back(touched: Iterable[Touched], playbook: Playbook, now: datetime) -> datetime:
    """How far back firings matter for these starts."""
    oldest = now
    for one in touched:
        for (rule, _), event in one.starts.items():
            oldest = min(oldest, event.event_at, now - (playbook.spec.triggers[rule].cooldown or timedelta(0)))
    return oldest


def stop_key(event: Event, on: On, trigger: Trigger) -> str | None:
    """Which instance a stop stops: null, all of the customer's, when the event does not carry the key."""
    path = on.key or next((start.key for start in trigger.on if start.key), None)
    return key_of(event, path) if path is not None else None


def capped(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties, as many as fit into 8 KB of JSON, small ones before large ones."""
    if len(orjson.dumps(properties)) <= MAX_PAYLOAD_BYTES:
        return dict(properties)
    sizes = sorted((len(orjson.dumps({name: value})), name) for name, value in properties.items())
    kept, total = set(), 2
    for size, name in sizes:
        total += size
        if total > MAX_PAYLOAD_BYTES:
            break
        kept.add(name)
    return {name: value for name, value in properties.items() if name in kept}


def _timer(
    customer_id: str, rule: str, key: str, event: Event, trigger: Trigger, before: Timer | None, now: datetime
) -> Timer:
    """`set_at` is the instant of the envelope that set it: what stops are compared with."""
    if trigger.kind in WAITING:
        due_at = event.event_at + patience(trigger)
    else:  # a repeat does not put off what is already coming
        due_at = now + trigger.delay if before is None else min(before.due_at, now + trigger.delay)
    return Timer(
        rule=rule,
        customer_id=customer_id,
        key=key,
        due_at=due_at,
        set_at=event.event_at,
        set_by=event.message_id,
        expires_at=due_at + trigger.expires_after,
        payload=capped(event.properties),
    )


def _is_stale(event: Event, trigger: Trigger, now: datetime) -> bool:
    """True for what happened so long ago that its firing, had it come in time, would be dropped as late."""
    return event.event_at + patience(trigger) + trigger.expires_after <= now


def _after_cooldown(timer: Timer, trigger: Trigger, last_fired: datetime) -> Timer:
    """A silence that shows inside the cool-down fires at its end: no event would ask again."""
    again_at = max(timer.due_at, last_fired + (trigger.cooldown or timedelta(0)))
    return replace(timer, due_at=again_at, expires_at=again_at + trigger.expires_after)


def patience(trigger: Trigger) -> timedelta:
    """From the event to the firing."""
    return (trigger.wait or trigger.inactive_for or timedelta(0)) + trigger.delay


def _may_start(trigger: Trigger, event: Event) -> bool:
    """Imported events set off nothing but the wait for the next sign of life."""
    if trigger.kind == "inactivity":
        return True
    return event.origin is Origin.LIVE and is_open(trigger, event.event_at)


def is_open(trigger: Trigger, at: datetime) -> bool:
    """Whether an instant lies inside the trigger's days."""
    starts, ends = _aware(trigger.starts_at), _aware(trigger.ends_at)
    return (starts is None or at >= starts) and (ends is None or at < ends)


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _order(event: Event) -> tuple[datetime, str]:
    return event.event_at, event.message_id
