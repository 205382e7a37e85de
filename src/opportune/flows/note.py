"""Events are counted behind the commit: who is interested in what, and which sources showed signs of life.

Nobody's event waits for it. What is noted is a function of the events alone; a playbook that asks for something else is
served by reading the log again from its start. One worker at a time, each page in one transaction with its cursor.
"""

import hashlib
from collections.abc import Callable, Sequence

from opportune.domain.events import Event
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, UnitOfWork
from opportune.triggers.interest import all_signals, longest_wanted, noted

PAGE = 1000


def note_interest(ledger: Ledger, playbook: Playbook, limit: int = PAGE) -> int:
    """Note one page of interest; returns how many events were read: fewer than `limit`, and all committed are noted.
    0 at once when the playbook has no catalogue trigger."""
    signals = all_signals(playbook)
    if not signals:
        return 0

    def write(events: Sequence[Event], uow: UnitOfWork) -> None:
        uow.interests.note(noted(events, signals, playbook))

    return read_on(f"interest:{_digest((signals, longest_wanted(playbook)))}", write, ledger, limit)


def forget_interest(ledger: Ledger, playbook: Playbook, clock: Clock, limit: int = PAGE) -> int:
    """Drop interest that no catalogue trigger counts any more; returns how many rows. A playbook that counts it for
    longer has the log read again."""
    wanted = longest_wanted(playbook)
    if wanted is None:
        return 0
    n = 0
    while True:
        with ledger.read() as uow:
            old = uow.interests.older(clock.now() - wanted, limit)
        if old:
            with ledger.begin() as uow:
                uow.interests.drop(old)
        n += len(old)
        if len(old) < limit:
            return n


def read_on(name: str, write: Callable[[Sequence[Event], UnitOfWork], None], ledger: Ledger, limit: int) -> int:
    """One page of the log past the cursor `name`, handed to `write` in the transaction that moves the cursor."""
    with ledger.read() as uow:
        events, _ = uow.events.after(uow.cursors.get(name) or "", 1)
    if not events:
        return 0
    with ledger.begin([f"note:{name}"]) as uow:
        events, moved = uow.events.after(uow.cursors.get(name) or "", limit)
        if events:
            write([event for event, _ in events], uow)
            uow.cursors.put(name, moved)
    return len(events)


def _digest(declared: object) -> str:
    return hashlib.sha256(repr(declared).encode()).hexdigest()[:16]
