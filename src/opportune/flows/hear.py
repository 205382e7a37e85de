"""What events say about messages and consent: outcomes of our sends, opt-outs, complaints, bounces. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from opportune.domain.customers import ANY, Consent, ConsentState
from opportune.domain.events import Event, EventKind
from opportune.domain.messages import Outcome, OutcomeKind

EMAIL = "email"
#: Segment's e-mail events -> what came of the message.
OUTCOMES: Mapping[str, OutcomeKind] = {
    "Email Delivered": OutcomeKind.DELIVERED,
    "Email Opened": OutcomeKind.OPENED,
    "Email Link Clicked": OutcomeKind.CLICKED,
    "Email Bounced": OutcomeKind.BOUNCED,
    "Email Marked as Spam": OutcomeKind.COMPLAINED,
    "Unsubscribed": OutcomeKind.UNSUBSCRIBED,
}
#: Outcomes that close the channel, and the source under which the opt-out is kept.
_CLOSING: Mapping[OutcomeKind, str] = {
    OutcomeKind.UNSUBSCRIBED: "unsubscribed",
    OutcomeKind.COMPLAINED: "complaint",
    OutcomeKind.BOUNCED: "hard_bounce",
}
_BOUNCE_FIELDS = ("bounce_type", "bounceType", "type", "reason")
_PASSING = ("soft", "transient", "temporary", "blocked")


def is_heard(event: Event) -> bool:
    """True for events that may carry an outcome or a consent."""
    return event.name in OUTCOMES and event.kind is EventKind.TRACK


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
        message_id = message_named(event)
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
    """Opt-outs that (event, customer id) pairs state. A bounce counts as hard unless it says it is passing.

    The line's id is made of event and customer: heard again, or after a merge, it is the same line.
    """
    found = []
    for event, customer_id in events:
        source = _CLOSING.get(OUTCOMES[event.name])
        if source is None or (source == "hard_bounce" and _is_passing(event.properties)):
            continue
        found.append(
            Consent(
                consent_id="event:" + digest(event.message_id, customer_id),
                customer_id=customer_id,
                channel=EMAIL,
                topic=ANY,
                state=ConsentState.OUT,
                at=event.event_at,
                source=source,
                recorded_at=now,
                proof={"how": "event", "event": event.name, "message_id": event.message_id},
            )
        )
    return found


def digest(*parts: str) -> str:
    """A short fingerprint of some texts."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _is_passing(properties: Mapping[str, Any]) -> bool:
    said = " ".join(str(properties.get(field, "")) for field in _BOUNCE_FIELDS).lower()
    return any(word in said for word in _PASSING)
