"""Milestones that an event states itself, like points: levels passed for the first time are set off."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.domain.timers import Timer
from opportune.domain.watches import Watch
from opportune.flows.watch import set_off
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork
from opportune.triggers.heard import place_of
from opportune.triggers.marks import is_meant, value_at
from opportune.triggers.watched import Crossing, definition_of, levels_reached, look

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def hear_levels(
    new: Mapping[str, Sequence[Event]],
    people: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
) -> list[Timer]:
    """Look at the values the new events state, in their order; imported ones count and fire nothing. Timers set."""
    asked = {c for c, events in new.items() if any(e.name in playbook.hearing.stating for e in events)}
    if not asked:
        return []
    kept = {(w.customer_id, w.rule): w for found in uow.watches.get(asked).values() for w in found}
    rules = sorted({rule for c in asked for e in new[c] for rule in playbook.hearing.stating.get(e.name, ())})
    unseen = {c for c in asked if any((c, rule) not in kept for rule in rules)}
    names = {on.event for rule in rules for on in playbook.spec.triggers[rule].on}
    stored = uow.events.named(unseen, names, _EVER) if unseen else {}
    crossed: list[tuple[str, str, Crossing]] = []
    for customer_id in sorted(asked):
        fresh = {e.message_id for e in new[customer_id]}
        earlier = [e for e in stored.get(customer_id, ()) if e.message_id not in fresh]
        for rule in rules:
            trigger = playbook.spec.triggers[rule]
            definition = definition_of(trigger, playbook.spec.audiences)
            watch = kept.get((customer_id, rule)) or Watch(
                rule=rule,
                customer_id=customer_id,
                definition=definition,
                is_armed=True,
                since=now,
                levels=tuple(sorted(_passed(rule, earlier, people[customer_id], playbook))),
            )
            for event in sorted(new[customer_id], key=place_of):
                value = _stated(rule, event, people[customer_id], playbook)
                after, crossing = look(trigger, watch, value, customer_id, rule, definition, now)
                watch = after or watch
                if crossing is not None and event.origin is Origin.LIVE:
                    crossed.append((rule, customer_id, crossing))
            if watch != kept.get((customer_id, rule)):
                kept[customer_id, rule] = watch
                uow.watches.put([watch])
    return set_off(crossed, uow, playbook, now)


def _passed(rule: str, events: Sequence[Event], customer: Customer, playbook: Playbook) -> set[str]:
    """Levels that events of before have passed."""
    trigger = playbook.spec.triggers[rule]
    return {
        level
        for event in events
        if (value := _stated(rule, event, customer, playbook)) is not None
        for level in levels_reached(trigger, value)
    }


def _stated(rule: str, event: Event, customer: Customer, playbook: Playbook) -> object:
    """The value an event states for a rule; null: none."""
    trigger = playbook.spec.triggers[rule]
    if event.origin is Origin.OWN or not any(is_meant(on, event, customer.traits, playbook.holds) for on in trigger.on):
        return None
    return value_at(event.properties, (trigger.milestone or "").removeprefix("properties."))
