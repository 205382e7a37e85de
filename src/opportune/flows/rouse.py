"""Something happened to customers who are on a journey: their next look comes at once. What it means is asked then."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from opportune.domain.events import Event
from opportune.domain.journeys import Ending, Instance
from opportune.domain.timers import TimerFate
from opportune.flows.hear import is_heard
from opportune.flows.look import definitions_of
from opportune.flows.set_out import timer_for
from opportune.journeys.again import gives_way
from opportune.journeys.definition import Definition
from opportune.journeys.machine import leave
from opportune.ports import UnitOfWork


def rouse_by(events: Mapping[str, Sequence[Event]], joined: Collection[str], uow: UnitOfWork, now: datetime) -> int:
    """Rouse those to whom one of their new events may matter, and all whose history moved (`joined`); how many."""

    def matters(one: Instance) -> bool:
        if one.customer_id in joined or "*" in one.listens:
            return True
        return any(e.name in one.listens or is_heard(e) for e in events.get(one.customer_id, ()))

    return rouse({*events, *joined}, uow, now, matters)


def rouse(
    customer_ids: Collection[str], uow: UnitOfWork, now: datetime, matters: Callable[[Instance], bool] = lambda _: True
) -> int:
    """Make the timers of running instances due now; those due already stay. Locks are held."""
    running = [one for found in uow.journeys.running(customer_ids).values() for one in found if matters(one)]
    if not running:
        return 0
    pending = {
        (t.rule, t.customer_id, t.key): t
        for timers in uow.timers.of({one.customer_id for one in running}).values()
        for t in timers
    }
    early = []
    for one in running:
        timer = pending.get((one.rule, one.customer_id, one.key))
        if timer is None:
            early.append(timer_for(one, now, now))
        elif timer.due_at > now:
            early.append(replace(timer, due_at=now))
    if early:
        uow.timers.arm(early)
    return len(early)


def unite(old: str, new: str, now: datetime, uow: UnitOfWork) -> None:
    """Two customers become one: of two instances of one key one goes on (journeys/again.py), and all that go on look
    again at once. Timers have moved already. Locks of both are held.
    """
    there = uow.journeys.of((old, new))
    mine, theirs = there.get(new, ()), there.get(old, ())
    if not theirs and not mine:
        return
    definitions = definitions_of([*mine, *theirs], uow)
    lost = [
        one
        for ones, others in ((mine, theirs), (theirs, mine))
        for one in ones
        if one.ended_at is None and _is_beaten(one, others, definitions.get(one.version))
    ]
    left = [leave(one, Ending.MERGED, now) for one in lost]
    uow.journeys.put([one for one, _ in left])
    uow.journeys.take([line for _, line in left])
    uow.journeys.reassign(old, new)
    going = uow.journeys.running([new]).get(new, ())
    uow.timers.arm([timer_for(one, now, now) for one in going])
    idle = {(one.rule, new, one.key) for one in lost} - {(one.rule, new, one.key) for one in going}
    uow.timers.cancel(sorted(idle), TimerFate.CANCELLED, now)


def _is_beaten(one: Instance, others: Sequence[Instance], definition: Definition | None) -> bool:
    same = [other for other in others if (other.journey, other.key) == (one.journey, one.key)]
    journey = definition.journey if definition is not None else None
    return any(gives_way(one, other, journey) for other in same)
