"""The ledger: one unit of work over everything that is true."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from opportune.domain.customers import Claim, Consent, Customer
from opportune.domain.decisions import Reason, StoredDecision
from opportune.domain.events import DeadLetter, Event
from opportune.domain.messages import AccountSend, Outcome, Send, SendState
from opportune.domain.states import StateRow
from opportune.domain.timers import PastTimer, Timer, TimerFate


class Customers(Protocol):
    def get(self, customer_ids: Collection[str]) -> dict[str, Customer]: ...
    def put(self, customers: Sequence[Customer]) -> None: ...
    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop the row of a customer merged into another."""
        ...

    def all_ids(self, after: str, limit: int) -> list[str]:
        """Ids greater than `after` in order: to walk all customers in bounded memory."""
        ...


class Identities(Protocol):
    """Claims (facts) and the mapping id key -> customer id derived from them (domain.identity.resolve)."""

    def canonical(self, id_keys: Collection[str]) -> dict[str, str]:
        """Customer id of each `u:`/`a:` key that was ever mapped; keys never mapped are left out."""
        ...

    def keys_of(self, customer_ids: Collection[str]) -> dict[str, list[str]]: ...
    def claims_touching(self, id_keys: Collection[str]) -> list[Claim]:
        """All claims of the connected components that hold any of these keys, any order."""
        ...

    def add_claims(self, claims: Sequence[Claim]) -> None: ...
    def map(self, mapping: Mapping[str, str]) -> None:
        """Set id key -> customer id."""
        ...

    def all_claims(self) -> list[Claim]: ...


class Consents(Protocol):
    def add(self, lines: Sequence[Consent]) -> None:
        """Append; a known `consent_id` is ignored."""
        ...

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Consent]]:
        """Whole history, oldest first."""
        ...

    def withdraw(self, consent_ids: Collection[str]) -> None:
        """Drop lines derived from events that turned out to be another's; what the events say stays with them."""
        ...


class Events(Protocol):
    def known(self, message_ids: Collection[str]) -> set[str]:
        """Which of these are stored already."""
        ...

    def append(self, events: Sequence[tuple[Event, str]]) -> set[str]:
        """Store (event, customer id) pairs; returns the message ids that were new. Known ones are ignored."""
        ...

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Event]]:
        """All events of each customer, ordered by (event_at, message_id)."""
        ...

    def named(
        self, customer_ids: Collection[str], names: Collection[str] | None, since: datetime
    ) -> dict[str, list[Event]]:
        """Events with one of these names (null: any) and `event_at` >= since, ordered by (event_at, message_id)."""
        ...

    def reassign(self, id_keys: Collection[str], customer_id: str) -> None:
        """Move the events owned by these keys to another customer (a merge)."""
        ...

    def after(self, cursor: str, limit: int) -> tuple[list[tuple[Event, str]], str]:
        """Committed events after a cursor (`""` = start) and the new cursor. Never skips one that commits late."""
        ...

    def tail(self, customer_ids: Collection[str] | None, limit: int) -> list[Event]:
        """The newest events by arrival."""
        ...


class DeadLetters(Protocol):
    def add(self, letters: Sequence[DeadLetter]) -> None: ...
    def newest(self, limit: int) -> list[DeadLetter]: ...


class States(Protocol):
    def get(self, customer_ids: Collection[str]) -> dict[str, StateRow]: ...
    def versions(self, customer_ids: Collection[str]) -> dict[str, int]: ...
    def stamps(self, customer_ids: Collection[str]) -> dict[str, tuple[int, datetime]]:
        """(version, commit instant): together they tell one state from every other, of other installations too."""
        ...

    def count(self) -> int:
        """Customers with a state. Reads an index from end to end: ask seldom."""
        ...

    def put(self, rows: Sequence[StateRow]) -> None: ...
    def remove(self, customer_ids: Collection[str]) -> None: ...


