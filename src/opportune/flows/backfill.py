"""Backfill: finished features of many customers as of chosen instants, page by page in bounded memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from opportune.domain.customers import Claim
from opportune.domain.decisions import Value
from opportune.domain.events import Event
from opportune.domain.identity import customer_id_of, spans
from opportune.features.catalog import FEATURES
from opportune.flows.publish import EVENTS_CURSOR
from opportune.ports import Ledger, OfflineFeatures, UnitOfWork

PAGE = 20_000
#: Null for a customer who never did anything and was never sent anything.
_TRACES = ("last_active_age_days", "last_send_age_days")


def backfill(
    instants: Sequence[datetime],
    ledger: Ledger,
    offline: OfflineFeatures,
    customer_ids: Sequence[str] | None = None,
    page: int = PAGE,
) -> Iterator[Any]:
    """Frames of customer_id, at and every feature, `page` customers at a time, for each instant in turn.

    `customer_ids` null: everybody of whom something was known at the instant, under the identity known then. Archive
    new events first: what the archive does not hold yet is kept in memory.
    """
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        tail = tail_of(uow, None if customer_ids is None else set(customer_ids), claims)
    for at in instants:
        pages = _everybody(at, ledger, claims, page) if customer_ids is None else _slices(customer_ids, page)
        for ids in pages:
            frame = frame_of([(c, at) for c in ids], offline, tail, claims) if ids else None
            if frame is not None and customer_ids is None:  # who was seen first by `at` may have been unknown yet
                frame = frame[frame[list(_TRACES)].notna().any(axis="columns")]
            if frame is not None and len(frame):
                yield frame


def frame_of(
    asked: Sequence[tuple[str, datetime]],
    offline: OfflineFeatures,
    tail: Sequence[tuple[Event, str]],
    claims: Sequence[Claim],
    names: Sequence[str] | None = None,
) -> Any:
    """Offline features of (customer, instant) rows as a frame, in order. `names` null: every feature."""
    import pandas as pd

    instants = pd.to_datetime([at for _, at in asked], utc=True)
    return offline.as_of(pd.DataFrame({"customer_id": [c for c, _ in asked], "at": instants}), tail, claims, names)


def values_of(
    asked: Sequence[tuple[str, datetime]],
    offline: OfflineFeatures,
    tail: Sequence[tuple[Event, str]],
    claims: Sequence[Claim],
    names: Sequence[str] | None = None,
) -> list[Mapping[str, Value]]:
    """Offline features of (customer, instant) rows as plain values, in order. `names` null: every feature."""
    if not asked:
        return []
    frame = frame_of(asked, offline, tail, claims, names)
    names = names or [f.name for f in FEATURES]
    return [dict(zip(names, row, strict=True)) for row in zip(*(_column(frame[name]) for name in names), strict=True)]


def _column(cells: Any) -> list[Value]:
    """A frame's column as feature values."""
    held = cells.tolist()
    if cells.dtype.kind in "iub":
        return list(held)
    if cells.dtype.kind == "f":  # a NaN is the only number that is not itself
        return [None if cell != cell else cell for cell in held]
    return [plain(cell) for cell in held]


def plain(cell: Any) -> Value:
    """A frame's cell as a feature value: NaN and NA are null, arrays are tuples."""
    if cell is None or type(cell).__name__ == "NAType":
        return None
    if isinstance(cell, (list, tuple)) or hasattr(cell, "tolist"):
        return tuple(map(float, cell.tolist() if hasattr(cell, "tolist") else cell))
    if cell != cell:
        return None
    value: Value = cell
    return value


def tail_of(uow: UnitOfWork, customer_ids: Collection[str] | None, claims: Sequence[Claim]) -> list[tuple[Event, str]]:
    """The events the archive does not hold yet, of these customers (null: of all) and of every key ever claimed."""
    claimed = {key for claim in claims for key in (claim.from_key, claim.into_key)}
    tail: list[tuple[Event, str]] = []
    cursor = uow.cursors.get(EVENTS_CURSOR) or ""
    while True:
        page, cursor = uow.events.after(cursor, PAGE)
        if not page:
            return tail
        tail += [
            (event, owner)
            for event, owner in page
            if customer_ids is None
            or owner in customer_ids
            or event.id_key in claimed
            or customer_id_of(event.id_key) in customer_ids
        ]


def _everybody(at: datetime, ledger: Ledger, claims: Sequence[Claim], page: int) -> Iterator[list[str]]:
    """Customers seen by `at`: those no claim touches, then whoever the claimed keys belonged to at `at`."""
    held = spans(claims)
    now_claimed = {customer_id_of(root) for _, root, _, until in held if until is None}
    owners = {key: key for key, _, _, _ in held}  # before its first span a key stands for itself
    owners |= {key: root for key, root, since, until in held if since <= at and (until is None or at < until)}
    then = sorted({customer_id_of(root) for root in owners.values()})
    after = ""
    while True:
        with ledger.read() as uow:
            ids = uow.customers.all_ids(after, page)
            people = uow.customers.get(ids)
        if not ids:
            break
        after = ids[-1]
        seen = [c for c, p in people.items() if p.first_seen_at is not None and p.first_seen_at <= at]
        yield sorted(c for c in seen if c not in now_claimed)
    yield from _slices(then, page)


def _slices(ids: Sequence[str], page: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), page):
        yield list(ids[start : start + page])
