"""An event arrives: identities, events, feature state, traits, consent, outcomes, timers and outbox in one commit.

Read, think, write, for a whole batch at once; a known messageId ends quietly. Large batches go in chunks, each its own
transaction: every chunk may be sent again, so a batch that fails half-way loses and doubles nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opportune.domain import traits as trait_fold
from opportune.domain.customers import Customer
from opportune.domain.decisions import Reason
from opportune.domain.events import DeadLetter, Event
from opportune.domain.messages import Send, SendState
from opportune.domain.states import StateRow
from opportune.domain.timers import TimerFate
from opportune.features import state as feature_state
from opportune.flows import arm
from opportune.flows.hear import consents_of, is_heard, message_named, outcomes_of
from opportune.flows.merge import Merged, belonging, merge
from opportune.flows.spend import give_back
from opportune.flows.states import unpack_readable
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, LockLost, OutboxItem, Unavailable, UnitOfWork

CHUNK = 500
ATTEMPTS = 8
#: Reserved sends older than this were handed off or have expired.
CANCEL_WITHIN = timedelta(days=7)
_TICK = timedelta(microseconds=1)


@dataclass(slots=True)
class IngestReport:
    """What became of a batch. `n_accepted` new events, `n_duplicate` known ones, `n_rejected` dead letters.

    `merged`: customer id -> the one they were merged into. `changed`: customers whose state is new.
    """

    n_accepted: int = 0
    n_duplicate: int = 0
    n_rejected: int = 0
    n_armed: int = 0
    n_cancelled: int = 0
    n_released: int = 0
    merged: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)


def ingest(
    events: Sequence[Event],
    letters: Sequence[DeadLetter],
    ledger: Ledger,
    playbook: Playbook,
    clock: Clock,
) -> IngestReport:
    """Make events durable, and everything that follows from them. Raises Unavailable: that chunk left nothing."""
    report = IngestReport()
    by_id: dict[str, Event] = {}
    for event in events:
        by_id.setdefault(event.message_id, event)
    once = list(by_id.values())
    report.n_duplicate = len(events) - len(once)
    first = True
    for start in range(0, max(len(once), 1), CHUNK):
        _ingest_chunk(once[start : start + CHUNK], letters if first else (), ledger, playbook, clock, report)
        first = False
    return report


def _ingest_chunk(
    events: Sequence[Event],
    letters: Sequence[DeadLetter],
    ledger: Ledger,
    playbook: Playbook,
    clock: Clock,
    report: IngestReport,
) -> None:
    fresh: Sequence[Event] = ()
    for _ in range(ATTEMPTS):
        locks: set[str] = set()
        if events:
            with ledger.read() as uow:
                known = uow.events.known([e.message_id for e in events])
                fresh = [e for e in events if e.message_id not in known]
                if fresh:
                    locks = belonging(fresh, uow).customers
        if not fresh and not letters:
            break
        try:
            with ledger.begin(sorted(locks)) as uow:
                if letters:
                    uow.dead_letters.add(letters)
                n_new = _write(fresh, locks, uow, playbook, clock.now(), report) if fresh else 0
            report.n_rejected += len(letters)
            report.n_accepted += n_new
            report.n_duplicate += len(events) - n_new
            return
        except LockLost:
            continue
    else:
        raise Unavailable("the identities of these customers keep changing: try again")
    report.n_duplicate += len(events)


def _write(
    fresh: Sequence[Event], locks: set[str], uow: UnitOfWork, playbook: Playbook, now: datetime, report: IngestReport
) -> int:
    """Everything of one chunk, under the locks; number of new events. Raises LockLost when others are needed."""
    whose = belonging(fresh, uow)
    if not whose.customers <= locks:
        raise LockLost("identities changed between reading and locking")
    people, rows = uow.customers.get(whose.customers), uow.states.get(whose.customers)
    new_ids = uow.events.append([(e, whose.home[e.id_key]) for e in fresh])
    merged = merge(whose, {*people, *rows}, now, uow)
    new: dict[str, list[Event]] = {}
    for event in sorted((e for e in fresh if e.message_id in new_ids), key=lambda e: (e.event_at, e.message_id)):
        new.setdefault(whose.home[event.id_key], []).append(event)
    histories = uow.events.of(merged.touched) if merged.touched else {}
    joined = {c: histories.get(c, []) for c in merged.touched}
    changed = sorted({*new, *joined})
    after = _fold_customers(changed, people, new, joined, merged)
    uow.customers.put(list(after.values()))
    uow.states.put(_next_states(changed, rows, new, joined, merged, uow, now))
    _hear(new, joined, uow, now)
    _arm(new, joined, people, after, uow, playbook, now, report)
    uow.outbox.put([OutboxItem(topic="project", key=c, available_at=now) for c in [*changed, *sorted(merged.gone)]])
    report.merged.update(merged.gone)
    report.changed.update(changed)
    return len(new_ids)


def _fold_customers(
    changed: Sequence[str],
    people: Mapping[str, Customer],
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    merged: Merged,
) -> dict[str, Customer]:
    """Traits by stamps: new events on top; after a merge both sides; after a split anew from the events."""
    after = {}
    for customer_id in changed:
        blank = Customer(customer_id=customer_id)
        if customer_id in merged.split:
            after[customer_id] = trait_fold.fold(blank, joined[customer_id])
            continue
        base = people.get(customer_id, blank)
        for old, into in merged.gone.items():
            if into == customer_id and old in people:
                base = trait_fold.join(base, people[old])
        after[customer_id] = trait_fold.fold(base, new.get(customer_id, ()))
    return after


def _next_states(
    changed: Sequence[str],
    rows: Mapping[str, StateRow],
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    merged: Merged,
    uow: UnitOfWork,
    now: datetime,
) -> list[StateRow]:
    """The state rows after the new events: updated, or rebuilt where history moved or another catalogue packed it."""
    states = unpack_readable({c: row for c, row in rows.items() if c not in joined})
    outdated = [c for c in changed if c in rows and c not in states and c not in joined]
    histories = {**joined, **(uow.events.of(outdated) if outdated else {})}
    found = []
    for customer_id in changed:
        if customer_id in histories:
            state = feature_state.rebuild(histories[customer_id])
        else:
            state = feature_state.update(states.get(customer_id) or feature_state.empty(), new[customer_id])
        before = rows.values() if customer_id in joined else [rows[customer_id]] if customer_id in rows else []
        found.append(
            StateRow(
                customer_id=customer_id,
                version=max((row.version for row in before), default=0) + 1,
                state=feature_state.pack(state),
                committed_at=max((now, *(row.committed_at + _TICK for row in before))),
            )
        )
    return found


def _hear(
    new: Mapping[str, Sequence[Event]], joined: Mapping[str, Sequence[Event]], uow: UnitOfWork, now: datetime
) -> None:
    """Outcomes and opt-outs. After a merge, opt-outs stated by events hold for whoever owns those events now."""
    heard = [(e, c) for c, events in new.items() for e in events if is_heard(e)]
    moved = [(e, c) for c, events in joined.items() for e in events if is_heard(e)]
    if heard or moved:
        uow.consents.add(list({line.consent_id: line for line in consents_of([*heard, *moved], now)}.values()))
    named = {m for e, _ in heard if (m := message_named(e)) is not None}
    if named and (outcomes := outcomes_of(heard, uow.sends.get(named), now)):
        uow.outcomes.add(outcomes)


def _arm(
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    before: Mapping[str, Customer],
    after: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
    report: IngestReport,
) -> None:
    """Set, restart and cancel timers, and release what has fired but was not handed off before it was stopped."""
    touched = {c: arm.touch(after[c], events, playbook) for c, events in new.items()}
    for customer_id, events in joined.items():  # after a merge, what one side did stops what the other waits for
        mine = touched.setdefault(customer_id, arm.Touched())
        mine.stops.update(arm.touch(after[customer_id], events, playbook).stops)
    touched = {c: t for c, t in touched.items() if t.starts or t.stops}
    if not touched:
        return
    starting = {c: t for c, t in touched.items() if t.starts}
    pending = uow.timers.of(touched)
    fired = uow.timers.fired(starting, arm.look_back(starting.values(), playbook, now)) if starting else {}
    histories = _late_histories(starting, joined, before, uow)
    to_set, to_cancel = [], []
    for customer_id, mine in sorted(touched.items()):
        history = arm.touch(after[customer_id], histories.get(customer_id, ()), playbook)
        plan = arm.plan(
            customer_id, mine, pending.get(customer_id, ()), fired.get(customer_id, ()), history, playbook, now
        )
        to_set += plan.arm
        to_cancel += plan.cancel
    if to_set:
        uow.timers.arm(to_set)
        report.n_armed += len(to_set)
    if to_cancel:
        report.n_cancelled += uow.timers.cancel(to_cancel, TimerFate.CANCELLED, now)
    report.n_released += _release({c: t for c, t in touched.items() if t.stops}, uow, playbook, now)


def _late_histories(
    starting: Mapping[str, arm.Touched],
    joined: Mapping[str, Sequence[Event]],
    before: Mapping[str, Customer],
    uow: UnitOfWork,
) -> Mapping[str, Sequence[Event]]:
    """Stored events of those for whom a start came late: something stored may already have stopped it."""
    late = [
        c
        for c, t in starting.items()
        if c not in joined
        and (seen := before[c].last_seen_at if c in before else None) is not None
        and any(seen >= event.event_at for event in t.starts.values())
    ]
    return {**joined, **(uow.events.of(late) if late else {})}


def _release(stopping: Mapping[str, arm.Touched], uow: UnitOfWork, playbook: Playbook, now: datetime) -> int:
    """Release reserved sends of triggers whose `unless` has happened after all; returns how many."""
    if not stopping:
        return 0
    booked: dict[str, list[Send]] = {}
    for customer_id, sends in uow.sends.log(stopping, now - CANCEL_WITHIN).items():
        rules = {rule for rule, _ in stopping[customer_id].stops}
        mine = [s for s in sends if s.state is SendState.RESERVED and s.trigger_key is not None and s.trigger in rules]
        if mine:
            booked[customer_id] = mine
    if not booked:
        return 0
    released: list[Send] = []
    histories = uow.events.of(booked)
    for customer_id, sends in booked.items():
        for send in sends:
            stopped_at = stopping[customer_id].stopped_at(send.trigger, send.trigger_key or "")
            if stopped_at > arm.NEVER and stopped_at >= arm.started_at(send, histories.get(customer_id, ()), playbook):
                uow.sends.move(send.message_id, SendState.RELEASED, now, Reason.CANCELLED)
                released.append(send)
    give_back(released, uow)
    return len(released)
