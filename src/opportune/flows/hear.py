"""What events say about messages and consent: outcomes of our sends, opt-outs, complaints, bounces. Pure."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime

from opportune.domain.customers import ANY, PREFERENCES, Consent, ConsentState
from opportune.domain.events import Event, EventKind
from opportune.domain.messages import Outcome
from opportune.domain.statements import CLOSING, OUTCOMES, PREFERENCE_EVENTS, closed_by, is_outcome, preferences_of


def is_heard(event: Event) -> bool:
    """True for events that may carry an outcome or a consent."""
    return is_outcome(event) or (event.name in PREFERENCE_EVENTS and bool(preferences_of(event)))


def message_named(event: Event) -> str | None:
    """The message an e-mail event is about: `email_id`, else `message_id`; null when it names none."""
    for field in ("email_id", "message_id"):
        found = event.properties.get(field)
        if isinstance(found, str) and found:
            return found
    return None


def outcomes_of(events: Iterable[tuple[Event, str]], ours: Collection[str], now: datetime) -> list[Outcome]:
    """Outcomes of (event, customer id) pairs; `ours`: the message ids that exist. Others are no business of ours."""
    found = []
    for event, customer_id in events:
        message_id = message_named(event) if is_outcome(event) else None
        if message_id in ours and message_id is not None:
            found.append(
                Outcome(
                    outcome_id=event.message_id,
                    message_id=message_id,
                    customer_id=customer_id,
                    kind=OUTCOMES[event.name],
                    at=event.event_at,
                    recorded_at=now,
                    is_machine=event.properties.get("is_machine") is True,
                    properties={f: v for f, v in event.properties.items() if f not in ("email_id", "message_id")},
                )
            )
    return found


def consents_of(events: Iterable[tuple[Event, str]], now: datetime) -> list[Consent]:
    """Opt-outs and preferences that (event, customer id) pairs state. A bounce is hard unless it says it is passing;
    an unsubscribe is from `properties.channel`, e-mail when it names none.

    The line's id is made of event and customer: heard again, or after a merge, it is the same line.
    """
    found = []
    for event, customer_id in events:
        if not is_outcome(event):
            found += _preferences(event, customer_id, now)
            continue
        channel = closed_by(event)
        if channel is None:
            continue
        found.append(
            Consent(
                consent_id="event:" + digest(event.message_id, customer_id),
                customer_id=customer_id,
                channel=channel,
                topic=ANY,
                state=ConsentState.OUT,
                at=event.event_at,
                source=CLOSING[OUTCOMES[event.name]],
                recorded_at=now,
                proof=_proof(event),
            )
        )
    return found


def _preferences(event: Event, customer_id: str, now: datetime) -> list[Consent]:
    source = PREFERENCES if event.kind is EventKind.IDENTIFY else "preference_update"
    return [
        Consent(
            consent_id="said:" + digest(event.message_id, customer_id, channel),
            customer_id=customer_id,
            channel=channel,
            topic=ANY,
            state=ConsentState.IN if is_in else ConsentState.OUT,
            at=event.event_at,
            source=source,
            recorded_at=now,
            proof=_proof(event),
        )
        for channel, is_in in preferences_of(event).items()
    ]


def _proof(event: Event) -> dict[str, str]:
    return {"how": "event", "event": event.name, "message_id": event.message_id, "said_by": event.id_key}


def digest(*parts: str) -> str:
    """A short fingerprint of some texts."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
