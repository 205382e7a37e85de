"""After a merge or a split: the timers that the histories, as they are now, set. Pure, whatever came first.

A pending timer belongs to whoever owns the event that set it. Of triggers that wait for an absence, and of those that
several events complete together, the whole history is asked again; another trigger's start counts when it is new or its
timer is still pending on one of the sides, for what has fired, or was held back, was decided then and stays a fact.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opportune.domain.events import Event
from opportune.domain.timers import Timer
from opportune.flows import arm
from opportune.playbook.load import Playbook
from opportune.triggers.heard import place_of

#: Kinds that several events complete together: what fired has been asked already (complete.py).
COUNTED = ("sequence", "threshold")
#: (rule, key, fired at), as the ledger keeps them.
Fired = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One customer whose history was joined or split.

    `does`: what the whole history starts and stops. `new_ids`: message ids that came in just now. `sources`: the
    customers, still there or gone, who gave events away to this one.
    """

    customer_id: str
    does: arm.Touched
    history: Sequence[Event]
    new_ids: Collection[str] = ()
    sources: Collection[str] = field(default_factory=frozenset)


def rearm(
    joined: Sequence[Joined],
    pending: Mapping[str, Sequence[Timer]],
    fired: Mapping[str, Sequence[Fired]],
    playbook: Playbook,
    now: datetime,
) -> arm.Armed:
    """What to set and cancel for all of them. `pending`, `fired`: of them and of their sources."""
    owner = {event.message_id: one.customer_id for one in joined for event in one.history}
    whole = arm.Armed([], [])
    for one in joined:
        here = pending.get(one.customer_id, ())
        foreign = [
            t for t in here if owner.get(t.set_by, one.customer_id) != one.customer_id or _is_undone(t, one, playbook)
        ]
        sides = (one.customer_id, *sorted(one.sources))
        waiting = {(t.rule, t.key) for side in sides for t in pending.get(side, ())}
        happened = [line for side in sides for line in fired.get(side, ())]
        does = arm.Touched(_open(one, waiting, happened, playbook), one.does.stops)
        own = [t for t in here if t not in foreign]
        plan = arm.plan(one.customer_id, does, own, happened, arm.Touched(), playbook, now)
        whole.arm.extend(plan.arm)
        whole.cancel.extend(plan.cancel)
        again = {(t.rule, t.key) for t in plan.arm}
        whole.cancel.extend((t.rule, one.customer_id, t.key) for t in foreign if (t.rule, t.key) not in again)
    return whole


def _is_undone(timer: Timer, one: Joined, playbook: Playbook) -> bool:
    """What several events had completed together, some of them have left: an earlier completion counts, or none."""
    trigger = playbook.spec.triggers.get(timer.rule)
    if trigger is None or trigger.kind not in COUNTED:
        return False
    completing = one.does.starts.get((timer.rule, timer.key))
    return completing is None or place_of(completing) < (timer.set_at, timer.set_by)


def _open(
    one: Joined, waiting: Collection[tuple[str, str]], fired: Iterable[Fired], playbook: Playbook
) -> dict[tuple[str, str], Event]:
    """The starts that may set a timer."""
    last: dict[tuple[str, str], datetime] = {}
    for rule, key, at in fired:
        last[rule, key] = max(last.get((rule, key), arm.NEVER), at)
    return {
        place: event
        for place, event in one.does.starts.items()
        if event.message_id in one.new_ids
        or playbook.spec.triggers[place[0]].kind in (*arm.WAITING, *COUNTED)
        or (place in waiting and last.get(place, arm.NEVER) < event.event_at)
    }
