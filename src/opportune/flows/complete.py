"""Which sequences and thresholds are complete: by the new events of a batch, or in a history joined or split."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.flows.arm import Touched, is_open, patience
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger
from opportune.ports import UnitOfWork
from opportune.triggers.heard import Marked, Place, completed, place_of
from opportune.triggers.marks import is_meant, key_of

#: customer -> rule -> its live events that may complete it
Counting = dict[str, dict[str, list[Event]]]


def counting(
    new: Mapping[str, Sequence[Event]], joined: Mapping[str, Sequence[Event]], playbook: Playbook, now: datetime
) -> Counting:
    """Whose live events may complete which rules: new ones, and of `joined` histories all that may still fire. Empty
    for a playbook without sequences and thresholds."""
    found: Counting = {}
    if not playbook.hearing.counting:
        return found
    for customer_id, events in {**new, **joined}.items():
        for event in events:
            if event.origin is not Origin.LIVE:
                continue
            for rule in playbook.hearing.counting.get(event.name, ()):
                if customer_id not in joined or _is_fresh(event, playbook.spec.triggers[rule], now):
                    found.setdefault(customer_id, {}).setdefault(rule, []).append(event)
    return found


def _is_fresh(event: Event, trigger: Trigger, now: datetime) -> bool:
    return event.event_at + patience(trigger) + trigger.expires_after > now


def complete(
    asked: Counting,
    touched: dict[str, Touched],
    people: Mapping[str, Customer],
    joined: Mapping[str, Sequence[Event]],
    sources: Mapping[str, Iterable[str]],
    uow: UnitOfWork,
    playbook: Playbook,
) -> None:
    """Add to `touched` what these events complete: the completing event starts the rule. `joined`: whole histories read
    already. `sources`: customer -> those who gave events away to them; what has fired there has fired here."""
    since = min(_since(rule, events, playbook) for rules in asked.values() for rule, events in rules.items())
    rules = {rule for mine in asked.values() for rule in mine}
    names = {on.event for rule in rules for on in playbook.spec.triggers[rule].hears}
    sides = {c: (c, *sources.get(c, ())) for c in asked}
    stored = {c: [e for e in events if e.name in names and e.event_at >= since] for c, events in joined.items()}
    stored |= uow.events.named(asked.keys() - joined.keys(), names, since)
    past = uow.timers.past({side for both in sides.values() for side in both}, since)
    for customer_id, mine in asked.items():
        done = [t for side in sides[customer_id] for t in past.get(side, ()) if t.is_done]
        for rule, events in mine.items():
            trigger = playbook.spec.triggers[rule]
            spent = _spent((t.key, (t.set_at, t.set_by)) for t in done if t.rule == rule)
            marked = list(_marked(trigger, stored.get(customer_id, ()), people[customer_id], playbook))
            fresh = {e.message_id for e in events}
            for key, event in completed(trigger, marked, fresh, spent, partial(_may_complete, trigger)).items():
                touched.setdefault(customer_id, Touched()).starts[rule, key] = event


def _may_complete(trigger: Trigger, event: Event) -> bool:
    return is_open(trigger, event.event_at)


def _since(rule: str, events: Sequence[Event], playbook: Playbook) -> datetime:
    span = playbook.spec.triggers[rule].in_
    assert span is not None
    return min(event.event_at for event in events) - span


def _spent(places: Iterable[tuple[str, Place]]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for key, place in places:
        found[key] = max(found.get(key, place), place)
    return found


def _marked(trigger: Trigger, events: Sequence[Event], customer: Customer, playbook: Playbook) -> list[Marked]:
    """The events that count, in their order, with their instance and the steps they can be."""
    found: list[Marked] = []
    for event in sorted(events, key=place_of):
        if event.origin is Origin.OWN:
            continue
        by_key: dict[str, list[int]] = {}
        for step, on in enumerate(trigger.steps or trigger.on):
            if is_meant(on, event, customer.traits, playbook.holds):
                by_key.setdefault(key_of(event, on.key) or "", []).append(step)
        found += [(event, key, steps) for key, steps in by_key.items()]
    return found
