"""Reading one envelope: from a decoded item of the Segment protocol to an Event, or a Refused that says why not.

Times. `original_at` is the caller's `timestamp`, else `originalTimestamp`. Corrected time = `receivedAt - (sentAt -
originalTimestamp)`, or the original when `sentAt` is missing; `event_at` is the earlier of that and `received_at`;
without any it is `received_at`. A corrected time over 5 minutes ahead is flagged `future`. A time without a zone is
taken as UTC and flagged `no_zone`. Numbers are seconds since 1970, from 1e11 on milliseconds. A `timestamp` that cannot
be read refuses the event; a `sentAt` that cannot be read costs only the correction, flagged `sent_at_ignored`.

Imports: the own time is `timestamp`, else `originalTimestamp`; it must be there, is not corrected by the clock of the
importing machine (unless the line carries both `sentAt` and `receivedAt`), and is also `known_at`.

Ids: whole numbers are accepted and become text; an empty text counts as missing.

Traits of `identify` are its `traits`, or `context.traits` where it has none: RudderStack's clients put them there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.instants import EPOCH
from opportune.domain.refusals import RefusalCode, Refused, check_values, shown

MAX_MESSAGE_ID = 100
MAX_ID = 255
MAX_NAME = 255
FUTURE_AFTER = timedelta(minutes=5)
RETENTION = timedelta(days=3 * 365)
#: Customer ids of people known only by an anonymous id start like this; no userId may.
ANONYMOUS_PREFIX = "anon:"

_KINDS: dict[Any, EventKind] = {kind.value: kind for kind in EventKind}
_MS_FROM = 1e11
_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a door reads its items.

    `retention` null: no event is too old. `new_id` makes the id of an envelope without `messageId`.
    `is_text_clean`: the decoder has already excluded NUL and lone surrogates.
    """

    received_at: datetime
    origin: Origin
    new_id: Callable[[], str]
    retention: timedelta | None = RETENTION
    is_text_clean: bool = False


def read_envelope(item: object, reading: Reading, kind: EventKind | None = None) -> Event:
    """The Event of one decoded item. `kind` null: its `type` says which call it is. Raises Refused."""
    if type(item) is not dict:
        raise Refused(RefusalCode.NOT_AN_OBJECT, "the item is not a JSON object: send one object per event")
    check_values(item, reading.is_text_clean)
    get = item.get
    if kind is None:
        kind = _kind(get("type"))
    message_id = get("messageId")
    if type(message_id) is not str or not 0 < len(message_id) <= MAX_MESSAGE_ID:
        message_id = _id(message_id, "messageId", MAX_MESSAGE_ID) or reading.new_id()
    user_id = get("userId")
    if user_id is not None:
        user_id = _id(user_id, "userId")
        if user_id is not None and user_id.startswith(ANONYMOUS_PREFIX):
            raise Refused(
                RefusalCode.ID_RESERVED,
                "userId must not start with 'anon:', which names anonymous customers: send the rest as anonymousId",
            )
    anonymous_id = get("anonymousId")
    if anonymous_id is not None:
        anonymous_id = _id(anonymous_id, "anonymousId")
    if user_id is None and (anonymous_id is None or kind is EventKind.ALIAS):
        wanted = "userId" if kind is EventKind.ALIAS else "userId or anonymousId"
        raise Refused(RefusalCode.ID_MISSING, f"{wanted} is missing: say whose event it is")
    properties: Any = get("properties")
    if type(properties) is not dict:
        properties = _object(properties, "properties")
    traits = _object(get("traits"), "traits")
    context = get("context")
    if type(context) is not dict:
        context = _object(context, "context")
    if kind is EventKind.IDENTIFY and not traits:
        traits = _object(context.get("traits"), "context.traits")
    if integrations := _object(get("integrations"), "integrations"):
        context = {**context, "integrations": integrations}
    previous_id = group_id = None
    if kind is EventKind.TRACK:
        name = get("event")
        if type(name) is not str or not 0 < len(name) <= MAX_NAME:
            raise _bad_name(name)
    else:
        name = NAMES_BY_KIND[kind]
        if kind is EventKind.ALIAS:
            previous_id = _needed(get("previousId"), "previousId", "the id to merge into userId")
        elif kind is EventKind.GROUP:
            group_id = _needed(get("groupId"), "groupId", "the group the customer belongs to")
        elif kind is not EventKind.IDENTIFY:
            named = {f: get(f) for f in ("name", "category") if get(f) is not None and f not in properties}
            properties = {**properties, **named} if named else properties
    original_at, sent_at, received_at, event_at, flags = _times(get, reading)
    return Event(
        message_id=message_id,
        kind=kind,
        name=name,
        user_id=user_id,
        anonymous_id=anonymous_id,
        original_at=original_at,
        sent_at=sent_at,
        received_at=received_at,
        event_at=event_at,
        known_at=event_at if reading.origin is Origin.IMPORT else received_at,
        ingested_at=reading.received_at,
        origin=reading.origin,
        properties=properties,
        traits=traits,
        context=context,
        previous_id=previous_id,
        group_id=group_id,
        flags=flags,
    )


