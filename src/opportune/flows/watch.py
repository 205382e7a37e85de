"""Somebody looks: score, audience and milestone triggers of some customers, and what has crossed is set off.

Ingestion leaves a note (`review`; `settle` after an import, which fires nothing) for every customer whose state is new;
`review` works the notes off. Reading and scoring happen before the lock; whoever changed meanwhile has a new note.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from opportune.decision.consent import Standing
from opportune.domain.events import Event, Origin
from opportune.domain.instants import to_us
from opportune.domain.timers import Timer
from opportune.domain.watches import Watch
from opportune.features.state import empty, finalise
from opportune.flows.arm import is_open
from opportune.flows.desk import Desk
from opportune.flows.readings import readings_from
from opportune.flows.reads import features_read
from opportune.flows.states import ledger_states
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger
from opportune.ports import OutboxItem, UnitOfWork
from opportune.triggers.marks import value_at
from opportune.triggers.watched import Crossing, blank, definition_of, look

REVIEW, SETTLE = "review", "settle"
LEASE = timedelta(seconds=60)


def notes_of(
    new: Mapping[str, Sequence[Event]],
    joined: Collection[str],
    changed: Iterable[str],
    playbook: Playbook,
    now: datetime,
) -> list[OutboxItem]:
    """A note for every customer somebody should look at; none for a playbook that watches nothing."""
    if not playbook.hearing.watched:
        return []
    is_live = {c for c, events in new.items() if any(e.origin is not Origin.IMPORT for e in events)} | set(joined)
    return [OutboxItem(topic=REVIEW if c in is_live else SETTLE, key=c, available_at=now) for c in changed]


def newcomers(
    new: Mapping[str, Sequence[Event]], before: Collection[str], playbook: Playbook, now: datetime
) -> list[Watch]:
    """Watches of customers who were not there before and came in live: they start on the outside."""
    spec, rules = playbook.spec, playbook.hearing.watched
    return [
        blank(rule, spec.triggers[rule], customer_id, definition_of(spec.triggers[rule], spec.audiences), now)
        for customer_id, events in new.items()
        if rules and customer_id not in before and any(e.origin is Origin.LIVE for e in events)
        for rule in rules
    ]


def review(desk: Desk, limit: int = 200) -> int:
    """Work off up to `limit` notes of each sort; returns how many were taken."""
    if not desk.playbook.hearing.watched:
        return 0
    now = desk.clock.now()
    with desk.ledger.read() as uow:
        waiting = [topic for topic in (SETTLE, REVIEW) if (at := uow.outbox.next_at(topic, now)) and at <= now]
    if not waiting:
        return 0
    with desk.ledger.begin() as uow:
        notes = {topic: uow.outbox.claim(topic, now, limit, now + LEASE) for topic in waiting}
    settled = {note.key for note in notes.get(SETTLE, ())}  # both notes: what was imported must fire nothing
    seen = settled | {note.key for note in notes.get(REVIEW, ())}
    look_at(seen, desk, settled, [note for found in notes.values() for note in found])
    return sum(len(found) for found in notes.values())


def look_at(
    customer_ids: Collection[str], desk: Desk, silent: Collection[str] = (), notes: Sequence[OutboxItem] = ()
) -> int:
    """Look at these customers now; timers set. `silent`: those for whom nothing fires. `notes` are done with it."""
    now = desk.clock.now()
    seen = _read(customer_ids, desk, now)
    with desk.ledger.begin(sorted(customer_ids)) as uow:
        versions = uow.states.versions(customer_ids)
        still = {c: it for c, it in seen.items() if versions.get(c, 0) == it.version}
        timers = _look(still, silent, uow, desk.playbook, now)
        uow.outbox.done(notes)
    return len(timers)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of one customer: the state's version, and what conditions read."""

    version: int
    env: Mapping[str, Any]


