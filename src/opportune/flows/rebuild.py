"""Rebuild: every customer's feature state anew from archive and ledger, into the ledger and from there to the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from opportune.domain.events import Event
from opportune.domain.identity import customer_id_of
from opportune.domain.states import StateRow
from opportune.features import state as feature_state
from opportune.features.catalog import definition_hash
from opportune.flows.people import keys_for
from opportune.ports import Archive, Clock, Ledger, OutboxItem, UnitOfWork

CURSOR = "features_rebuild"
CHUNK = 500
_TICK = timedelta(microseconds=1)


@dataclass(slots=True)
class RebuildReport:
    """`n_customers` rebuilt by this run, of them `n_changed` came out otherwise than they were stored.

    `n_restored` events were in the archive alone. `resumed_after`: the customer an earlier run had come to.
    """

    n_customers: int = 0
    n_changed: int = 0
    n_restored: int = 0
    resumed_after: str | None = None


def rebuild(
    ledger: Ledger,
    archive: Archive,
    clock: Clock,
    restart: bool = False,
    chunk: int = CHUNK,
    report: Callable[[int], None] = lambda n: None,
) -> RebuildReport:
    """Walk all customers in order; a run that was cut off goes on where it stopped, unless `restart`.

    Each chunk is one transaction under its customers' locks: state, next version and outbox item, and the cursor.
    Versions continue, so that decisions meanwhile heal from the ledger. Memory is bounded by `chunk` customers' events.
    """
    done = RebuildReport()
    mine = definition_hash()
    with ledger.read() as uow:
        kept: dict[str, Any] = orjson.loads(uow.cursors.get(CURSOR) or "{}")
    after = "" if restart or kept.get("definition") != mine else str(kept["after"])
    done.resumed_after = after or None
    while True:
        with ledger.read() as uow:
            ids = uow.customers.all_ids(after, chunk)
            archived = _archived(ids, uow, archive)
        if not ids:
            break
        after = ids[-1]
        with ledger.begin(ids) as uow:
            _rebuild_chunk(ids, archived, uow, clock.now(), done)
            uow.cursors.put(CURSOR, orjson.dumps({"definition": mine, "after": after}).decode())
        report(done.n_customers)
    with ledger.begin() as uow:
        uow.cursors.put(CURSOR, "{}")
    return done


def _archived(ids: Sequence[str], uow: UnitOfWork, archive: Archive) -> dict[str, list[Event]]:
    """What the archive holds of these customers' identity keys, by key."""
    keys = {key for held in uow.identities.keys_of(ids).values() for key in held} | {
        k for c in ids for k in keys_for(c)
    }
    claims = uow.identities.claims_touching(keys)
    owners = {customer_id_of(key) for claim in claims for key in (claim.from_key, claim.into_key)}
    found: dict[str, list[Event]] = {}
    for event in archive.events_of(keys, owners):
        found.setdefault(event.id_key, []).append(event)
    return found


def _rebuild_chunk(
    ids: Sequence[str], archived: dict[str, list[Event]], uow: UnitOfWork, now: datetime, done: RebuildReport
) -> None:
    there = sorted(uow.customers.get(ids))  # others were merged away since they were listed
    keys = uow.identities.keys_of(there)
    histories, rows = uow.events.of(there), uow.states.get(there)
    fresh: list[StateRow] = []
    for customer_id in there:
        events = {event.message_id: event for event in histories.get(customer_id, ())}
        restored = [
            event
            for key in keys.get(customer_id, keys_for(customer_id)[:1])
            for event in archived.get(key, ())
            if event.message_id not in events
        ]
        done.n_restored += len(restored)
        state = feature_state.pack(feature_state.rebuild([*events.values(), *restored]))
        before = rows.get(customer_id)
        done.n_customers += 1
        done.n_changed += before is None or before.state != state
        fresh.append(
            StateRow(
                customer_id=customer_id,
                version=1 if before is None else before.version + 1,
                state=state,
                committed_at=now if before is None else max(now, before.committed_at + _TICK),
            )
        )
    uow.states.put(fresh)
    uow.outbox.put([OutboxItem(topic="project", key=row.customer_id, available_at=now) for row in fresh])
