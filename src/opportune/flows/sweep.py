"""The sweep walks all customers, a chunk at a time, for triggers that may fire for those who do nothing.

When dates, inactivity, scores, audiences or milestones of the playbook are new or changed, everything is looked at
once; after that score, audience and milestone triggers every `watch_every`, because windows slide without events. How
far a round has come is kept in the ledger: another worker, or this one after a restart, goes on from there.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from opportune.domain.instants import from_us, to_us
from opportune.flows import arm
from opportune.flows.desk import Desk
from opportune.flows.plan_ahead import plan_ahead
from opportune.flows.watch import REVIEW, SETTLE, look_at, review
from opportune.playbook.load import Playbook
from opportune.ports import Ledger, UnitOfWork

_CURSOR = "sweep"
LEASE = timedelta(seconds=60)
#: Customers locked at once: SQLite has one writer, and events want it too.
CHUNK = 200
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How far sweeping has come. `digest`: the playbook it was for. `began_at` null: nothing is under way. `is_whole`:
    plans are made anew too. `after`: the last customer done. `last_at`: when the last complete round began."""

    digest: str = ""
    began_at: datetime | None = None
    is_whole: bool = False
    after: str = ""
    last_at: datetime | None = None


def kept_round(uow: UnitOfWork) -> Round:
    """What the ledger says."""
    text = uow.cursors.get(_CURSOR)
    if not text:
        return Round()
    digest, began_us, is_whole, after, last_us = orjson.loads(text)
    return Round(
        digest=digest,
        began_at=None if began_us is None else from_us(began_us),
        is_whole=is_whole,
        after=after,
        last_at=None if last_us is None else from_us(last_us),
    )


def _keep(now: Round, uow: UnitOfWork) -> None:
    began, last = now.began_at, now.last_at
    fields = (now.digest, began and to_us(began), now.is_whole, now.after, last and to_us(last))
    uow.cursors.put(_CURSOR, orjson.dumps(fields).decode())


def due_at(found: Round, playbook: Playbook, now: datetime) -> datetime | None:
    """When the next chunk is due: `now` or later; null when nothing has to be swept."""
    hearing = playbook.hearing
    if not hearing.is_swept:
        return None
    if found.digest != hearing.digest or found.began_at is not None or found.last_at is None:
        return now
    if not hearing.watched:
        return None
    step = max(playbook.spec.watch_every // _US, 60_000_000)
    return max(now, from_us((to_us(found.last_at) // step + 1) * step))


def next_look_at(ledger: Ledger, playbook: Playbook, now: datetime) -> datetime | None:
    """When somebody has to be looked at next, by `look_round`: `now` or later; null: nothing of the sort waits."""
    if not playbook.hearing.is_swept:
        return None
    with ledger.read() as uow:
        waits = [due_at(kept_round(uow), playbook, now)]
        if playbook.hearing.watched:
            waits += [uow.outbox.next_at(topic, now) for topic in (SETTLE, REVIEW)]
    return min((at for at in waits if at is not None), default=None)


def look_round(desk: Desk, owner: str) -> int:
    """Notes first, then a chunk of the sweep; returns how many customers were looked at."""
    return review(desk) or sweep(desk, owner)


def sweep(desk: Desk, owner: str, chunk: int = CHUNK) -> int:
    """One chunk of the round that is due, if any; returns how many customers it had. A worker at a time."""
    now, playbook = desk.clock.now(), desk.playbook
    if not playbook.hearing.is_swept:
        return 0
    with desk.ledger.read() as uow:
        at = due_at(kept_round(uow), playbook, now)
    if at is None or at > now:
        return 0
    with desk.ledger.begin() as uow:
        if not uow.cursors.lease(_CURSOR, owner, now, now + LEASE):
            return 0
        current = _begun(kept_round(uow), playbook, now)
        ids = uow.customers.all_ids(current.after, chunk)
        if not ids:
            current = replace(current, began_at=None, is_whole=False, after="", last_at=current.began_at)
        _keep(current, uow)
    if ids:
        if current.is_whole:
            _plan(ids, desk)
        if playbook.hearing.watched:
            look_at(ids, desk)
        with desk.ledger.begin() as uow:
            if kept_round(uow) == current:  # nobody has taken over meanwhile
                _keep(replace(current, after=ids[-1]), uow)
    return max(len(ids), 1)


def _begun(found: Round, playbook: Playbook, now: datetime) -> Round:
    """The round under way; another playbook begins anew."""
    if found.digest != playbook.hearing.digest:
        return Round(digest=playbook.hearing.digest, began_at=now, is_whole=True, last_at=found.last_at)
    if found.began_at is None:
        return replace(found, began_at=now, is_whole=found.last_at is None, after="")
    return found


def _plan(ids: list[str], desk: Desk) -> None:
    """Make the plans of a chunk of customers anew, and set the timers of their present silence."""
    playbook, now = desk.playbook, desk.clock.now()
    with desk.ledger.begin(ids) as uow:
        people = uow.customers.get(ids)
        if playbook.hearing.planned:
            plan_ahead(dict.fromkeys(people, playbook.hearing.planned), people, uow, playbook, now)
        if not playbook.hearing.inactive:
            return
        triggers = {rule: playbook.spec.triggers[rule] for rule in playbook.hearing.inactive}
        since = now - max(arm.patience(t) + t.expires_after for t in triggers.values())
        events = uow.events.named(people, activity_names(playbook), since)
        touched = {c: arm.touch(people[c], found, playbook, only=triggers) for c, found in events.items()}
        pending, fired = (
            uow.timers.of(touched),
            uow.timers.fired(touched, arm.look_back(touched.values(), playbook, now)),
        )
        armed = [
            timer
            for c, mine in touched.items()
            for timer in arm.plan(c, mine, pending.get(c, ()), fired.get(c, ()), arm.Touched(), playbook, now).arm
        ]
        uow.timers.arm(armed)


def activity_names(playbook: Playbook) -> set[str] | None:
    """Names of the events that inactivity triggers wait for; null: any."""
    if playbook.hearing.by_any:
        return None
    spec = playbook.spec
    names = {on.event for rule in playbook.hearing.inactive for on in spec.triggers[rule].on}
    return names | (set(spec.activity) if any(not spec.triggers[r].on for r in playbook.hearing.inactive) else set())
