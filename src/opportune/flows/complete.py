"""Which sequences and thresholds the new events of a batch complete, read from the stored events around them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.domain.timers import Timer
from opportune.flows.arm import Touched, is_open
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger
from opportune.ports import UnitOfWork
from opportune.triggers.heard import Marked, Place, completed, place_of
from opportune.triggers.marks import is_meant, key_of

#: customer -> rule -> its new live events that count
Counting = dict[str, dict[str, list[Event]]]


def counting(new: Mapping[str, Sequence[Event]], playbook: Playbook) -> Counting:
    """Whose live events may complete which rules. Empty for a playbook without sequences and thresholds."""
    found: Counting = {}
    if not playbook.hearing.counting:
        return found
    for customer_id, events in new.items():
        for event in events:
            if event.origin is Origin.LIVE:
                for rule in playbook.hearing.counting.get(event.name, ()):
                    found.setdefault(customer_id, {}).setdefault(rule, []).append(event)
    return found


def complete(
    asked: Counting,
    touched: dict[str, Touched],
    pending: Mapping[str, Sequence[Timer]],
    people: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
) -> None:
    """Add to `touched` what the new events complete: the completing event starts the rule."""
    since = min(_since(rule, events, playbook) for rules in asked.values() for rule, events in rules.items())
    rules = {rule for mine in asked.values() for rule in mine}
    names = {on.event for rule in rules for on in playbook.spec.triggers[rule].hears}
    stored, past = uow.events.named(asked, names, since), uow.timers.past(asked, since)
    for customer_id, mine in asked.items():
        left = [(t.rule, t.key, (t.set_at, t.set_by)) for t in pending.get(customer_id, ())]
        left += [(t.rule, t.key, (t.set_at, t.set_by)) for t in past.get(customer_id, ()) if t.is_done]
        for rule, events in mine.items():
            trigger = playbook.spec.triggers[rule]
            spent = _spent(place for place in left if place[0] == rule)
            marked = list(_marked(trigger, stored.get(customer_id, ()), people[customer_id], playbook))
            fresh = {e.message_id for e in events}
            for key, event in completed(trigger, marked, fresh, spent).items():
                if is_open(trigger, event.event_at):
                    touched.setdefault(customer_id, Touched()).starts[rule, key] = event


def _since(rule: str, events: Sequence[Event], playbook: Playbook) -> datetime:
    span = playbook.spec.triggers[rule].in_
    assert span is not None
    return min(event.event_at for event in events) - span


def _spent(places: Iterable[tuple[str, str, Place]]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for _, key, place in places:
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
