"""Suppression lists are taken in: whoever they name gets nothing from now on, and nothing that is booked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from opportune.domain.suppressions import ListedBy, Named, Suppression, digest_of
from opportune.flows.people import canonical_ids
from opportune.flows.withdraw import withdraw
from opportune.ports import Clock, Ledger, UnitOfWork

CHUNK = 1000


@dataclass(slots=True)
class SuppressReport:
    """Counts of entries read, of those that were news, and of bookings released."""

    n_read: int = 0
    n_new: int = 0
    n_released: int = 0


def suppress(named: Iterable[Named], ledger: Ledger, clock: Clock) -> SuppressReport:
    """Keep what these entries say, list or lift, in transactions of 1,000. The same again changes nothing.

    A customer id stands for whoever it means now. Bookings of those named by id are released at once; an address or
    number is asked for at the next decision, and at every hand-off. Raises Unavailable.
    """
    report, rest = SuppressReport(), iter(named)
    while chunk := list(islice(rest, CHUNK)):
        now = clock.now()
        ids = {one.customer_id for one in chunk if one.customer_id is not None}
        with ledger.read() as uow:
            locks = set(canonical_ids(ids, uow).values()) if ids else set()
        with ledger.begin(sorted(locks)) as uow:
            fresh = uow.suppressions.add(_resolved(chunk, uow))
            report.n_new += len(fresh)
            if any(entry.is_on for entry in fresh):
                report.n_released += withdraw(locks, now, uow)
        report.n_read += len(chunk)
    return report


def _resolved(chunk: Sequence[Named], uow: UnitOfWork) -> list[Suppression]:
    ids = {one.customer_id for one in chunk if one.customer_id is not None}
    holders = canonical_ids(ids, uow) if ids else {}
    return [one.entry if one.customer_id is None else one.entry.moved(holders[one.customer_id]) for one in chunk]


def carry_over(old: str, new: str, uow: UnitOfWork) -> None:
    """After a merge of `old` into `new`: who was listed by id stays listed, the strictest of both."""
    keys = {c: f"{ListedBy.CUSTOMER.value}:{digest_of(ListedBy.CUSTOMER, c)}" for c in (old, new)}
    known = uow.suppressions.of(keys.values())
    mine, theirs = known.get(keys[old]), known.get(keys[new])
    if mine is not None and (theirs is None or theirs.purpose != "all"):
        uow.suppressions.add([mine.moved(new)])