def read_instant(value: Any, field: str) -> tuple[datetime, bool]:
    """(aware UTC instant, whether a zone was missing) of ISO 8601 text or a number since 1970. Raises Refused."""
    try:
        if type(value) is str:
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                at = datetime.fromisoformat(value.strip().upper())
            if at.tzinfo is UTC:
                return at, False
            if at.tzinfo is None:
                return at.replace(tzinfo=UTC), True
            return at.astimezone(UTC), False
        if type(value) is int or type(value) is float:
            seconds = value / 1000 if abs(value) >= _MS_FROM else value
            return EPOCH + timedelta(microseconds=round(seconds * 1_000_000)), False
    except (ValueError, OverflowError):
        pass
    raise Refused(
        RefusalCode.TIMESTAMP_INVALID,
        f"{field} '{shown(value)}' is no instant: write ISO 8601 with a zone, like 2026-03-01T18:05:00.000Z",
    )


def _times(
    get: Callable[[str], Any], reading: Reading
) -> tuple[datetime | None, datetime | None, datetime, datetime, tuple[str, ...]]:
    """(original, sent, received, event time, flags) of one item."""
    received_at = now = reading.received_at
    is_import = reading.origin is Origin.IMPORT
    flags: tuple[str, ...] = ()
    field = "timestamp"
    given = get(field)
    if given is None:
        given = get(field := "originalTimestamp")
    original_at = sent_at = None
    if (sent := get("sentAt")) is not None:
        try:
            sent_at, _ = read_instant(sent, "sentAt")
        except Refused:
            flags = ("sent_at_ignored",)
    if is_import and (received := get("receivedAt")) is not None:
        received_at = min(read_instant(received, "receivedAt")[0], now)
    if given is None:
        if is_import:
            raise Refused(
                RefusalCode.TIMESTAMP_MISSING, "timestamp is missing: an imported event must say when it happened"
            )
        return None, sent_at, received_at, received_at, flags
    original_at, is_naive = read_instant(given, field)
    if is_naive:
        flags = (*flags, "no_zone")
    corrected = original_at
    if sent_at is not None and not (is_import and get("receivedAt") is None):
        try:
            corrected = received_at - (sent_at - original_at)
        except OverflowError:  # clocks thousands of years apart: take the caller's word, bounded below
            flags = (*flags, "sent_at_ignored")
    if corrected > received_at:
        if corrected - received_at > FUTURE_AFTER:
            flags = (*flags, "future")
        event_at = received_at
    else:
        event_at = corrected
    if event_at < EPOCH:
        raise Refused(RefusalCode.BEFORE_1970, f"{field} '{shown(given)}' lies before 1970: correct the sender's clock")
    if reading.retention is not None and not is_import and event_at < now - reading.retention:
        raise Refused(
            RefusalCode.BEYOND_RETENTION,
            f"{field} '{shown(given)}' is older than {reading.retention.days} days: import history from a file instead",
        )
    return original_at, sent_at, received_at, event_at, flags


def _kind(value: Any) -> EventKind:
    kind = _KINDS.get(value) if type(value) is str else None
    if kind is None:
        raise Refused(
            RefusalCode.TYPE_UNKNOWN, f"type '{shown(value)}' is none of track, identify, page, screen, group, alias"
        )
    return kind


def _id(value: Any, field: str, limit: int = MAX_ID) -> str | None:
    """Text of an id, null when it is missing or empty."""
    if value is None or value == "":
        return None
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise Refused(RefusalCode.WRONG_TYPE, f"{field} must be text (or a whole number), not {_kind_of(value)}")
    if len(value) > limit:
        raise Refused(RefusalCode.ID_TOO_LONG, f"{field} has {len(value)} characters: send at most {limit}")
    return value


def _needed(value: Any, field: str, what: str) -> str:
    found = _id(value, field)
    if found is None:
        raise Refused(RefusalCode.ID_MISSING, f"{field} is missing: send {what}")
    return found


def _bad_name(name: Any) -> Refused:
    if name is None or name == "":
        return Refused(RefusalCode.EVENT_MISSING, "event is missing: send the event's name, like 'Product Added'")
    if type(name) is not str:
        return Refused(RefusalCode.WRONG_TYPE, f"event must be text, not {_kind_of(name)}")
    return Refused(RefusalCode.NAME_TOO_LONG, f"event has {len(name)} characters: send at most {MAX_NAME}")


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if value is None:
        return _EMPTY
    if type(value) is not dict:
        raise Refused(RefusalCode.WRONG_TYPE, f"{field} must be an object, not {_kind_of(value)}")
    return value


def _kind_of(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
