"""Kinds of values in conditions, and what it means to be equal or to be contained. Kinds never mix."""

from typing import Any

NUMBER, TRUTH, TEXT, LIST, NULL, ANY = "number", "true/false", "text", "list", "null", "any"

#: What may be read of an item, and its kind. Own attributes stand below `attributes`.
ITEM_FIELDS = {
    "item_id": TEXT, "price_minor": NUMBER, "price": NUMBER, "stock": NUMBER, "category": TEXT, "title": TEXT,
    "url": TEXT, "image_url": TEXT, "attributes": ANY, "is_active": TRUTH, "is_available": TRUTH, "updated_at": TEXT,
}  # fmt: skip
#: What to do about a field that items do not have.
OWN_BELOW = "; your own stand below `item.attributes`"


def is_number(value: object) -> bool:
    """True for int and float, not for bool."""
    kind = type(value)
    return kind is float or kind is int or (isinstance(value, int | float) and kind is not bool)


def kind_of(value: object) -> str:
    """The kind a value has in conditions; a mapping has kind `any` and equals only another mapping."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    return LIST if isinstance(value, list | tuple) else ANY


def equal(a: Any, b: Any) -> bool:
    """Equal and of one kind; null equals nothing."""
    return a is not None and kind_of(a) == kind_of(b) and bool(a == b)


def within(value: Any, items: Any, negated: bool) -> bool:
    """Whether `value` is (or, negated, is not) an item; false when either is null or `items` is no list."""
    if value is None or not isinstance(items, list | tuple):
        return False
    return any(equal(value, item) for item in items) is not negated


def contains(whole: Any, part: Any) -> bool:
    """Whether a text has the part in it, or a list the item; false for anything else."""
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    return within(part, whole, False)
