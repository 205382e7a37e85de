"""Small, valid nouns for the ledger's contract suite; every field that matters to a test is an argument."""

from datetime import UTC, datetime, timedelta
from typing import Any

from opportune.domain.customers import Claim, Consent, ConsentState
from opportune.domain.decisions import Mode, StoredDecision
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.messages import Deliver, Outcome, OutcomeKind, Send, SendState
from opportune.domain.states import StateRow
from opportune.domain.timers import Timer
from opportune.ports import OutboxItem

T0 = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """T0 plus minutes."""
    return T0 + timedelta(minutes=minutes)


def an_event(message_id: str, user_id: str | None = "c1", minutes: float = 0, **fields: Any) -> Event:
    """A live track event."""
    when = at(minutes)
    given: dict[str, Any] = {
        "kind": EventKind.TRACK, "name": "Product Viewed", "user_id": user_id, "anonymous_id": None,
        "original_at": None, "sent_at": None, "received_at": when, "event_at": when, "known_at": when,
        "ingested_at": when, "origin": Origin.LIVE, "properties": {"price": 1.5},
    }  # fmt: skip
    return Event(message_id=message_id, **(given | fields))


def a_claim(message_id: str, from_key: str, into_key: str) -> Claim:
    """A link."""
    return Claim(
        message_id=message_id, from_key=from_key, into_key=into_key, is_alias=False, event_at=T0, known_at=at(1)
    )


def a_consent(consent_id: str, customer_id: str = "c1", minutes: float = 0) -> Consent:
    """An opt-out by e-mail."""
    return Consent(
        consent_id=consent_id, customer_id=customer_id, channel="email", topic="*", state=ConsentState.OUT,
        at=at(minutes), source="form", recorded_at=at(minutes), proof={"ip": "192.0.2.1"},
    )  # fmt: skip


def a_state(customer_id: str, version: int = 1, data: bytes = b"\x00\xff") -> StateRow:
    """A packed state."""
    return StateRow(customer_id=customer_id, version=version, state=data, committed_at=at(version))


def a_timer(key: str = "k", customer_id: str = "c1", minutes: float = 0, rule: str = "cart", by: str = "m") -> Timer:
    """A timer due at T0 + minutes."""
    return Timer(
        rule=rule, customer_id=customer_id, key=key, due_at=at(minutes), set_at=T0, set_by=by, payload={"cart": 1}
    )


def a_send(message_id: str, customer_id: str = "c1", minutes: float = 0, **fields: Any) -> Send:
    """A reserved marketing e-mail."""
    given: dict[str, Any] = {
        "decision_id": "d1", "rank": 1, "campaign": "winback", "trigger": "request", "channel": "email",
        "topic": "offers", "purpose": "marketing", "variant": None, "tags": ("a", "b"), "state": SendState.RESERVED,
        "deliver": Deliver.SERVICE, "send_at": at(minutes), "expires_at": at(minutes + 60), "reserved_at": T0,
        "payload": {"content": {"subject": "Hé"}},
    }  # fmt: skip
    return Send(message_id=message_id, customer_id=customer_id, **(given | fields))


def an_outcome(outcome_id: str, message_id: str = "m1", minutes: float = 0) -> Outcome:
    """A click."""
    return Outcome(
        outcome_id=outcome_id, message_id=message_id, customer_id="c1", kind=OutcomeKind.CLICKED, at=at(minutes),
        recorded_at=at(minutes), is_machine=True, properties={"url": "https://example.com"},
    )  # fmt: skip


def a_decision(decision_id: str, customer_id: str = "c1") -> StoredDecision:
    """A stored decision."""
    return StoredDecision(
        decision_id=decision_id, customer_id=customer_id, decided_at=T0, playbook_hash="sha256:0", trigger=None,
        mode=Mode.FULL, n_messages=1, case=b'{"a":1}', decision=b'{"b":"\xc3\xa9"}',
    )  # fmt: skip


def an_item(key: str = "c1", topic: str = "project", minutes: float = 0) -> OutboxItem:
    """Work available at T0 + minutes."""
    return OutboxItem(topic=topic, key=key, available_at=at(minutes))


def a_letter(letter_id: str, minutes: float = 0) -> DeadLetter:
    """A refused envelope."""
    return DeadLetter(
        letter_id=letter_id, received_at=at(minutes), source="http", index=3, message_id=None, code="no_id",
        message="userId or anonymousId is required", body=b"\x00\xffnot json",
    )  # fmt: skip
