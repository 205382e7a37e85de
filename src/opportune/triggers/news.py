"""News of the catalogue: which triggers a change sets off, what the messages may say of it, and whether it is still so.
Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from opportune.domain.instants import format_instant
from opportune.domain.items import Item, ItemChange
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger

MAX_PAYLOAD_BYTES = 8 * 1024


def rules_for(change: ItemChange, playbook: Playbook, now: datetime) -> list[str]:
    """Names of the triggers a change sets off at `now`, sorted; none for a change too old to speak of."""
    return [
        name
        for name, trigger in sorted(playbook.spec.triggers.items())
        if trigger.kind == "catalogue" and sets_off(change, trigger) and _is_open(change.at, trigger, now)
    ]


def _is_open(at: datetime, trigger: Trigger, now: datetime) -> bool:
    started = trigger.starts_at is None or at >= trigger.starts_at
    running = trigger.ends_at is None or at < trigger.ends_at
    return started and running and at + trigger.delay + trigger.expires_after > now


def sets_off(change: ItemChange, trigger: Trigger) -> bool:
    """Whether a change is of the kind a trigger speaks of. What cannot be bought is no news."""
    if not change.is_available:
        return False
    if trigger.change == "new_arrival":
        return change.is_new
    if trigger.change == "back_in_stock":
        return not change.is_new and not change.was_available
    if trigger.change == "low_stock":
        was_more = change.old_stock is None or change.old_stock > trigger.at_most or not change.was_available
        return not change.is_new and was_more and _is_low(change.stock, trigger)
    return _has_dropped(change.old_price_minor, change.price_minor, trigger)


def _has_dropped(old: int | None, new: int | None, trigger: Trigger) -> bool:
    if old is None or new is None or new >= old:
        return False
    return old - new >= old * (trigger.at_least or 0)


def _is_low(stock: int | None, trigger: Trigger) -> bool:
    return stock is not None and 0 < stock <= trigger.at_most


def subject_of(change: ItemChange, trigger: Trigger) -> str | None:
    """Interest in what makes a customer hear of it; null: in nothing (a new item without category)."""
    if trigger.change != "new_arrival":
        return f"i:{change.item_id}"
    return f"c:{change.category}" if change.category else None


def payload_of(change: ItemChange, item: Item, trigger: Trigger) -> dict[str, Any]:
    """What conditions and content may read: `event.*` with old and new price and stock, and `item.*`."""
    said = {"change": trigger.change, "change_id": change.change_id, "product_id": item.item_id, **prices_of(change)}
    return _fitting({**said, "category": item.category, "item": item_to_dict(item)})


def payload_now(payload: Mapping[str, Any], item: Item | None, trigger: Trigger) -> dict[str, Any] | None:
    """The payload with the item as it is now; null when the news is no longer true: dearer again, sold out, gone."""
    if item is None or not item.is_available:
        return None
    old = payload.get("old_price_minor")
    if trigger.change == "price_drop" and not _has_dropped(old, item.price_minor, trigger):
        return None
    if trigger.change == "low_stock" and not _is_low(item.stock, trigger):
        return None
    prices = {"price_minor": item.price_minor, "price": major(item.price_minor), "stock": item.stock}
    return _fitting({**payload, **prices, "category": item.category, "item": item_to_dict(item)})


def item_to_dict(item: Item) -> dict[str, Any]:
    """An item in the shape of the API, and of `item` in conditions and templates."""
    return {
        "item_id": item.item_id,
        "price_minor": item.price_minor,
        "price": major(item.price_minor),
        "stock": item.stock,
        "category": item.category,
        "title": item.title,
        "url": item.url,
        "image_url": item.image_url,
        "attributes": dict(item.attributes),
        "is_active": item.is_active,
        "is_available": item.is_available,
        "updated_at": format_instant(item.updated_at),
    }


def prices_of(change: ItemChange) -> dict[str, Any]:
    """Old and new price and stock of a change. Prices also in major units, for the words of a message."""
    return {
        "old_price_minor": change.old_price_minor,
        "price_minor": change.price_minor,
        "old_price": major(change.old_price_minor),
        "price": major(change.price_minor),
        "old_stock": change.old_stock,
        "stock": change.stock,
    }


def major(minor: int | None) -> float | None:
    """Minor units as major ones; null stays null."""
    return None if minor is None else minor / 100


def _fitting(payload: dict[str, Any]) -> dict[str, Any]:
    """Without the item's own attributes where these would make it too large."""
    if len(orjson.dumps(payload)) > MAX_PAYLOAD_BYTES:
        payload["item"]["attributes"] = {}
    return payload
