"""The decision in one line of words, in the customer's local time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from opportune.decision.zones import zone_of
from opportune.domain.decisions import Case, Message, Reason, Removal

MAX_LENGTH = 200
CHANNEL_WORDS = {
    "email": "e-mail",
    "push": "push",
    "sms": "SMS",
    "inapp": "in-app message",
    "onsite": "on-site message",
}
#: What a reader most wants to know first: gates that time opens, then what the customer lacks, then the rest.
_TELLING = (
    Reason.FREQUENCY_CAP, Reason.SPACING, Reason.COOLDOWN, Reason.QUIET_HOURS, Reason.SEND_WINDOW,
    Reason.RENDER_FAILED,
    Reason.SUPPRESSED, Reason.NO_CONSENT, Reason.NO_PROFILING, Reason.NO_ADDRESS, Reason.SCORE_MISSING,
    Reason.BUDGET, Reason.HELD_FOR_BETTER,
    Reason.BELOW_NOTHING, Reason.EXPIRED, Reason.NOT_STARTED, Reason.NOT_DRAWN, Reason.OUTRANKED,
    Reason.CONDITION_FALSE, Reason.CHANNEL_NOT_ASKED, Reason.ENDED,
)  # fmt: skip
_ORDER = {reason: place for place, reason in enumerate(_TELLING)}
_WORDS = {
    Reason.CHANNEL_NOT_ASKED: "channel not asked for",
    Reason.NOT_STARTED: "not started yet",
    Reason.ENDED: "it has ended",
    Reason.CONDITION_FALSE: "its condition does not hold",
    Reason.COOLDOWN: "cool-down",
    Reason.NO_CONSENT: "no consent",
    Reason.NO_PROFILING: "no consent to profiling",
    Reason.SUPPRESSED: "address suppressed",
    Reason.NO_ADDRESS: "no address",
    Reason.SCORE_MISSING: "no score",
    Reason.QUIET_HOURS: "quiet hours",
    Reason.SEND_WINDOW: "outside its send window",
    Reason.EXPIRED: "too late",
    Reason.BUDGET: "budget",
    Reason.HELD_FOR_BETTER: "a better one is due",
    Reason.BELOW_NOTHING: "worth less than nothing",
    Reason.OUTRANKED: "outranked",
    Reason.NOT_DRAWN: "not drawn",
    Reason.RENDER_FAILED: "its text could not be written",
}


def summarise(
    messages: Sequence[Message],
    removed: Sequence[Removal],
    case: Case,
    begins: Sequence[str] = (),
    is_meant: bool = True,
) -> str:
    """What goes where and when, then the one removal most worth knowing; at most 200 characters.

    `begins`: journeys that begin with the trigger; `is_meant`: whether its own condition holds.
    """
    parts = []
    for m in messages:
        verb = "Withheld (holdout):" if m.is_virtual else "Send"
        when = tell_instant(m.send_at, case.now, case.customer.zone, preposition=True)
        parts.append(f"{verb} {m.campaign} by {CHANNEL_WORDS.get(m.channel, m.channel)} {when}.")
    if not messages:
        parts.append("Send nothing." if removed else _nothing(begins, is_meant))
    spoken = {m.campaign for m in messages}
    others = [r for r in removed if r.campaign not in spoken and r.reason in _ORDER]
    if others:
        parts.append(_held(min(others, key=lambda r: _ORDER[r.reason]), case))
    text = " ".join(parts)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3].rstrip() + "..."


def _nothing(begins: Sequence[str], is_meant: bool) -> str:
    """Why there was nothing to choose from."""
    if not begins:
        return "Send nothing: no campaign applies."
    if not is_meant:
        return "Send nothing: the condition of this trigger does not hold."
    return f"Send nothing here: journey {' and '.join(begins)} begins with this trigger, and decides step by step."


def _held(removal: Removal, case: Case) -> str:
    detail = removal.detail
    if removal.reason is Reason.FREQUENCY_CAP:
        why = f"cap {removal.rule} ({detail.get('found')} of {detail.get('limit')})"
    elif removal.reason is Reason.SPACING:
        why = f"too soon after another ({removal.rule})"
    elif removal.reason is Reason.QUIET_HOURS and detail.get("zone") is None:
        why = "quiet hours, zone unknown"
    elif removal.reason is Reason.SEND_WINDOW and detail.get("zone") is None:
        why = "outside its send window, zone unknown"
    else:
        why = _WORDS[removal.reason]
    if removal.would_pass_at is None:
        return f"{removal.campaign} held: {why}."
    when = tell_instant(removal.would_pass_at, case.now, case.customer.zone)
    return f"{removal.campaign} held: {why}; possible again {when}."


def tell_instant(at: datetime, now: datetime, zone_name: str | None, preposition: bool = False) -> str:
    """`now`, `today at 18:05`, `tomorrow at 09:00`, `on Friday at 09:00` or `on 3 March at 09:00`, local time;
    UTC, and said so, when the zone is unknown. `preposition` false leaves out the `at`."""
    if at == now:
        return "now"
    zone = zone_of(zone_name)
    local, today = at.astimezone(zone or UTC), now.astimezone(zone or UTC)
    days = local.toordinal() - today.toordinal()
    day = _day(days, local.weekday(), local.day, local.month)
    clock = f"{local.hour:02d}:{local.minute:02d}"
    return f"{day}{' at' if preposition else ''} {clock}{'' if zone else ' UTC'}"


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


@lru_cache(maxsize=1024)
def _day(days: int, weekday: int, day: int, month: int) -> str:
    if days in (0, 1):
        return ("today", "tomorrow")[days]
    return f"on {_WEEKDAYS[weekday]}" if 1 < days < 7 else f"on {day} {_MONTHS[month - 1]}"
