"""Who is asked for: from the id a caller knows to the customer it stands for."""

from collections.abc import Collection

from opportune.ports import UnitOfWork


def keys_for(customer_id: str) -> tuple[str, ...]:
    """The identity keys an id may stand for, most likely first: a user id, else an anonymous id."""
    anonymous = customer_id.removeprefix("anon:")
    return (f"u:{customer_id}", f"a:{anonymous}")


def canonical_ids(customer_ids: Collection[str], uow: UnitOfWork) -> dict[str, str]:
    """Customer id of each id asked for; an id never seen stands for itself (a customer without history)."""
    known = uow.identities.canonical([key for c in customer_ids for key in keys_for(c)])
    return {c: next((known[k] for k in keys_for(c) if k in known), c) for c in customer_ids}
