"""The projection: changed feature states go to the online store, in batches, by one leased projector."""

from datetime import timedelta

from opportune.domain.instants import format_instant
from opportune.ports import Clock, FeatureStore, Ledger, Unavailable

LEASE = timedelta(seconds=30)
RETRY = timedelta(seconds=2)
#: Since when the store has not taken what was claimed; empty while it does.
FAILING = "projection_failing_since"


def project(ledger: Ledger, features: FeatureStore, clock: Clock, owner: str, limit: int = 1000) -> int:
    """Write up to `limit` changed states to the store; returns how many. Nobody waits for it: decisions heal.

    Raises Unavailable when the store cannot be reached; what was claimed is tried again.
    """
    now = clock.now()
    with ledger.read() as uow:
        waiting, failing = uow.outbox.depth("project"), uow.cursors.get(FAILING)
    if not waiting:
        return 0
    with ledger.begin() as uow:
        if not uow.cursors.lease("projector", owner, now, now + LEASE):
            return 0
        items = uow.outbox.claim("project", now, limit, now + LEASE)
    with ledger.read() as uow:
        rows = uow.states.get([i.key for i in items])
    try:
        features.project(list(rows.values()))
        gone = [i.key for i in items if i.key not in rows]
        if gone:
            features.remove(gone)
    except Unavailable:
        with ledger.begin() as uow:
            uow.outbox.retry(items, now + RETRY)
            if not failing and items:
                uow.cursors.put(FAILING, format_instant(min(item.available_at for item in items)))
        raise
    with ledger.begin() as uow:
        uow.outbox.done(items)
        if failing and items:
            uow.cursors.put(FAILING, "")
    return len(items)


def release(ledger: Ledger, clock: Clock, owner: str) -> None:
    """Give the projector's turn back at once, so that nobody waits for the lease of one who is done."""
    now = clock.now()
    with ledger.begin() as uow:
        uow.cursors.lease("projector", owner, now, now)