class Timers(Protocol):
    def arm(self, timers: Sequence[Timer]) -> None:
        """Insert, or restart the one with the same (rule, customer, key): version + 1, lease cleared."""
        ...

    def cancel(self, which: Sequence[tuple[str, str, str]], fate: TimerFate, at: datetime) -> int:
        """Remove timers by (rule, customer id, key) into the history; returns how many were there."""
        ...

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Timer]]: ...
    def claim(self, now: datetime, limit: int, lease_until: datetime, owner: str) -> list[Timer]:
        """Due and unleased (or lease run out) timers, oldest first, leased to `owner`."""
        ...

    def still(self, timers: Sequence[Timer]) -> set[tuple[str, str, str]]:
        """Of these, the (rule, customer, key) that are still pending at the same version."""
        ...

    def put_off(self, timers: Sequence[Timer], until: datetime) -> None:
        """Claimed timers, still as they were, are not claimed again before `until`; nothing else about them changes."""
        ...

    def finish(self, timers: Sequence[Timer], fate: TimerFate, at: datetime) -> None:
        """Move from the hot table to the history."""
        ...

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: same (rule, key) on both sides keeps the later `due_at`."""
        ...

    def fired(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[tuple[str, str, datetime]]]:
        """(rule, key, fired at) from the history with fate FIRED: for cool-downs."""
        ...

    def past(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[PastTimer]]:
        """Timers that left the hot table at or after `since`, of every fate, oldest first."""
        ...

    def pending(self) -> int: ...
    def next_due(self) -> datetime | None:
        """When the earliest pending timer is due, leased ones included; null: nothing is waiting."""
        ...

    def next_at(self, now: datetime) -> datetime | None:
        """When `claim` next finds something: `now` or later (a lease must run out first); null when none is pending."""
        ...


class Sends(Protocol):
    def log(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[Send]]:
        """Sends not released with `send_at` >= since, future bookings included, ordered by send_at."""
        ...

    def log_of_accounts(self, account_ids: Collection[str], since: datetime) -> dict[str, list[AccountSend]]:
        """As `log`, for everybody in each account, by account id; only sends that count."""
        ...

    def reserve(self, sends: Sequence[Send]) -> None: ...
    def get(self, message_ids: Collection[str]) -> dict[str, Send]: ...
    def move(self, message_id: str, state: SendState, at: datetime, reason: Reason | None = None) -> None:
        """Change state (`sent` also sets handed_off_at and send_at to `at`), with a line in the history."""
        ...

    def replace(self, message_id: str, send_at: datetime, at: datetime) -> None:
        """Place a reserved send anew at another instant, with a line in the history."""
        ...

    def leave(self, message_ids: Collection[str], at: datetime) -> None:
        """Note that a courier is given these reserved sends at `at`: caps count them there from now on."""
        ...

    def due(self, before: datetime, limit: int, deliver: str | None = None) -> list[Send]:
        """Reserved, not virtual, `send_at` <= before, oldest first."""
        ...

    def reassign(self, from_customer: str, into_customer: str) -> None: ...
    def history(self, message_id: str) -> list[tuple[datetime, str, str | None]]:
        """(at, what happened, reason), oldest first."""
        ...


class Decisions(Protocol):
    def add(self, decisions: Sequence[StoredDecision]) -> None: ...
    def get(self, decision_id: str) -> StoredDecision | None: ...
    def newest(self, customer_id: str | None, limit: int) -> list[StoredDecision]: ...
    def after(self, cursor: str, limit: int) -> tuple[list[StoredDecision], str]:
        """As Events.after."""
        ...


class Playbooks(Protocol):
    def put(self, playbook_hash: str, source: bytes, at: datetime) -> None:
        """Keep the text of a playbook by its hash, once."""
        ...

    def get(self, playbook_hash: str) -> bytes | None: ...


class Exposures(Protocol):
    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows: experiment, variation, unit, customer_id, decision_id, at. First per (experiment, unit) counts."""
        ...

    def of(self, experiment: str) -> list[Mapping[str, Any]]: ...
    def page(self, experiment: str, after_unit: str, limit: int) -> list[Mapping[str, Any]]:
        """Rows of one experiment with units greater than `after_unit`, in order: to walk all in bounded memory."""
        ...

    def known(self, experiment: str, units: Collection[str]) -> set[str]:
        """Which of these units were exposed."""
        ...

    def counts(self) -> list[Mapping[str, Any]]:
        """One row per (experiment, variation) in order: experiment, variation, n_units, first_at, last_at."""
        ...


class Outcomes(Protocol):
    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Append; a known outcome_id is ignored."""
        ...

    def of(self, message_ids: Collection[str]) -> dict[str, list[Outcome]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """Work to do after the commit. Unique by (topic, key): putting it again before it is done keeps one."""

    topic: str  # `project`: key = customer id; `deliver`: key = message id
    key: str
    available_at: datetime
    attempts: int = 0
    token: str = ""  # set by claim; done/retry act only while it still matches


class Outbox(Protocol):
    def put(self, items: Sequence[OutboxItem]) -> None:
        """Insert, or make the existing one available again with no lease: its earlier claim then no longer counts."""
        ...

    def claim(self, topic: str, now: datetime, limit: int, lease_until: datetime) -> list[OutboxItem]: ...
    def done(self, items: Sequence[OutboxItem]) -> None:
        """Delete those whose claim token still matches."""
        ...

    def retry(self, items: Sequence[OutboxItem], available_at: datetime) -> None: ...
    def depth(self, topic: str) -> int: ...
    def next_at(self, topic: str, now: datetime) -> datetime | None:
        """When `claim` next finds something of the topic: `now` or later; null when there is nothing."""
        ...

    def oldest(self, topic: str) -> datetime | None:
        """The earliest `available_at` of a topic, claimed ones included; null when nothing waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentAnswer:
    """A stored answer. `body` null: the first request is still in flight."""

    body_hash: str
    body: bytes | None
    created_at: datetime


class Idempotency(Protocol):
    def get(self, key: str) -> IdempotentAnswer | None: ...
    def open(self, key: str, body_hash: str, at: datetime) -> bool:
        """False when the key exists already."""
        ...

    def close(self, key: str, body: bytes | None) -> None:
        """Store the answer; null drops the key (the request failed and may be tried again)."""
        ...

    def forget_before(self, at: datetime) -> None: ...


class Cursors(Protocol):
    """Small named facts: publish cursors, the replay clock, heartbeats."""

    def get(self, name: str) -> str | None: ...
    def put(self, name: str, value: str) -> None: ...
    def lease(self, name: str, owner: str, now: datetime, until: datetime) -> bool:
        """Take or renew a named lease; false while another owner holds it."""
        ...