def _read(customer_ids: Collection[str], desk: Desk, now: datetime) -> dict[str, _Seen]:
    playbook = desk.playbook
    with desk.ledger.read() as uow:
        people = uow.customers.get(customer_ids)
        states, versions = ledger_states(customer_ids, uow)
        consents = uow.consents.of(people) if _reads_scores(playbook) else {}
    blank_state = empty()
    names = features_read(desk)
    values = {c: finalise(states.get(c, blank_state), now, names) for c in people}
    readings = readings_from(values, versions, desk, ()) if _reads_scores(playbook) else {}
    policy = playbook.spec.consent
    found = {}
    for c, customer in people.items():
        scores = readings[c].scores if c in readings and Standing(consents.get(c, ())).may_profile(policy) else {}
        env = {"features": values[c], "traits": customer.traits, "scores": {n: s.p for n, s in scores.items()}}
        found[c] = _Seen(versions.get(c, 0), env)
    return found


def _reads_scores(playbook: Playbook) -> bool:
    return any(_scores_of(playbook.spec.triggers[rule], playbook) for rule in playbook.hearing.watched)


def _scores_of(trigger: Trigger, playbook: Playbook) -> set[str]:
    """Scores that must be known for a look."""
    if trigger.score is not None:
        return {trigger.score}
    audience = trigger.entered or trigger.left
    reads = playbook.reads(playbook.spec.audiences[audience]) if audience is not None else ()
    return {name.split(".")[1] for name in reads if name.startswith("scores.")}


def value_of(trigger: Trigger, env: Mapping[str, Any], playbook: Playbook) -> Any:
    """What the trigger watches, now; null where a score it needs is not known."""
    if any(name not in env["scores"] for name in _scores_of(trigger, playbook)):
        return None
    if trigger.score is not None:
        return env["scores"][trigger.score]
    audience = trigger.entered or trigger.left
    if audience is not None:
        return playbook.holds(playbook.spec.audiences[audience], env)
    root, _, name = (trigger.milestone or "").partition(".")
    return value_at(env.get(root), name)


def _look(
    seen: Mapping[str, _Seen], silent: Collection[str], uow: UnitOfWork, playbook: Playbook, now: datetime
) -> list[Timer]:
    spec, kept = playbook.spec, uow.watches.get(seen)
    crossed: list[tuple[str, str, Crossing]] = []
    changed: list[Watch] = []
    for rule in playbook.hearing.watched:
        trigger = spec.triggers[rule]
        definition = definition_of(trigger, spec.audiences)
        for customer_id, it in sorted(seen.items()):
            before = next((w for w in kept.get(customer_id, ()) if w.rule == rule), None)
            value = value_of(trigger, it.env, playbook)
            after, crossing = look(trigger, before, value, customer_id, rule, definition, now)
            if after is not None and after != before:
                changed.append(after)
            if crossing is not None and customer_id not in silent:
                crossed.append((rule, customer_id, crossing))
    if changed:
        uow.watches.put(changed)
    return set_off(crossed, uow, playbook, now)


def set_off(
    crossed: Sequence[tuple[str, str, Crossing]], uow: UnitOfWork, playbook: Playbook, now: datetime
) -> list[Timer]:
    """Arm a timer for each (rule, customer, crossing) inside the trigger's days and outside its cool-down."""
    triggers = playbook.spec.triggers
    resting = {c: triggers[rule].cooldown for rule, c, _ in crossed if triggers[rule].cooldown}
    longest = max((span for span in resting.values() if span), default=timedelta(0))
    fired = uow.timers.fired(resting, now - longest) if resting else {}
    timers = []
    for rule, customer_id, crossing in crossed:
        trigger = triggers[rule]
        due_at = now + trigger.delay
        lately = [at for r, k, at in fired.get(customer_id, ()) if (r, k) == (rule, crossing.key)]
        is_resting = trigger.cooldown is not None and any(at + trigger.cooldown > due_at for at in lately)
        if is_open(trigger, now) and not is_resting:
            timers.append(
                Timer(
                    rule=rule,
                    customer_id=customer_id,
                    key=crossing.key,
                    due_at=due_at,
                    set_at=now,
                    set_by=f"watch:{to_us(now)}",
                    expires_at=due_at + trigger.expires_after,
                    payload=crossing.payload,
                )
            )
    if timers:
        uow.timers.arm(timers)
    return timers
