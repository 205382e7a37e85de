"""Accounts: what everybody in one was told counts together, under one more lock per account."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from opportune.domain.customers import Customer
from opportune.domain.messages import AccountSend, Send, as_account_send
from opportune.flows.desk import Desk, horizon_start
from opportune.playbook.load import Playbook
from opportune.playbook.vary import variants_of
from opportune.ports import UnitOfWork

#: Customer id -> account id, of those who belong to one.
Accounts = Mapping[str, str]
#: By account id, ordered by send_at.
AccountLogs = dict[str, list[AccountSend]]

#: Asked in every decision, worked out once per playbook hash.
_COUNTED: dict[str, bool] = {}


def are_counted(playbook: Playbook) -> bool:
    """Whether any cap counts by account, under any variation. When none does, accounts cost nothing."""
    found = _COUNTED.get(playbook.hash)
    if found is None:
        caps = [cap for varied in variants_of(playbook) for cap in varied.spec.caps.values()]
        found = _COUNTED[playbook.hash] = any(cap.per == "account" for cap in caps)
    return found


def locks_of(account_ids: Iterable[str | None]) -> list[str]:
    """What to lock for these accounts. One lock more on a customer of the same name does no harm."""
    return sorted({f"account:{account_id}" for account_id in account_ids if account_id is not None})


def accounts_now(customer_ids: Sequence[str], desk: Desk) -> Accounts:
    """Whose accounts to lock before deciding; none when no cap counts by account."""
    if not are_counted(desk.playbook):
        return {}
    with desk.ledger.read() as uow:
        return accounts_of(uow.customers.get(customer_ids).values())


def still(customer_ids: Collection[str], locked: Accounts, desk: Desk, uow: UnitOfWork) -> set[str]:
    """Under the locks: those of the customers who are in the account that was locked for them."""
    if not are_counted(desk.playbook):
        return set(customer_ids)
    now = accounts_of(uow.customers.get(customer_ids).values())
    return {c for c in customer_ids if now.get(c) == locked.get(c)}


def account_logs(customers: Iterable[Customer], now: datetime, playbook: Playbook, uow: UnitOfWork) -> AccountLogs:
    """What caps by account have to count for these customers; empty when there is no such cap."""
    if not are_counted(playbook):
        return {}
    accounts = set(accounts_of(customers).values())
    return uow.sends.log_of_accounts(accounts, horizon_start(now, playbook)) if accounts else {}


def accounts_of(customers: Iterable[Customer]) -> Accounts:
    """The accounts of these customers."""
    return {c.customer_id: c.account_id for c in customers if c.account_id is not None}


def log_of(customer: Customer, logs: Mapping[str, Sequence[AccountSend]]) -> Sequence[AccountSend]:
    """What counts against this customer's account."""
    return logs.get(customer.account_id, ()) if customer.account_id is not None else ()


def note(sends: Iterable[Send], logs: AccountLogs) -> None:
    """Let what was just booked count for the next decision under the same locks."""
    for send in sends:
        if send.account_id is not None and send.counts:
            logs.setdefault(send.account_id, []).append(as_account_send(send))
