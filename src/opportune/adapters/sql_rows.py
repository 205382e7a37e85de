"""Dataclass <-> stored row, by hand because this is the hot path; one form for SQLite, PostgreSQL and memory.

A row is a tuple in the order of its COLUMNS: instants as integer microseconds, JSON as compact text, enums as their
values. What a row cannot hold exactly comes back as JSON holds it: tuples inside mappings as lists.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from opportune.domain.customers import Claim, Consent, ConsentState, Customer
from opportune.domain.decisions import Mode, StoredDecision
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.instants import EPOCH, from_us, to_us
from opportune.domain.messages import Deliver, Outcome, OutcomeKind, Send, SendState
from opportune.domain.states import StateRow
from opportune.domain.timers import Timer

Row = Sequence[Any]
Stored = tuple[Any, ...]


def to_json(value: Any) -> str:
    """Compact JSON text. Raises TypeError for what JSON cannot hold (lone surrogates and huge integers included)."""
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def from_json(text: str) -> Any:
    """The value of `to_json`'s text."""
    return {} if text == "{}" else orjson.loads(text)


def us_or_null(at: datetime | None) -> int | None:
    """Microseconds, or null."""
    return None if at is None else to_us(at)


def at_or_null(us: int | None) -> datetime | None:
    """Aware UTC, or null."""
    return None if us is None else EPOCH + timedelta(microseconds=us)


def parse_cursor(cursor: str) -> tuple[int, int]:
    """(txid, seq) of a cursor; `""` is the start. Raises ValueError."""
    txid, _, seq = (cursor or "0:0").partition(":")
    return int(txid), int(seq)


# -- people -------------------------------------------------------------------------------------------------------

CUSTOMER = ("customer_id", "traits", "trait_stamps", "first_seen_at", "last_seen_at")


def customer_row(it: Customer) -> Stored:
    """Row of a customer."""
    first, last = us_or_null(it.first_seen_at), us_or_null(it.last_seen_at)
    return (it.customer_id, to_json(it.traits), to_json(it.trait_stamps), first, last)


def customer_of(row: Row) -> Customer:
    """Customer of a row."""
    return Customer(
        customer_id=row[0],
        traits=from_json(row[1]),
        trait_stamps={name: (at, message_id) for name, (at, message_id) in from_json(row[2]).items()},
        first_seen_at=at_or_null(row[3]),
        last_seen_at=at_or_null(row[4]),
    )


CLAIM = ("message_id", "from_key", "into_key", "is_alias", "event_at", "known_at")


def claim_row(it: Claim) -> Stored:
    """Row of a claim."""
    return (it.message_id, it.from_key, it.into_key, it.is_alias, to_us(it.event_at), to_us(it.known_at))


def claim_of(row: Row) -> Claim:
    """Claim of a row."""
    return Claim(
        message_id=row[0],
        from_key=row[1],
        into_key=row[2],
        is_alias=bool(row[3]),
        event_at=from_us(row[4]),
        known_at=from_us(row[5]),
    )


CONSENT = ("consent_id", "customer_id", "channel", "topic", "state", "at", "source", "recorded_at", "proof")


def consent_row(it: Consent) -> Stored:
    """Row of a consent line."""
    said = (it.consent_id, it.customer_id, it.channel, it.topic, it.state.value, to_us(it.at))
    return (*said, it.source, to_us(it.recorded_at), to_json(it.proof))


def consent_of(row: Row) -> Consent:
    """Consent line of a row."""
    return Consent(
        consent_id=row[0],
        customer_id=row[1],
        channel=row[2],
        topic=row[3],
        state=ConsentState(row[4]),
        at=from_us(row[5]),
        source=row[6],
        recorded_at=from_us(row[7]),
        proof=from_json(row[8]),
    )


STATE = ("customer_id", "version", "state", "committed_at")


def state_row(it: StateRow) -> Stored:
    """Row of a feature state."""
    return (it.customer_id, it.version, it.state, to_us(it.committed_at))


