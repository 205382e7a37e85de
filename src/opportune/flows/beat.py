"""The worker's heartbeat: one line in the ledger that says when a worker was last at work, in real time."""

from datetime import datetime

from opportune.domain.instants import format_instant, parse_instant
from opportune.ports import Clock, Ledger

_CURSOR = "worker_heartbeat"


def beat(ledger: Ledger, clock: Clock, owner: str) -> int:
    """Say that `owner` is at work; `clock` is the wall, whatever clock decides. Returns 0: nothing was waiting."""
    with ledger.begin() as uow:
        uow.cursors.put(_CURSOR, f"{format_instant(clock.now())} {owner}")
    return 0


def last_beat(ledger: Ledger) -> tuple[datetime, str] | None:
    """(when, who) of the newest heartbeat of any worker; null: none ever ran."""
    with ledger.read() as uow:
        kept = uow.cursors.get(_CURSOR)
    if kept is None:
        return None
    at, _, owner = kept.partition(" ")
    return parse_instant(at), owner
