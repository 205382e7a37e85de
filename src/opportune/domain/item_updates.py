"""Reading what a caller or a file says of an item: every complaint names its field and what to do."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from opportune.domain.instants import EPOCH, parse_instant
from opportune.domain.items import FIELDS, ItemUpdate
from opportune.domain.money import MAX_MINOR, to_minor
from opportune.domain.refusals import Refused, check_values, is_clean_text, shown

MAX_ID = 200
MAX_STOCK = 10**9
MAX_TEXT = {"category": 200, "title": 1000, "url": 2000, "image_url": 2000}
MAX_ATTRIBUTES = 200
KNOWN = frozenset((*FIELDS, "item_id", "price", "updated_at"))
#: A caller's clock may be ahead by this much; an update further in the future would shut out all that follow.
AHEAD = timedelta(minutes=5)


class ItemRefused(ValueError):
    """An item that cannot be taken: `field` (null: the whole), a stable `code`, and what to do."""

    def __init__(self, field: str | None, code: str, message: str) -> None:
        super().__init__(message)
        self.field, self.code, self.message = field, code, message


def read_update(data: object, now: datetime, item_id: str | None = None) -> ItemUpdate:
    """One update. `item_id`: as the path names it, else the object does. Raises ItemRefused.

    `updated_at` left out means now. `price` (major units) may stand for `price_minor`.
    """
    if not isinstance(data, Mapping):
        raise ItemRefused(None, "not_an_object", 'an item is an object like {"item_id": "p7", "price_minor": 1990}')
    unknown = sorted(str(name) for name in data if name not in KNOWN)
    if unknown:
        raise ItemRefused(
            shown(unknown[0]),
            "unknown_field",
            f"{shown(unknown[0])} is no field of an item ({', '.join(sorted(KNOWN))}): put your own under attributes",
        )
    said = data.get("item_id")
    if item_id is not None and said is not None and _id(said) != item_id:
        raise ItemRefused("item_id", "id_differs", "item_id differs from the id in the path: leave it out")
    fields = {name: _READ[name](name, data[name]) for name in FIELDS if name in data}
    if data.get("price") is not None:
        if data.get("price_minor") is not None:
            raise ItemRefused("price", "given_twice", "give price (major units) or price_minor, not both")
        fields["price_minor"] = _price("price", to_minor(data["price"]))
    elif "price" in data:
        fields.setdefault("price_minor", None)
    return ItemUpdate(
        item_id=item_id if item_id is not None else _id(said), at=_at(data.get("updated_at"), now), fields=fields
    )


def _id(value: object) -> str:
    if value is None:
        raise ItemRefused("item_id", "missing", "item_id is required: the product_id your events carry")
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise ItemRefused("item_id", "wrong_type", "item_id must be a string or a whole number")
    if not 0 < len(value) <= MAX_ID or not is_clean_text(value):
        raise ItemRefused("item_id", "bad_length", f"item_id must have 1 to {MAX_ID} clean characters")
    return value


def _at(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        if not isinstance(value, str):
            raise ValueError
        at = parse_instant(value)
    except (ValueError, OverflowError):
        raise ItemRefused(
            "updated_at", "bad_instant", f"updated_at is no instant: '{shown(value)}'; write 2026-03-01T18:05:00Z"
        ) from None
    if at < EPOCH:
        raise ItemRefused("updated_at", "out_of_range", "updated_at lies before 1970")
    if at > now + AHEAD:
        raise ItemRefused(
            "updated_at", "in_the_future", "updated_at lies in the future: updates after it would not count"
        )
    return at


def _price(name: str, value: object) -> int | None:
    if value is None:
        if name == "price":
            raise ItemRefused(name, "wrong_type", "price must be a number in major units, like 19.90")
        return None
    if type(value) is not int:
        raise ItemRefused(name, "wrong_type", f"{name} must be a whole number of minor units, like 1990 for 19.90")
    if not 0 <= value <= MAX_MINOR:
        raise ItemRefused(name, "out_of_range", f"{name} must be from 0 to {MAX_MINOR}")
    return value


def _stock(name: str, value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int:
        raise ItemRefused(name, "wrong_type", "stock must be a whole number of pieces; null when it is not counted")
    if value > MAX_STOCK:
        raise ItemRefused(name, "out_of_range", f"stock must be at most {MAX_STOCK}")
    return max(value, 0)  # oversold is sold out


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ItemRefused(name, "wrong_type", f"{name} must be a string")
    if len(value) > MAX_TEXT[name] or not is_clean_text(value):
        raise ItemRefused(name, "bad_length", f"{name} must have at most {MAX_TEXT[name]} clean characters")
    return value or None


def _attributes(name: str, value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ItemRefused(name, "wrong_type", 'attributes must be an object like {"colour": "red"}')
    if len(value) > MAX_ATTRIBUTES:
        raise ItemRefused(name, "too_many", f"attributes has {len(value)} entries; at most {MAX_ATTRIBUTES}")
    try:
        check_values({name: value})
    except Refused as refused:
        raise ItemRefused(name, refused.code.value, refused.message) from None
    return value


def _flag(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ItemRefused(name, "wrong_type", f"{name} must be true or false")


_READ = {
    "price_minor": _price,
    "stock": _stock,
    "category": _text,
    "title": _text,
    "url": _text,
    "image_url": _text,
    "attributes": _attributes,
    "is_active": _flag,
}
