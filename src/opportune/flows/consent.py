"""A customer says what they allow: one line joins the consent history, in force at once, and one event their log."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from opportune.domain.customers import Consent, ConsentState
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import format_instant
from opportune.domain.statements import CONSENT_CHANGED
from opportune.flows.people import holding
from opportune.flows.rouse import rouse
from opportune.flows.sent import append_own
from opportune.flows.withdraw import withdraw
from opportune.ports import Clock, Ledger, UnitOfWork


def put(
    *,
    customer_id: str,
    channel: str,
    topic: str,
    state: str,
    source: str,
    at: datetime | None,
    ledger: Ledger,
    clock: Clock,
    proof: Mapping[str, Any] | None = None,
) -> Consent:
    """Append one line for whoever `customer_id` stands for; returns it. `at` null: now; never later than now.

    `proof`: what the caller can show for it. The same line again (customer, channel, topic, state, source, `at`, proof)
    changes nothing. Raises Unavailable.
    """
    now = clock.now()
    said_at = min(at, now) if at is not None else now
    with holding(customer_id, ledger) as (uow, holder):
        line = line_of(holder, customer_id, channel, topic, state, source, said_at, now, proof or {})
        commit([line], now, uow)
    return line


def commit(lines: Sequence[Consent], now: datetime, uow: UnitOfWork) -> int:
    """Append lines that no event stated, under their customers' locks, and let them take effect; bookings released.

    Each joins its customer's log as an event, too. Journeys on the way look again at once.
    """
    uow.consents.add(lines)
    append_own([changed_event(line, now) for line in lines], [line.customer_id for line in lines], now, uow)
    out = {line.customer_id for line in lines if line.state is ConsentState.OUT}
    rouse({line.customer_id for line in lines} - out, uow, now)
    return withdraw(out, now, uow)


def line_of(
    holder: str,
    asked_id: str,
    channel: str,
    topic: str,
    state: str,
    source: str,
    at: datetime,
    now: datetime,
    proof: Mapping[str, Any],
) -> Consent:
    """The line, its id made of what it says; the proof names the id under which it was said, and when we heard."""
    said = [holder, channel, topic, state, source, format_instant(at)]
    if proof:
        said.append(orjson.dumps(dict(proof), option=orjson.OPT_SORT_KEYS).decode())
    return Consent(
        consent_id="api:" + hashlib.sha256("\x00".join(said).encode()).hexdigest()[:32],
        customer_id=holder,
        channel=channel,
        topic=topic,
        state=ConsentState(state),
        at=at,
        source=source,
        recorded_at=now,
        proof={
            "how": "api",
            "customer_id": asked_id,
            "received_at": format_instant(now),
            **({"shown": dict(proof)} if proof else {}),
        },
    )


def changed_event(line: Consent, now: datetime) -> Event:
    """`Consent Changed` of a line that no event stated, so that features are a function of the log alone."""
    anonymous = line.customer_id.removeprefix("anon:") if line.customer_id.startswith("anon:") else None
    return Event(
        message_id=f"consent:{line.consent_id}",
        kind=EventKind.TRACK,
        name=CONSENT_CHANGED,
        user_id=None if anonymous is not None else line.customer_id,
        anonymous_id=anonymous,
        original_at=line.at,
        sent_at=line.at,
        received_at=now,
        event_at=line.at,
        known_at=now,
        ingested_at=now,
        origin=Origin.OWN,
        properties={"channel": line.channel, "topic": line.topic, "state": str(line.state), "source": line.source},
    )
