"""What new events do to timers: set, restart, cancel, plan ahead, and let go what is stopped before it left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opportune.domain.customers import Customer
from opportune.domain.decisions import Reason
from opportune.domain.events import Event
from opportune.domain.messages import Send, SendState
from opportune.domain.timers import TimerFate
from opportune.flows import arm
from opportune.flows.complete import complete, counting
from opportune.flows.hear_levels import hear_levels
from opportune.flows.merge import Belonging
from opportune.flows.plan_ahead import plan_ahead, rules_touched
from opportune.flows.rearm import Joined, rearm
from opportune.flows.watch import newcomers
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork

#: Reserved sends older than this were handed off or have expired.
CANCEL_WITHIN = timedelta(days=7)


@dataclass(slots=True)
class TimersSet:
    """Counts of what became of timers, and the reserved sends that were released: their budgets are the caller's to
    give back."""

    n_armed: int = 0
    n_cancelled: int = 0
    released: list[Send] = field(default_factory=list)


def set_timers(
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    whose: Belonging,
    before: Mapping[str, Customer],
    after: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
) -> TimersSet:
    """Everything that new events, and histories that were `joined` or split, do to timers. Locks are held."""
    report = TimersSet()
    _arm(new, joined, whose, before, after, uow, playbook, now, report)
    _look_ahead(new, joined, before, after, uow, playbook, now, report)
    return report


def _arm(
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    whose: Belonging,
    before: Mapping[str, Customer],
    after: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
    report: TimersSet,
) -> None:
    """Set, restart and cancel timers, and release what has fired but was not handed off before it was stopped."""
    touched = {c: arm.touch(after[c], events, playbook) for c, events in {**new, **joined}.items()}
    touched = {c: t for c, t in touched.items() if t.starts or t.stops or c in joined}
    asked = counting(new, joined, playbook, now)
    if not touched and not asked:
        return
    sources: dict[str, set[str]] = {c: set() for c in joined}
    for old, into in whose.moves.values():
        if into in joined:
            sources[into].add(old)
    sides = {*touched, *asked, *(old for olds in sources.values() for old in olds)}
    pending = uow.timers.of(sides)
    if asked:
        complete(asked, touched, after, joined, sources, uow, playbook)
    if not touched:
        return
    starting = [t for t in touched.values() if t.starts]
    fired = uow.timers.fired(sides, arm.look_back(starting, playbook, now)) if starting else {}
    late = _late_histories({c: t for c, t in touched.items() if t.starts and c not in joined}, before, uow, playbook)
    to_set, to_cancel = [], []
    for customer_id in sorted(touched.keys() - joined.keys()):
        history = arm.touch(after[customer_id], late.get(customer_id, ()), playbook)
        plan = arm.plan(
            customer_id,
            touched[customer_id],
            pending.get(customer_id, ()),
            fired.get(customer_id, ()),
            history,
            playbook,
            now,
        )
        to_set += plan.arm
        to_cancel += plan.cancel
    again = [
        Joined(
            customer_id=c,
            does=touched[c],
            history=joined[c],
            new_ids={e.message_id for e in new.get(c, ())},
            sources=sources[c],
        )
        for c in sorted(joined)
    ]
    plan = rearm(again, pending, fired, playbook, now)
    to_set, to_cancel = [*to_set, *plan.arm], [*to_cancel, *plan.cancel]
    if to_cancel:
        report.n_cancelled += uow.timers.cancel(to_cancel, TimerFate.CANCELLED, now)
    if to_set:
        uow.timers.arm(to_set)
        report.n_armed += len(to_set)
    report.released += _release({c: t for c, t in touched.items() if t.stops}, uow, playbook, now)


def _look_ahead(
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    before: Mapping[str, Customer],
    after: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
    now: datetime,
    report: TimersSet,
) -> None:
    """Triggers that wait for a day or watch a value. Reads and writes nothing when the playbook has none of them."""
    planned = plan_ahead(rules_touched(new, joined, before, after, playbook), after, uow, playbook, now)
    if first := newcomers(new, {*before, *joined}, playbook, now):
        uow.watches.put(first)
    stated = hear_levels(new, after, uow, playbook, now)
    report.n_armed += len(planned.arm) + len(stated)
    report.n_cancelled += len(planned.cancel)


def _late_histories(
    starting: Mapping[str, arm.Touched],
    before: Mapping[str, Customer],
    uow: UnitOfWork,
    playbook: Playbook,
) -> Mapping[str, Sequence[Event]]:
    """Stored events of those for whom a start came late: something stored may already have stopped it."""
    late = [
        c
        for c, t in starting.items()
        if (seen := before[c].last_seen_at if c in before else None) is not None
        and any(seen >= e.event_at for (rule, _), e in t.starts.items() if playbook.spec.triggers[rule].unless)
    ]
    return uow.events.of(late) if late else {}


def _release(stopping: Mapping[str, arm.Touched], uow: UnitOfWork, playbook: Playbook, now: datetime) -> list[Send]:
    """Release reserved sends of triggers whose `unless` has happened after all; returns them."""
    if not stopping:
        return []
    booked: dict[str, list[Send]] = {}
    for customer_id, sends in uow.sends.log(stopping, now - CANCEL_WITHIN).items():
        rules = {rule for rule, _ in stopping[customer_id].stops}
        mine = [s for s in sends if s.state is SendState.RESERVED and s.trigger_key is not None and s.trigger in rules]
        if mine:
            booked[customer_id] = mine
    if not booked:
        return []
    released: list[Send] = []
    histories = uow.events.of(booked)
    for customer_id, sends in booked.items():
        for send in sends:
            stopped_at = stopping[customer_id].stopped_at(send.trigger, send.trigger_key or "")
            if stopped_at > arm.NEVER and stopped_at >= arm.started_at(send, histories.get(customer_id, ()), playbook):
                uow.sends.move(send.message_id, SendState.RELEASED, now, Reason.CANCELLED)
                released.append(send)
    return released
