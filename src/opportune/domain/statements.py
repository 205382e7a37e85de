"""What an event says about consent: which channels it opens or closes. Pure; features and the consent history agree."""

from collections.abc import Mapping
from typing import Any

from opportune.domain.customers import ANY, PROFILING
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.messages import OutcomeKind

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
CLOSING: Mapping[OutcomeKind, str] = {
    OutcomeKind.UNSUBSCRIBED: "unsubscribed",
    OutcomeKind.COMPLAINED: "complaint",
    OutcomeKind.BOUNCED: "hard_bounce",
}
#: What a customer agrees to may come in `context.consent.categoryPreferences`: of these events only, for libraries
#: that manage consent stamp it on every call.
PREFERENCE_UPDATED = "Segment Consent Preference Updated"
PREFERENCE_EVENTS = (NAMES_BY_KIND[EventKind.IDENTIFY], PREFERENCE_UPDATED)
#: Our own event for a line that came by the consent API: `channel`, `topic`, `state`.
CONSENT_CHANGED = "Consent Changed"
#: Every event that may say something.
SPEAKING = (*PREFERENCE_EVENTS, CONSENT_CHANGED, "Unsubscribed", "Email Marked as Spam", "Email Bounced")
#: Category -> channel of the consent line; other categories are no business of ours.
CATEGORIES: Mapping[str, str] = {
    **{channel: channel for channel in ("email", "push", "sms", "inapp", "onsite")},
    PROFILING: PROFILING,
    ANY: ANY,
}
_BOUNCE_FIELDS = ("bounce_type", "bounceType", "type", "reason")
_PASSING = ("soft", "transient", "temporary", "blocked")


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


def closed_by(event: Event) -> str | None:
    """The channel an outcome closes, null when it closes none: a bounce is hard unless it says it is passing.

    An unsubscribe is from `properties.channel`, e-mail when it names none; spam marks and bounces are about e-mail.
    """
    source = CLOSING.get(OUTCOMES[event.name]) if is_outcome(event) else None
    if source is None or (source == "hard_bounce" and _is_passing(event.properties)):
        return None
    named = event.properties.get("channel") if event.name == "Unsubscribed" else None
    return named if isinstance(named, str) and named in CATEGORIES else EMAIL


def stated(event: Event) -> dict[str, bool]:
    """Channel (or `profiling`, `*`) -> whether the event opens it. Whole channels only: a topic's line says nothing."""
    if event.name in PREFERENCE_EVENTS:
        return preferences_of(event)
    if event.name == CONSENT_CHANGED:
        channel, topic, state = (event.properties.get(name) for name in ("channel", "topic", "state"))
        is_ours = event.origin is Origin.OWN and isinstance(channel, str)
        is_whole = is_ours and topic == ANY and state in ("in", "out")
        return {str(channel): state == "in"} if is_whole else {}
    channel = closed_by(event)
    return {} if channel is None else {channel: False}


def _is_passing(properties: Mapping[str, Any]) -> bool:
    said = " ".join(str(properties.get(field, "")) for field in _BOUNCE_FIELDS).lower()
    return any(word in said for word in _PASSING)
