"""A word takes effect at once: what is booked for a customer and may no longer go is released, in the same transaction.

Here journeys hear of it, too: whatever a customer withdraws passes by here.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from opportune.decision.consent import Standing, refused
from opportune.domain.customers import Customer
from opportune.domain.messages import Deliver, Send, SendState
from opportune.domain.suppressions import Suppression, keys_of, listed
from opportune.flows.rouse import rouse
from opportune.flows.spend import give_back
from opportune.playbook.reach import ConsentPolicy
from opportune.ports import UnitOfWork

#: Reserved sends older than this were handed off or have expired.
WITHIN = timedelta(days=7)
#: Only what was said counts here; where nothing was said, the decision has asked and the hand-off asks again.
_NOTHING_SAID = ConsentPolicy(default={"*": "in"})


def withdraw(customer_ids: Collection[str], now: datetime, uow: UnitOfWork) -> int:
    """Release the bookings of these customers that a line of theirs, or a suppression list, stops; returns how many.

    Under their locks. A message that its caller sends and whose instant has come counts as sent: it is left alone.
    Those on a journey look again at once.
    """
    released = withdrawn(customer_ids, now, uow)
    give_back(released, uow)
    return len(released)


def withdrawn(customer_ids: Collection[str], now: datetime, uow: UnitOfWork) -> list[Send]:
    """The same: what was released. What it used of budgets is the caller's to give back, once for its transaction."""
    if not customer_ids:
        return []
    rouse(customer_ids, uow, now)
    logs = uow.sends.log(customer_ids, now - WITHIN)
    booked = {c: mine for c, sends in logs.items() if (mine := [s for s in sends if _is_open(s, now)])}
    if not booked:
        return []
    people, consents = uow.customers.get(booked), uow.consents.of(booked)
    who = {c: people.get(c) or Customer(customer_id=c) for c in booked}
    entries = suppressions_of(who.values(), uow)
    released: list[Send] = []
    for customer_id, sends in booked.items():
        standing = Standing(consents.get(customer_id, ()))
        for send in sends:
            is_transactional = send.purpose == "transactional"
            refusal = refused(send.channel, send.topic, is_transactional, standing, entries[customer_id], _NOTHING_SAID)
            if refusal is not None:
                uow.sends.move(send.message_id, SendState.RELEASED, now, refusal.reason)
                released.append(send)
    return released


def suppressions_of(
    customers: Collection[Customer], uow: UnitOfWork, at: datetime | None = None
) -> dict[str, tuple[Suppression, ...]]:
    """The entries of suppression lists in force (at an instant; null: now) that name each of these customers."""
    if not uow.suppressions.any():
        return {c.customer_id: () for c in customers}
    keys = {key for c in customers for key in keys_of(c.customer_id, c.traits)}
    known = uow.suppressions.of(keys, at)
    return {c.customer_id: tuple(listed(c.customer_id, c.traits, known)) for c in customers}


def _is_open(send: Send, now: datetime) -> bool:
    return send.state is SendState.RESERVED and (send.deliver is Deliver.SERVICE or send.send_at > now)
