"""An event arrives: identities, events, feature state, traits, consent, outcomes, timers and outbox in one commit.

Read, think, write, for a whole batch at once; a known messageId ends quietly. Large batches go in chunks, each its own
transaction: every chunk may be sent again, so a batch that fails half-way loses and doubles nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opportune.domain import traits as trait_fold
from opportune.domain.customers import Customer
from opportune.domain.events import DeadLetter, Event
from opportune.domain.statements import is_outcome
from opportune.domain.states import StateRow
from opportune.features import state as feature_state
from opportune.flows.agree import agree
from opportune.flows.hear import message_named, outcomes_of
from opportune.flows.merge import Merged, belonging, merge
from opportune.flows.rouse import rouse_by
from opportune.flows.set_timers import set_timers
from opportune.flows.states import unpack_readable
from opportune.flows.watch import notes_of
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, LockLost, OutboxItem, Unavailable, UnitOfWork

CHUNK = 500
ATTEMPTS = 8
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
    n_roused: int = 0
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
    agree(new, joined, {whose.home[claim.into_key] for claim in whose.claims}, now, uow)
    _hear(new, uow, now)
    report.n_roused += rouse_by(new, joined, uow, now)
    timers = set_timers(new, joined, whose, people, after, uow, playbook, now)
    notes = notes_of(new, joined, changed, playbook, now)
    gone = sorted(merged.gone)
    uow.outbox.put([*notes, *(OutboxItem(topic="project", key=c, available_at=now) for c in [*changed, *gone])])
    report.n_armed += timers.n_armed
    report.n_cancelled += timers.n_cancelled
    report.n_released += timers.n_released
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


def _hear(new: Mapping[str, Sequence[Event]], uow: UnitOfWork, now: datetime) -> None:
    """Outcomes of our messages."""
    heard = [(e, c) for c, events in new.items() for e in events if is_outcome(e)]
    named = {m for e, _ in heard if (m := message_named(e)) is not None}
    if named and (outcomes := outcomes_of(heard, uow.sends.get(named), now)):
        uow.outcomes.add(outcomes)
