"""Arming: which timers new events set, restart and cancel. Pure; independent of the order in which events arrive.

Per (rule, key) of a customer only two instants matter: that of the newest event that starts it (X) and that of the
newest event that stops it (Y). An absence timer is pending exactly when X is later than Y.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Send
from opportune.domain.timers import Timer
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import On, Trigger

MAX_KEY = 200
MAX_PAYLOAD_BYTES = 8 * 1024
_NOTHING: Mapping[str, Any] = {}
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


def touch(customer: Customer, events: Iterable[Event], playbook: Playbook) -> Touched:
    """Which instances these events start (live ones only) and stop (any)."""
    touched = Touched()
    for event in events:
        starting = playbook.starting(event.name) if event.origin is Origin.LIVE else ()
        stopping = playbook.stopping(event.name)
        if not starting and not stopping:
            continue
        env = {
            "event": event.properties,
            "traits": customer.traits,
            "context": event.context,
            "features": _NOTHING,
            "scores": _NOTHING,
        }
        for rule in starting:
            trigger = playbook.spec.triggers[rule]
            if not _is_open(trigger, event.event_at):
                continue
            for on in trigger.on:
                if on.event != event.name or not playbook.holds(on.when, env):
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
        if trigger.kind == "absence":
            stopped_at = max(touched.stopped_at(rule, key), history.stopped_at(rule, key))
            if stopped_at >= event.event_at or last_fired >= event.event_at:
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


def key_of(event: Event, path: str | None) -> str | None:
    """The instance an event belongs to: a plain value at `properties.x`, `traits.x` or `context.x`; null when none."""
    if path is None:
        return None
    root, _, rest = path.partition(".")
    roots = {
        "properties": event.properties,
        "event": event.properties,
        "traits": event.traits,
        "context": event.context,
    }
    value: Any = roots.get(root)
    if value is None:
        value, rest = event.properties, path
    for name in rest.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, Mapping | list | tuple):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:MAX_KEY] or None


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
    if trigger.kind == "absence":
        due_at = event.event_at + (trigger.wait or timedelta(0))
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
    return event.event_at + (trigger.wait or trigger.delay) + trigger.expires_after <= now


def _is_open(trigger: Trigger, at: datetime) -> bool:
    starts, ends = _aware(trigger.starts_at), _aware(trigger.ends_at)
    return (starts is None or at >= starts) and (ends is None or at < ends)


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _order(event: Event) -> tuple[datetime, str]:
    return event.event_at, event.message_id
