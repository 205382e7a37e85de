"""How fresh the derived features are: what waits for the online store and for the archive, and since when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from opportune.domain.instants import parse_instant
from opportune.flows.consistency import LAST
from opportune.flows.project import FAILING
from opportune.flows.publish import EVENTS_CURSOR
from opportune.ports import Clock, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """`lag_s`: view -> age in seconds of the oldest commit it lacks; 0 when it has all.

    `n_waiting`: customers whose newest state is not in the online store. `coverage`: share of customers whose newest
    state is, in [0, 1]. `worst_share`: of the last consistency check, null before the first; `checked_at` likewise.
    """

    lag_s: dict[str, float]
    n_waiting: int
    n_customers: int
    coverage: float
    worst_share: float | None = None
    checked_at: datetime | None = None


def freshness(ledger: Ledger, clock: Clock) -> Freshness:
    """A handful of index reads, and a count of the customers: call it every few seconds at most."""
    now = clock.now()
    with ledger.read() as uow:
        n_waiting, oldest = uow.outbox.depth("project"), uow.outbox.oldest("project")
        failing = uow.cursors.get(FAILING)
        n_customers = uow.states.count()
        unarchived, _ = uow.events.after(uow.cursors.get(EVENTS_CURSOR) or "", 1)
        last: dict[str, Any] = orjson.loads(uow.cursors.get(LAST) or "{}")
    since = [at for at in (oldest, parse_instant(failing) if failing else None) if at is not None]
    online = (now - min(since)).total_seconds() if oldest is not None else 0.0
    offline = (now - unarchived[0][0].ingested_at).total_seconds() if unarchived else 0.0
    return Freshness(
        lag_s={"customer_state": max(online, 0.0), "customer_features": max(offline, 0.0)},
        n_waiting=n_waiting,
        n_customers=n_customers,
        coverage=1.0 - min(n_waiting, n_customers) / n_customers if n_customers else 1.0,
        worst_share=last.get("worst_share"),
        checked_at=parse_instant(last["checked_at"]) if last else None,
    )
