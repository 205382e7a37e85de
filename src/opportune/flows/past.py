"""What was known of one customer at a past instant: for dry runs, explanations and batch decisions as of T."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from opportune.domain import identity
from opportune.domain.customers import Consent, Customer
from opportune.domain.events import Event
from opportune.domain.messages import AccountSend, Send, SendState
from opportune.domain.traits import fold
from opportune.flows import accounts
from opportune.flows.desk import horizon_start
from opportune.flows.people import canonical_ids, keys_for
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class Past:
    """One customer as known at an instant. `events` are those known and happened by then, in log order."""

    customer: Customer
    events: tuple[Event, ...]
    consents: tuple[Consent, ...]
    sends: tuple[Send, ...]
    account_sends: tuple[AccountSend, ...] = ()


def past_of(customer_id: str, at: datetime, playbook: Playbook, uow: UnitOfWork) -> Past:
    """Read one customer's past, honouring `known_at` and the identity links known at `at`."""
    holder = canonical_ids([customer_id], uow)[customer_id]
    keys = uow.identities.keys_of([holder]).get(holder, [])
    claims = [c for c in uow.identities.claims_touching(keys) if c.known_at <= at]
    root_then = identity.resolve(claims)
    asked = next((k for k in keys_for(customer_id) if k in keys), keys_for(customer_id)[0])
    then = root_then.get(asked, asked)
    mine = {k for k in keys if root_then.get(k, k) == then} | {asked}
    events = tuple(
        e for e in uow.events.of([holder]).get(holder, ()) if e.event_at <= at and e.known_at <= at and e.id_key in mine
    )
    consents = tuple(c for c in uow.consents.of([holder]).get(holder, ()) if c.recorded_at <= at)
    sends = tuple(
        as_booked_then(s, at)
        for s in uow.sends.log([holder], horizon_start(at, playbook)).get(holder, ())
        if s.reserved_at <= at
    )
    name = identity.customer_id_of(then)
    customer = fold(Customer(customer_id=name), events)
    account = logs_then([customer], at, playbook, uow)
    return Past(customer, events, consents, sends, tuple(accounts.log_of(customer, account)))


def logs_then(
    customers: Iterable[Customer], at: datetime, playbook: Playbook, uow: UnitOfWork
) -> dict[str, list[AccountSend]]:
    """What had been booked for the accounts of these customers by `at`."""
    logs = accounts.account_logs(customers, at, playbook, uow)
    return {account: [s for s in log if s.reserved_at <= at] for account, log in logs.items()}


def as_booked_then(send: Send, at: datetime) -> Send:
    """A send handed off after `at` was still a reservation then."""
    if send.leaving_at is not None and send.leaving_at > at:
        send = replace(send, leaving_at=None)
    later = send.handed_off_at is not None and send.handed_off_at > at
    return replace(send, state=SendState.RESERVED, handed_off_at=None) if later else send
