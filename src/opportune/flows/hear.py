"""What events say about messages and consent: outcomes of our sends, opt-outs, complaints, bounces. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from opportune.domain.customers import ANY, PREFERENCES, PROFILING, Consent, ConsentState
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind
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
#: What a customer agrees to may come in `context.consent.categoryPreferences`: of these events only, for libraries
#: that manage consent stamp it on every call.
PREFERENCE_UPDATED = "Segment Consent Preference Updated"
_PREFERENCE_EVENTS = (NAMES_BY_KIND[EventKind.IDENTIFY], PREFERENCE_UPDATED)
#: Category -> channel of the consent line; other categories are no business of ours.
CATEGORIES: Mapping[str, str] = {
    **{channel: channel for channel in ("email", "push", "sms", "inapp", "onsite")},
    PROFILING: PROFILING,
    ANY: ANY,
}
_BOUNCE_FIELDS = ("bounce_type", "bounceType", "type", "reason")
_PASSING = ("soft", "transient", "temporary", "blocked")


def is_heard(event: Event) -> bool:
    """True for events that may carry an outcome or a consent."""
    return is_outcome(event) or (event.name in _PREFERENCE_EVENTS and bool(preferences_of(event)))


def is_outcome(event: Event) -> bool:
    """True for what became of a message."""
    return event.name in OUTCOMES and event.kind is EventKind.TRACK


def preferences_of(event: Event) -> dict[str, bool]:
    """Channel (or `profiling`, `*`) -> agreed, as far as `context.consent.categoryPreferences` says true or false."""
    said = event.context.get("consent")
    said = said.get("categoryPreferences") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping):
        return {}
    return {CATEGORIES[name]: value for name, value in said.items() if name in CATEGORIES and isinstance(value, bool)}


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
        source = _CLOSING.get(OUTCOMES[event.name])
        if source is None or (source == "hard_bounce" and _is_passing(event.properties)):
            continue
        found.append(
            Consent(
                consent_id="event:" + digest(event.message_id, customer_id),
                customer_id=customer_id,
                channel=_channel(event),
                topic=ANY,
                state=ConsentState.OUT,
                at=event.event_at,
                source=source,
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


def _channel(event: Event) -> str:
    """Which channel an outcome closes. Spam marks and bounces of the e-mail specification are about e-mail."""
    named = event.properties.get("channel") if event.name == "Unsubscribed" else None
    return named if isinstance(named, str) and named in CATEGORIES else EMAIL


def digest(*parts: str) -> str:
    """A short fingerprint of some texts."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _is_passing(properties: Mapping[str, Any]) -> bool:
    said = " ".join(str(properties.get(field, "")) for field in _BOUNCE_FIELDS).lower()
    return any(word in said for word in _PASSING)
