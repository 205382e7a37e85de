"""Who is asked for: from the id a caller knows to the customer it stands for."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from opportune.ports import Ledger, LockLost, UnitOfWork

#: How often identities may change between reading and locking before we give up for now.
ATTEMPTS = 5


def keys_for(customer_id: str) -> tuple[str, ...]:
    """The identity keys an id may stand for, most likely first: a user id, else an anonymous id."""
    anonymous = customer_id.removeprefix("anon:")
    return (f"u:{customer_id}", f"a:{anonymous}")


def canonical_ids(customer_ids: Collection[str], uow: UnitOfWork) -> dict[str, str]:
    """Customer id of each id asked for; an id never seen stands for itself (a customer without history)."""
    known = uow.identities.canonical([key for c in customer_ids for key in keys_for(c)])
    return {c: next((known[k] for k in keys_for(c) if k in known), c) for c in customer_ids}


@contextmanager
def holding(customer_id: str, ledger: Ledger) -> Iterator[tuple[UnitOfWork, str]]:
    """A writing transaction that holds the lock of whoever `customer_id` stands for NOW, and that customer's id.

    Raises LockLost when others keep changing who it is.
    """
    holder = customer_id
    for _ in range(ATTEMPTS):
        with ledger.begin([holder]) as uow:
            found = canonical_ids([customer_id], uow)[customer_id]
            if found == holder:
                yield uow, holder
                return
            holder = found  # merged into another: once more, holding the lock of who it really is
    raise LockLost(f"the identity of customer '{customer_id}' keeps changing; try again")