def state_of(row: Row) -> StateRow:
    """Feature state of a row."""
    return StateRow(customer_id=row[0], version=row[1], state=bytes(row[2]), committed_at=from_us(row[3]))


# -- events -------------------------------------------------------------------------------------------------------

EVENT = (
    "message_id", "customer_id", "id_key", "kind", "name", "user_id", "anonymous_id", "original_at", "sent_at",
    "received_at", "event_at", "known_at", "ingested_at", "origin", "body",
)  # fmt: skip
_KINDS = {kind.value: kind for kind in EventKind}
_ORIGINS = {origin.value: origin for origin in Origin}
_BODY = ("properties", "traits", "context", "previous_id", "group_id", "flags")


def event_row(it: Event, customer_id: str) -> Stored:
    """Row of an event and the customer that owns it."""
    body = {name: value for name in _BODY if (value := getattr(it, name)) or value == ""}
    return (
        it.message_id, customer_id, it.id_key, it.kind.value, it.name, it.user_id, it.anonymous_id,
        us_or_null(it.original_at), us_or_null(it.sent_at), to_us(it.received_at), to_us(it.event_at),
        to_us(it.known_at), to_us(it.ingested_at), it.origin.value, to_json(body),
    )  # fmt: skip


def event_of(row: Row) -> Event:
    """Event of a row."""
    body = from_json(row[14])
    return Event(
        message_id=row[0],
        kind=_KINDS[row[3]],
        name=row[4],
        user_id=row[5],
        anonymous_id=row[6],
        original_at=at_or_null(row[7]),
        sent_at=at_or_null(row[8]),
        received_at=from_us(row[9]),
        event_at=from_us(row[10]),
        known_at=from_us(row[11]),
        ingested_at=from_us(row[12]),
        origin=_ORIGINS[row[13]],
        properties=body.get("properties", {}),
        traits=body.get("traits", {}),
        context=body.get("context", {}),
        previous_id=body.get("previous_id"),
        group_id=body.get("group_id"),
        flags=tuple(body.get("flags", ())),
    )


LETTER = ("letter_id", "received_at", "source", "position", "message_id", "code", "message", "body")


def letter_row(it: DeadLetter) -> Stored:
    """Row of a dead letter."""
    head = (it.letter_id, to_us(it.received_at), it.source, it.index, it.message_id)
    return (*head, it.code, it.message, it.body)


def letter_of(row: Row) -> DeadLetter:
    """Dead letter of a row."""
    return DeadLetter(
        letter_id=row[0],
        received_at=from_us(row[1]),
        source=row[2],
        index=row[3],
        message_id=row[4],
        code=row[5],
        message=row[6],
        body=bytes(row[7]),
    )


# -- timers -------------------------------------------------------------------------------------------------------

TIMER = ("rule", "customer_id", "key", "due_at", "set_at", "set_by", "expires_at", "payload", "version")


def timer_row(it: Timer) -> Stored:
    """Row of a timer."""
    times = (to_us(it.due_at), to_us(it.set_at), it.set_by, us_or_null(it.expires_at))
    return (it.rule, it.customer_id, it.key, *times, to_json(it.payload), it.version)


def timer_of(row: Row) -> Timer:
    """Timer of a row."""
    return Timer(
        rule=row[0],
        customer_id=row[1],
        key=row[2],
        due_at=from_us(row[3]),
        set_at=from_us(row[4]),
        set_by=row[5],
        expires_at=at_or_null(row[6]),
        payload=from_json(row[7]),
        version=row[8],
    )


# -- messages -----------------------------------------------------------------------------------------------------

SEND = (
    "message_id", "customer_id", "decision_id", "rank", "campaign", "trigger", "channel", "topic", "purpose", "variant",
    "tags", "state", "deliver", "send_at", "expires_at", "reserved_at", "obeys_caps", "counts", "is_virtual", "payload",
    "trigger_key", "handed_off_at", "account_id", "leaving_at",
)  # fmt: skip
SEND_STATES = {state.value: state for state in SendState}
DELIVERS = {deliver.value: deliver for deliver in Deliver}


