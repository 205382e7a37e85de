"""Date and replenishment triggers look ahead: their next timers, whenever something that says the day has changed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from opportune.decision.zones import local_zone
from opportune.domain.customers import Customer
from opportune.domain.events import Event, Origin
from opportune.domain.timers import Timer, TimerFate
from opportune.flows.arm import Armed, capped
from opportune.playbook.hearing import PLACE_TRAITS
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork
from opportune.triggers.planned import MEMORY, Known, due_next

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def rules_touched(
    new: Mapping[str, Sequence[Event]],
    joined: Collection[str],
    before: Mapping[str, Customer],
    after: Mapping[str, Customer],
    playbook: Playbook,
) -> dict[str, set[str]]:
    """Whose plans of which rules these events may change. Empty for a playbook without date and replenishment."""
    hearing = playbook.hearing
    found: dict[str, set[str]] = {}
    if not hearing.planned:
        return found
    for customer_id, customer in after.items():
        rules = set(hearing.planned) if customer_id in joined else set()
        for event in new.get(customer_id, ()):
            if event.origin is not Origin.OWN:
                rules.update(hearing.planning.get(event.name, ()))
        known = before.get(customer_id)
        if known is None:
            rules.update(hearing.on_calendar)
        traits = known.traits if known is not None else {}
        for trait, dated in hearing.by_trait.items():
            if traits.get(trait) != customer.traits.get(trait):
                rules.update(dated)
        if known is not None and any(traits.get(it) != customer.traits.get(it) for it in PLACE_TRAITS):
            rules.update(rule for rule in hearing.planned if playbook.spec.triggers[rule].kind == "date")
        if rules:
            found[customer_id] = rules
    return found


def rules_following(timers: Iterable[Timer], playbook: Playbook) -> dict[str, set[str]]:
    """Whose plans go on after these timers had their turn: the next of several days, or the next year."""
    found: dict[str, set[str]] = {}
    for timer in timers:
        trigger = playbook.spec.triggers.get(timer.rule)
        if trigger is not None and trigger.kind == "date":
            found.setdefault(timer.customer_id, set()).add(timer.rule)
    return found


def plan_ahead(
    asked: Mapping[str, Collection[str]],
    people: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
) -> Armed:
    """Work out what should be pending for these (customer -> rules), and make it so; what was set and cancelled."""
    changes = Armed([], [])
    if not asked:
        return changes
    rules = {rule for mine in asked.values() for rule in mine}
    names = playbook.hearing.planning_names(rules, playbook.spec)
    events = uow.events.named(asked, names, _EVER) if names else {}
    pending, past = uow.timers.of(asked), uow.timers.past(asked, now - MEMORY)
    for customer_id, mine in sorted(asked.items()):
        customer = people.get(customer_id) or Customer(customer_id=customer_id)
        heard = [e for e in events.get(customer_id, ()) if e.origin is not Origin.OWN]
        zone = local_zone(customer)
        for rule in sorted(mine):
            trigger = playbook.spec.triggers[rule]
            known = Known(
                customer_id=customer_id,
                traits=customer.traits,
                zone=zone,
                events=heard,
                pending=[it for it in pending.get(customer_id, ()) if it.rule == rule],
                past=[it for it in past.get(customer_id, ()) if it.rule == rule],
            )
            wanted = due_next(rule, trigger, known, playbook.spec.occasions, playbook.holds, now)
            _compare([replace(it, payload=capped(it.payload)) for it in wanted], known.pending, changes)
    if changes.arm:
        uow.timers.arm(changes.arm)
    if changes.cancel:
        uow.timers.cancel(changes.cancel, TimerFate.CANCELLED, now)
    return changes


def _compare(wanted: Sequence[Timer], pending: Sequence[Timer], changes: Armed) -> None:
    """What differs is set anew; what is not wanted any more is cancelled."""
    there = {it.key: it for it in pending}
    for timer in wanted:
        old = there.pop(timer.key, None)
        if old is None or (old.due_at, old.expires_at, old.set_by) != (timer.due_at, timer.expires_at, timer.set_by):
            changes.arm.append(timer)
    changes.cancel.extend((it.rule, it.customer_id, it.key) for it in there.values())
