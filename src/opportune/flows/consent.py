"""A customer says what they allow: one line joins the consent history, in force at once, and one event their log."""

import hashlib
from datetime import datetime

from opportune.domain.customers import Consent, ConsentState
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import format_instant
from opportune.domain.statements import CONSENT_CHANGED
from opportune.flows.people import canonical_ids
from opportune.flows.rouse import rouse
from opportune.flows.sent import append_own
from opportune.ports import Clock, Ledger, LockLost

#: How often identities may change between reading and locking before we give up for now.
ATTEMPTS = 5


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
) -> Consent:
    """Append one line for whoever `customer_id` stands for; returns it. `at` null: now; never later than now.

    The same line again (same customer, channel, topic, state, source and `at`) changes nothing. Bookings are not
    touched here: consent is asked again at every hand-off. Journeys on the way look again at once. Raises Unavailable.
    """
    now = clock.now()
    said_at = min(at, now) if at is not None else now
    holder = customer_id
    for _ in range(ATTEMPTS):
        with ledger.begin([holder]) as uow:
            found = canonical_ids([customer_id], uow)[customer_id]
            if found == holder:
                line = line_of(holder, customer_id, channel, topic, state, source, said_at, now)
                uow.consents.add([line])
                rouse([holder], uow, now)
                append_own([changed_event(line, now)], [holder], now, uow)
                return line
            holder = found  # merged into another: once more, holding the lock of who it really is
    raise LockLost(f"the identity of customer '{customer_id}' keeps changing; try again")


def line_of(
    holder: str, asked_id: str, channel: str, topic: str, state: str, source: str, at: datetime, now: datetime
) -> Consent:
    """The line, its id made of what it says; the proof names the id under which it was said, and when we heard."""
    text = "\x00".join((holder, channel, topic, state, source, format_instant(at)))
    return Consent(
        consent_id="api:" + hashlib.sha256(text.encode()).hexdigest()[:32],
        customer_id=holder,
        channel=channel,
        topic=topic,
        state=ConsentState(state),
        at=at,
        source=source,
        recorded_at=now,
        proof={"how": "api", "customer_id": asked_id, "received_at": format_instant(now)},
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
