"""Reading what a caller asks, by hand: fast, and every complaint names its field and what to do.

The documented models in `models.py` describe the same shapes; a test keeps the two in agreement by examples.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from opportune.api.problems import Refusal, bad, short
from opportune.api.wire import clean_object
from opportune.domain.decisions import Ask
from opportune.domain.instants import EPOCH, parse_instant
from opportune.domain.messages import Deliver
from opportune.playbook.load import Playbook
from opportune.playbook.values import Channel

#: A caller's "now" may differ from ours by this much and still mean now.
NOW_WITHIN = timedelta(seconds=5)
MAX_ID, MAX_MESSAGES, MAX_BATCH = 256, 20, 1000
CHANNELS: tuple[str, ...] = get_args(Channel)
_CHANNELS = frozenset(CHANNELS)
ASK_FIELDS = frozenset(
    ("customer_id", "at", "channels", "trigger", "context", "max_messages", "deliver", "dry_run", "explain")
)
_SHARED_FIELDS = ASK_FIELDS - {"customer_id"}
_DELIVER = {d.value: d for d in Deliver}


def read_ask(data: object, playbook: Playbook, now: datetime, where: str = "") -> Ask:
    """One ask. `where` prefixes field names (`customers[3].`). Raises Refusal 422."""
    if not isinstance(data, Mapping):
        raise bad(where.rstrip(".") or None, "not_an_object", f"{where.rstrip('.') or 'the body'} must be an object")
    if not data.keys() <= ASK_FIELDS:
        raise unknown_fields(data, ASK_FIELDS, where)
    get = data.get
    if (customer_id := get("customer_id")) is None:
        raise bad(f"{where}customer_id", "missing", "customer_id is required: the customer to decide for")
    dry_run = read_flag(get("dry_run"), f"{where}dry_run")
    at = get("at")
    trigger, context, deliver = get("trigger"), get("context"), get("deliver")
    return Ask(
        customer_id=read_id(customer_id, f"{where}customer_id"),
        at=None if at is None else read_decision_at(at, now, dry_run, f"{where}at"),
        channels=read_channels(get("channels"), f"{where}channels"),
        trigger=None if trigger is None else read_trigger(trigger, playbook, f"{where}trigger"),
        context={} if context is None else read_context(context, f"{where}context"),
        max_messages=read_count(get("max_messages"), f"{where}max_messages"),
        deliver=Deliver.CALLER if deliver is None else read_deliver(deliver, f"{where}deliver"),
        dry_run=dry_run,
        explain=read_flag(get("explain"), f"{where}explain"),
    )


def read_asks(data: Mapping[str, Any], playbook: Playbook, now: datetime) -> list[Ask | Refusal]:
    """The asks of a batch in order, a Refusal in the place of each that cannot be read.

    Members beside `customers` hold for every customer that does not say otherwise. Raises Refusal 422 when
    they, or `customers` itself, cannot be read.
    """
    if not data.keys() <= _SHARED_FIELDS | {"customers"}:
        raise unknown_fields(data, _SHARED_FIELDS | {"customers"}, "")
    customers = data.get("customers")
    if not isinstance(customers, list) or not customers:
        raise bad("customers", "missing", 'customers is required: a list like [{"customer_id": "c42"}]')
    if len(customers) > MAX_BATCH:
        raise bad("customers", "too_many", f"customers has {len(customers)} entries; at most {MAX_BATCH} at a time")
    shared = {k: v for k, v in data.items() if k != "customers"}
    read_ask({**shared, "customer_id": "-"}, playbook, now)  # what is wrong for all is refused as a whole
    asks: list[Ask | Refusal] = []
    for i, item in enumerate(customers):
        try:
            mixed = {**shared, **item} if isinstance(item, dict) else item
            asks.append(read_ask(mixed, playbook, now, f"customers[{i}]."))
        except Refusal as refusal:
            asks.append(refusal)
    return asks


def read_id(value: object, field: str) -> str:
    """A customer id: a string of 1 to 256 characters, or a whole number turned into one."""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise bad(field, "wrong_type", f"{field} must be a string, not {kind(value)}")
    if not 0 < len(value) <= MAX_ID:
        raise bad(field, "bad_length", f"{field} must have 1 to {MAX_ID} characters; it has {len(value)}")
    if not value.isascii() or "\x00" in value:
        if "\x00" in value:
            raise bad(field, "nul_character", f"{field} holds a NUL character: remove it")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise bad(field, "lone_surrogate", f"{field} holds half a surrogate pair: send valid Unicode")
    return value


def read_instant(value: object, field: str) -> datetime:
    """An ISO 8601 instant from 1970 on; without an offset it is UTC."""
    if not isinstance(value, str):
        raise bad(
            field, "wrong_type", f"{field} must be an ISO 8601 instant like 2026-03-01T18:05:00Z, not {kind(value)}"
        )
    try:
        at = parse_instant(value)
    except (ValueError, OverflowError):
        raise bad(
            field, "bad_instant", f"{field} is not an instant: '{short(value)}'; write it like 2026-03-01T18:05:00Z"
        ) from None
    if at < EPOCH:
        raise bad(field, "out_of_range", f"{field} lies before 1970")
    return at


def read_past(value: object, now: datetime, field: str) -> datetime | None:
    """An instant not later than now; null when it is now (to within 5 s) or not given."""
    if value is None:
        return None
    at = read_instant(value, field)
    if at > now + NOW_WITHIN:
        raise bad(field, "in_the_future", f"{field} lies in the future: it is {now.astimezone(UTC).isoformat()} here")
    return None if at > now - NOW_WITHIN else at


def read_decision_at(value: object, now: datetime, dry_run: bool, field: str) -> datetime | None:
    """`at` of an ask: now (null), or with dry_run an earlier instant, exactly as given."""
    at = read_instant(value, field)
    if not dry_run:
        if abs(at - now) > NOW_WITHIN:
            raise bad(
                field, "at_needs_dry_run", f"{field} other than now is only answered with dry_run: true; leave it out"
            )
        return None
    if at > now + NOW_WITHIN:
        raise bad(field, "in_the_future", f"{field} lies in the future: it is {now.astimezone(UTC).isoformat()} here")
    return None if at > now else at


def read_channels(value: object, field: str) -> tuple[str, ...] | None:
    """Channels asked for, without repeats; null: any."""
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise bad(
            field,
            "wrong_type",
            f"{field} must be a list with at least one of {', '.join(CHANNELS)}; leave it out for any",
        )
    for i, channel in enumerate(value):
        if not isinstance(channel, str) or channel not in _CHANNELS:
            raise bad(
                f"{field}[{i}]", "unknown_channel", f"'{short(channel)}' is no channel: use {', '.join(CHANNELS)}"
            )
    return tuple(dict.fromkeys(value))


def read_trigger(value: object, playbook: Playbook, field: str) -> str:
    """The name of a trigger of the playbook."""
    if not isinstance(value, str):
        raise bad(field, "wrong_type", f"{field} must be the name of a trigger, not {kind(value)}")
    if value not in playbook.spec.triggers:
        known = ", ".join(sorted(playbook.spec.triggers)) or "none"
        raise bad(field, "unknown_trigger", f"the playbook has no trigger '{short(value)}'; it has: {known}")
    return value


def read_context(value: object, field: str) -> dict[str, Any]:
    """What conditions may read as `context.*`: an object, cleaned as events are."""
    if not isinstance(value, dict):
        raise bad(field, "wrong_type", f'{field} must be an object like {{"cart_value": 80}}, not {kind(value)}')
    return clean_object(value, field) if value else {}


def read_count(value: object, field: str) -> int | None:
    """`max_messages`: 1 to 20; null: the playbook's default."""
    if value is None:
        return None
    if type(value) is not int:
        raise bad(field, "wrong_type", f"{field} must be a whole number, not {kind(value)}")
    if not 1 <= value <= MAX_MESSAGES:
        raise bad(field, "out_of_range", f"{field} must be from 1 to {MAX_MESSAGES}; it is {short(value)}")
    return value


def read_deliver(value: object, field: str) -> Deliver:
    """Who sends: `caller` or `service`."""
    found = _DELIVER.get(value) if isinstance(value, str) else None
    if found is None:
        raise bad(field, "unknown_value", f"{field} must be 'caller' or 'service', not '{short(value)}'")
    return found


def read_flag(value: object, field: str) -> bool:
    """true or false; null: false."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise bad(field, "wrong_type", f"{field} must be true or false, not {kind(value)}")
    return value


def unknown_fields(data: Mapping[str, Any], known: frozenset[str], where: str) -> Refusal:
    """422 for the first member that is not known here."""
    name = short(min(str(k) for k in data.keys() - known))
    return bad(f"{where}{name}", "unknown_field", f"'{name}' is not known here; known are {', '.join(sorted(known))}")


def kind(value: object) -> str:
    """A JSON value's type in plain words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
