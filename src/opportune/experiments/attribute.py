"""Attribution: which goals, and what they were worth, belong to an exposure or to a send. Pure.

After an exposure every goal in (exposed, exposed + window] belongs to the unit, whatever was sent: that is what makes
variations comparable. After sends a goal belongs to the last one before it, within the window.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opportune.domain.events import Event
from opportune.domain.messages import Send
from opportune.domain.money import to_minor
from opportune.playbook.load import Playbook


@dataclass(frozen=True, slots=True)
class Hit:
    """One goal reached. `value_minor`: what it was worth, 0 when the playbook gives it no value."""

    goal: str
    at: datetime
    value_minor: int


def hits_of(events: Iterable[Event], goals: Iterable[str], playbook: Playbook) -> list[Hit]:
    """The goals these events reach, oldest first. An event may reach several. The value is the declared property of
    the event; where it has none, the goal's fixed value."""
    found: list[Hit] = []
    for event in events:
        for name in goals:
            goal = playbook.spec.goals[name]
            if goal.event != event.name or not playbook.holds(goal.when, {"event": event.properties}):
                continue
            worth = to_minor(_at(event.properties, goal.value)) if goal.value else None
            found.append(Hit(name, event.event_at, worth if worth is not None else goal.value_minor or 0))
    return sorted(found, key=lambda hit: (hit.at, hit.goal))


def after_exposure(exposed_at: datetime, hits: Iterable[Hit], windows: Mapping[str, timedelta]) -> list[Hit]:
    """The goals that belong to an exposure."""
    return [hit for hit in hits if exposed_at < hit.at <= exposed_at + windows[hit.goal]]


def after_sends(sends: Sequence[Send], hits: Iterable[Hit], windows: Mapping[str, timedelta]) -> dict[str, list[Hit]]:
    """Goals by the message they belong to: the customer's last one handed off before, within the goal's window."""
    gone = sorted((s for s in sends if not s.is_virtual), key=lambda s: (s.send_at, s.message_id))
    instants = [s.send_at for s in gone]
    found: dict[str, list[Hit]] = {}
    for hit in hits:
        before = bisect_left(instants, hit.at) - 1
        if before >= 0 and hit.at <= instants[before] + windows[hit.goal]:
            found.setdefault(gone[before].message_id, []).append(hit)
    return found


def _at(properties: Mapping[str, object], dotted: str) -> object:
    """The value at `properties.a.b`; null when it is not there."""
    found: object = properties
    for key in dotted.split(".")[1:]:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
