"""Customers, identities, consent and feature states in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, func, or_, select

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_rows import (
    CLAIM,
    CONSENT,
    CUSTOMER,
    STATE,
    claim_of,
    claim_row,
    consent_of,
    consent_row,
    customer_of,
    customer_row,
    state_of,
    state_row,
)
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.customers import Claim, Consent, Customer
from opportune.domain.instants import from_us
from opportune.domain.states import StateRow

_customers, _identities = tables.customers.c, tables.identities.c
_claims, _consents, _states = tables.claims.c, tables.consents.c, tables.states.c

_CUSTOMERS_GET = select(*(_customers[name] for name in CUSTOMER)).where(among(_customers.customer_id, "ids"))
_CUSTOMERS_REMOVE = delete(tables.customers).where(among(_customers.customer_id, "ids"))
_CUSTOMERS_ALL = (
    select(_customers.customer_id)
    .where(_customers.customer_id > bindparam("after"))
    .order_by(_customers.customer_id)
    .limit(bindparam("n"))
)
_CUSTOMERS_PUT = (
    "ON CONFLICT (customer_id) DO UPDATE SET traits = excluded.traits, trait_stamps = excluded.trait_stamps,"
    " first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at"
)


class SqlCustomers:
    """`ports.Customers`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, Customer]:
        """Known customers by id."""
        if not customer_ids:
            return {}
        return {row[0]: customer_of(row) for row in self._work.fetch(_CUSTOMERS_GET, ids=customer_ids)}

    def put(self, customers: Sequence[Customer]) -> None:
        """Insert or replace; of two with one id the last counts."""
        rows = {it.customer_id: customer_row(it) for it in customers}
        self._work.insert(tables.customers, CUSTOMER, list(rows.values()), _CUSTOMERS_PUT)

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop the rows."""
        if customer_ids:
            self._work.run(_CUSTOMERS_REMOVE, ids=customer_ids)

    def all_ids(self, after: str, limit: int) -> list[str]:
        """The next `limit` ids greater than `after`, in order."""
        return [row[0] for row in self._work.fetch(_CUSTOMERS_ALL, after=after, n=limit)]


_CANONICAL = select(_identities.id_key, _identities.customer_id).where(among(_identities.id_key, "keys"))
_KEYS_OF = (
    select(_identities.customer_id, _identities.id_key)
    .where(among(_identities.customer_id, "ids"))
    .order_by(_identities.id_key)
)
_CLAIM_COLUMNS = [_claims[name] for name in CLAIM]
_TOUCHING = select(*_CLAIM_COLUMNS).where(or_(among(_claims.from_key, "keys"), among(_claims.into_key, "keys")))
_ALL_CLAIMS = select(*_CLAIM_COLUMNS).order_by(_claims.seq)


class SqlIdentities:
    """`ports.Identities`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def canonical(self, id_keys: Collection[str]) -> dict[str, str]:
        """Customer id of each key that was ever mapped."""
        if not id_keys:
            return {}
        return {row[0]: row[1] for row in self._work.fetch(_CANONICAL, keys=id_keys)}

    def keys_of(self, customer_ids: Collection[str]) -> dict[str, list[str]]:
        """Keys mapped to each customer, in order."""
        found: dict[str, list[str]] = {}
        if customer_ids:
            for customer_id, id_key in self._work.fetch(_KEYS_OF, ids=customer_ids):
                found.setdefault(customer_id, []).append(id_key)
        return found

    def claims_touching(self, id_keys: Collection[str]) -> list[Claim]:
        """All claims of the components that hold any of these keys: one query per step outwards."""
        claims: dict[tuple[str, str, str], Claim] = {}
        seen: set[str] = set()
        edge = set(id_keys)
        while edge:
            seen |= edge
            found = [claim_of(row) for row in self._work.fetch(_TOUCHING, keys=edge)]
            claims.update(((it.message_id, it.from_key, it.into_key), it) for it in found)
            edge = {key for it in found for key in (it.from_key, it.into_key)} - seen
        return list(claims.values())

    def add_claims(self, claims: Sequence[Claim]) -> None:
        """Append; a known (message id, from, into) is ignored."""
        rows = sorted({claim_row(it) for it in claims})
        self._work.insert(tables.claims, CLAIM, rows, "ON CONFLICT DO NOTHING")

    def map(self, mapping: Mapping[str, str]) -> None:
        """Set id key -> customer id."""
        tail = "ON CONFLICT (id_key) DO UPDATE SET customer_id = excluded.customer_id"
        self._work.insert(tables.identities, ("id_key", "customer_id"), sorted(mapping.items()), tail)

    def all_claims(self) -> list[Claim]:
        """Every claim, in the order of arrival."""
        return [claim_of(row) for row in self._work.fetch(_ALL_CLAIMS)]