def send_row(it: Send) -> Stored:
    """Row of a send."""
    return (
        it.message_id, it.customer_id, it.decision_id, it.rank, it.campaign, it.trigger, it.channel, it.topic,
        it.purpose, it.variant, to_json(it.tags), it.state.value, it.deliver.value, to_us(it.send_at),
        to_us(it.expires_at), to_us(it.reserved_at), it.obeys_caps, it.counts, it.is_virtual, to_json(it.payload),
        it.trigger_key, us_or_null(it.handed_off_at), it.account_id, us_or_null(it.leaving_at),
    )  # fmt: skip


def send_of(row: Row) -> Send:
    """Send of a row."""
    return Send(
        message_id=row[0],
        customer_id=row[1],
        decision_id=row[2],
        rank=row[3],
        campaign=row[4],
        trigger=row[5],
        channel=row[6],
        topic=row[7],
        purpose=row[8],
        variant=row[9],
        tags=() if row[10] == "[]" else tuple(orjson.loads(row[10])),
        state=SEND_STATES[row[11]],
        deliver=DELIVERS[row[12]],
        send_at=from_us(row[13]),
        expires_at=from_us(row[14]),
        reserved_at=from_us(row[15]),
        obeys_caps=bool(row[16]),
        counts=bool(row[17]),
        is_virtual=bool(row[18]),
        payload=from_json(row[19]),
        trigger_key=row[20],
        handed_off_at=at_or_null(row[21]),
        account_id=row[22],
        leaving_at=at_or_null(row[23]),
    )


OUTCOME = ("outcome_id", "message_id", "customer_id", "kind", "at", "recorded_at", "is_machine", "properties")


def outcome_row(it: Outcome) -> Stored:
    """Row of an outcome."""
    head = (it.outcome_id, it.message_id, it.customer_id, it.kind.value)
    return (*head, to_us(it.at), to_us(it.recorded_at), it.is_machine, to_json(it.properties))


def outcome_of(row: Row) -> Outcome:
    """Outcome of a row."""
    return Outcome(
        outcome_id=row[0],
        message_id=row[1],
        customer_id=row[2],
        kind=OutcomeKind(row[3]),
        at=from_us(row[4]),
        recorded_at=from_us(row[5]),
        is_machine=bool(row[6]),
        properties=from_json(row[7]),
    )


# -- decisions ----------------------------------------------------------------------------------------------------

DECISION = (
    "decision_id", "customer_id", "decided_at", "playbook_hash", "trigger", "mode", "n_messages", "case_json",
    "decision_json",
)  # fmt: skip


def decision_row(it: StoredDecision) -> Stored:
    """Row of a stored decision."""
    head = (it.decision_id, it.customer_id, to_us(it.decided_at), it.playbook_hash, it.trigger, it.mode.value)
    return (*head, it.n_messages, it.case, it.decision)


def decision_of(row: Row) -> StoredDecision:
    """Stored decision of a row."""
    return StoredDecision(
        decision_id=row[0],
        customer_id=row[1],
        decided_at=from_us(row[2]),
        playbook_hash=row[3],
        trigger=row[4],
        mode=Mode(row[5]),
        n_messages=row[6],
        case=bytes(row[7]),
        decision=bytes(row[8]),
    )


EXPOSURE = ("experiment", "unit", "variation", "customer_id", "decision_id", "at")


def exposure_row(it: Mapping[str, Any]) -> Stored:
    """Row of an exposure mapping (`at` an aware datetime)."""
    head = (it["experiment"], it["unit"], it["variation"], it["customer_id"], it["decision_id"])
    return (*head, to_us(it["at"]))


def exposure_of(row: Row) -> dict[str, Any]:
    """Exposure mapping of a row."""
    return dict(zip(EXPOSURE, (*row[:5], from_us(row[5])), strict=True))
