"""Customers, identities, consent and feature states in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import (
    Stored,
    claim_of,
    claim_row,
    consent_of,
    consent_row,
    customer_of,
    customer_row,
    state_of,
    state_row,
)
from opportune.domain.customers import Claim, Consent, Customer
from opportune.domain.states import StateRow


class MemoryCustomers:
    """`ports.Customers`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, Customer]:
        """Known customers by id."""
        rows = self._work.rows("customers")
        return {it: customer_of(rows[it]) for it in set(customer_ids) if it in rows}

    def put(self, customers: Sequence[Customer]) -> None:
        """Insert or replace; of two with one id the last counts."""
        self._work.change("customers").update((it.customer_id, customer_row(it)) for it in customers)

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop the rows."""
        rows = self._work.change("customers")
        for it in customer_ids:
            rows.pop(it, None)

    def all_ids(self, after: str, limit: int) -> list[str]:
        """The next `limit` ids greater than `after`, in order."""
        return sorted(it for it in self._work.rows("customers") if it > after)[:limit]


class MemoryIdentities:
    """`ports.Identities`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def canonical(self, id_keys: Collection[str]) -> dict[str, str]:
        """Customer id of each key that was ever mapped."""
        rows = self._work.rows("identities")
        return {it: rows[it] for it in set(id_keys) if it in rows}

    def keys_of(self, customer_ids: Collection[str]) -> dict[str, list[str]]:
        """Keys mapped to each customer, in order."""
        wanted = set(customer_ids)
        found: dict[str, list[str]] = {}
        for id_key, customer_id in sorted(self._work.rows("identities").items()):
            if customer_id in wanted:
                found.setdefault(customer_id, []).append(id_key)
        return found

    def claims_touching(self, id_keys: Collection[str]) -> list[Claim]:
        """All claims of the components that hold any of these keys."""
        by_key = self._work.rows("claims_by_key")
        found: dict[Stored, Stored] = {}
        seen, edge = set[str](), set(id_keys)
        while edge:
            seen |= edge
            step = [row for key in edge for row in by_key.get(key, ())]
            found.update((row[:3], row) for row in step)
            edge = {key for row in step for key in row[1:3]} - seen
        return [claim_of(row) for row in found.values()]

    def add_claims(self, claims: Sequence[Claim]) -> None:
        """Append; a known (message id, from, into) is ignored."""
        rows = self._work.change("claims")
        for row in (claim_row(it) for it in claims):
            if row[:3] not in rows:
                rows[row[:3]] = row
                for key in {row[1], row[2]}:
                    self._work.link("claims_by_key", key, [row])

    def map(self, mapping: Mapping[str, str]) -> None:
        """Set id key -> customer id."""
        self._work.change("identities").update(mapping)

    def all_claims(self) -> list[Claim]:
        """Every claim, in the order of arrival."""
        return [claim_of(row) for row in self._work.rows("claims").values()]


class MemoryConsents:
    """`ports.Consents`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, lines: Sequence[Consent]) -> None:
        """Append; a known `consent_id` is ignored."""
        known = self._work.change("consents")
        for line in lines:
            if line.consent_id not in known:
                known[line.consent_id] = line.customer_id
                self._work.link("consents_of", line.customer_id, [consent_row(line)])

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Consent]]:
        """Whole history by customer, oldest first (ties by consent_id)."""
        rows = self._work.rows("consents_of")
        return {
            it: sorted(map(consent_of, rows[it]), key=lambda line: (line.at, line.consent_id))
            for it in set(customer_ids)
            if it in rows
        }

    def withdraw(self, consent_ids: Collection[str]) -> None:
        """Drop these lines."""
        known, index = self._work.change("consents"), self._work.change("consents_of")
        gone = {it for it in consent_ids if it in known}
        for owner in {known.pop(it) for it in gone}:
            if left := tuple(row for row in index[owner] if row[0] not in gone):
                index[owner] = left
            else:
                del index[owner]


class MemoryStates:
    """`ports.States`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, StateRow]:
        """Rows by customer."""
        rows = self._work.rows("states")
        return {it: state_of(rows[it]) for it in set(customer_ids) if it in rows}

    def versions(self, customer_ids: Collection[str]) -> dict[str, int]:
        """Versions alone."""
        rows = self._work.rows("states")
        return {it: rows[it][1] for it in set(customer_ids) if it in rows}

    def stamps(self, customer_ids: Collection[str]) -> dict[str, tuple[int, datetime]]:
        """Version and commit instant: what a decision compares."""
        return {it: (row.version, row.committed_at) for it, row in self.get(customer_ids).items()}

    def count(self) -> int:
        """Customers with a state."""
        return len(self._work.rows("states"))

    def put(self, rows: Sequence[StateRow]) -> None:
        """Insert or replace."""
        self._work.change("states").update((it.customer_id, state_row(it)) for it in rows)

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop the rows."""
        rows = self._work.change("states")
        for it in customer_ids:
            rows.pop(it, None)
