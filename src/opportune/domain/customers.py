"""Customers: traits, identities and consent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

#: The trait that names the account.
ACCOUNT = "account_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """One person as known now. `traits` are the last values by (event time, message id).

    `trait_stamps`: name -> (event_at in microseconds, message_id) of the envelope that set it, so that a late
    envelope never overwrites a newer one. A customer never seen has no row: treat as empty.
    """

    customer_id: str
    traits: Mapping[str, Any] = field(default_factory=dict)
    trait_stamps: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None

    @property
    def is_test(self) -> bool:
        """Test customers get deterministic decisions: no holdout, experiment or exploration."""
        return self.traits.get("is_test") is True

    @property
    def zone(self) -> str | None:
        """IANA zone name from the `timezone` trait; null when unknown (strictest reading applies)."""
        zone = self.traits.get("timezone")
        return zone if isinstance(zone, str) and zone else None

    @property
    def account_id(self) -> str | None:
        """The account (company, household) the customer belongs to: the last `group` call, or an `account_id` trait,
        whichever is newer; null when there is none."""
        account = self.traits.get(ACCOUNT)
        is_named = isinstance(account, str | int) and not isinstance(account, bool) and account != ""
        return str(account) if is_named else None


class ConsentState(StrEnum):
    """What the customer said."""

    IN = "in"
    OUT = "out"


#: The pseudo channel under which consent to profiling is kept.
PROFILING = "profiling"
ANY = "*"
#: Source of what an `identify` call stamps as agreed: the state known to the caller, not a new word of the customer.
PREFERENCES = "consent_preferences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One line of the append-only consent history: proof of who said what, when, how.

    `channel` and `topic` may be `*`. The newest line (by `at`, then `consent_id`) of a (channel, topic) is in force.
    """

    consent_id: str
    customer_id: str
    channel: str
    topic: str
    state: ConsentState
    at: datetime
    source: str
    recorded_at: datetime
    proof: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One envelope that joins two identities (`u:`/`a:` keys): identify with both ids, or alias.

    `is_alias` true merges whole people; false links an anonymous key to a user key, the first claim by
    (event_at, message_id) winning. Claims are facts; who is who is a pure fold over them (domain.identity).
    """

    message_id: str
    from_key: str
    into_key: str
    is_alias: bool
    event_at: datetime
    known_at: datetime