_CONSENTS_OF = (
    select(*(_consents[name] for name in CONSENT))
    .where(among(_consents.customer_id, "ids"))
    .order_by(_consents.at, _consents.consent_id)
)
_CONSENTS_WITHDRAW = delete(tables.consents).where(among(_consents.consent_id, "ids"))


class SqlConsents:
    """`ports.Consents`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, lines: Sequence[Consent]) -> None:
        """Append; a known `consent_id` is ignored."""
        rows = sorted((consent_row(it) for it in lines), key=lambda row: str(row[0]))
        self._work.insert(tables.consents, CONSENT, rows, "ON CONFLICT DO NOTHING")

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Consent]]:
        """Whole history by customer, oldest first (ties by consent_id)."""
        found: dict[str, list[Consent]] = {}
        if customer_ids:
            for row in self._work.fetch(_CONSENTS_OF, ids=customer_ids):
                found.setdefault(row[1], []).append(consent_of(row))
        return found

    def withdraw(self, consent_ids: Collection[str]) -> None:
        """Drop these lines."""
        if consent_ids:
            self._work.run(_CONSENTS_WITHDRAW, ids=consent_ids)


_STATES_GET = select(*(_states[name] for name in STATE)).where(among(_states.customer_id, "ids"))
_STATES_VERSIONS = select(_states.customer_id, _states.version).where(among(_states.customer_id, "ids"))
_STATES_STAMPS = select(_states.customer_id, _states.version, _states.committed_at).where(
    among(_states.customer_id, "ids")
)
_STATES_REMOVE = delete(tables.states).where(among(_states.customer_id, "ids"))
_STATES_PUT = (
    "ON CONFLICT (customer_id) DO UPDATE SET version = excluded.version, state = excluded.state,"
    " committed_at = excluded.committed_at"
)
_STATES_COUNT = select(func.count()).select_from(tables.states)


class SqlStates:
    """`ports.States`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, StateRow]:
        """Rows by customer."""
        if not customer_ids:
            return {}
        return {row[0]: state_of(row) for row in self._work.fetch(_STATES_GET, ids=customer_ids)}

    def versions(self, customer_ids: Collection[str]) -> dict[str, int]:
        """Versions alone."""
        if not customer_ids:
            return {}
        return {row[0]: row[1] for row in self._work.fetch(_STATES_VERSIONS, ids=customer_ids)}

    def stamps(self, customer_ids: Collection[str]) -> dict[str, tuple[int, datetime]]:
        """Version and commit instant: what a decision compares."""
        if not customer_ids:
            return {}
        return {row[0]: (row[1], from_us(row[2])) for row in self._work.fetch(_STATES_STAMPS, ids=customer_ids)}

    def count(self) -> int:
        """Customers with a state."""
        return int(self._work.fetch(_STATES_COUNT)[0][0])

    def put(self, rows: Sequence[StateRow]) -> None:
        """Insert or replace."""
        self._work.insert(tables.states, STATE, [state_row(it) for it in rows], _STATES_PUT)

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop the rows."""
        if customer_ids:
            self._work.run(_STATES_REMOVE, ids=customer_ids)
