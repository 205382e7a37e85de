"""Items of the catalogue: what can be bought, and how its price and stock changed."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from opportune.domain.instants import to_us

#: What an update may set. A field it leaves out keeps its value; null clears it.
FIELDS = ("price_minor", "stock", "category", "title", "url", "image_url", "attributes", "is_active")
_EMPTY: Mapping[str, Any] = {"attributes": {}, "is_active": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item. `price_minor` in minor units, `stock` in pieces: null when not known. `is_active`: it can be bought.

    `stamps`: field -> microseconds of the update that set it; `updated_at` is the newest of them.
    """

    item_id: str
    updated_at: datetime
    price_minor: int | None = None
    stock: int | None = None
    category: str | None = None
    title: str | None = None
    url: str | None = None
    image_url: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_active: bool = True
    stamps: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_available(self) -> bool:
        """Active and not known to be sold out."""
        return self.is_active and self.stock != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemUpdate:
    """What somebody says of an item as of `at`: the fields that are given, and no others."""

    item_id: str
    at: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """One change of price, stock or availability: a line of the item's history.

    `old_price_minor`, `old_stock`: before it. `is_new`: the item was not known before. `recorded_at`: when it came.
    """

    change_id: str
    item_id: str
    at: datetime
    recorded_at: datetime
    is_new: bool
    category: str | None
    old_price_minor: int | None
    price_minor: int | None
    old_stock: int | None
    stock: int | None
    was_available: bool
    is_available: bool


def update_item(item: Item | None, update: ItemUpdate) -> Item:
    """The item after an update. Field by field the newest `at` wins, whatever the order of arrival; of two equally new
    ones the last to come."""
    before = item or Item(item_id=update.item_id, updated_at=update.at)
    us = to_us(update.at)
    newer = {name: value for name, value in update.fields.items() if us >= before.stamps.get(name, us)}
    values: dict[str, Any] = {name: _EMPTY.get(name) if value is None else value for name, value in newer.items()}
    stamps = {**before.stamps, **dict.fromkeys(newer, us)}
    return replace(before, **values, stamps=stamps, updated_at=max(before.updated_at, update.at))


def change_of(before: Item | None, after: Item, at: datetime, recorded_at: datetime) -> ItemChange | None:
    """What an update changed of price, stock and availability; null when nothing of it."""
    old = None if before is None else (before.price_minor, before.stock, before.is_available)
    new = (after.price_minor, after.stock, after.is_available)
    if old == new:
        return None
    said = "\x00".join(map(str, (after.item_id, to_us(at), to_us(recorded_at), old, new)))
    return ItemChange(
        change_id=hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:32],
        item_id=after.item_id,
        at=at,
        recorded_at=recorded_at,
        is_new=before is None,
        category=after.category,
        old_price_minor=None if before is None else before.price_minor,
        price_minor=after.price_minor,
        old_stock=None if before is None else before.stock,
        stock=after.stock,
        was_available=before is not None and before.is_available,
        is_available=after.is_available,
    )


def update_items(
    items: Mapping[str, Item], updates: Iterable[ItemUpdate], recorded_at: datetime
) -> tuple[dict[str, Item], list[ItemChange]]:
    """Items after updates, in the order given, and every change on the way. Items nobody speaks of are left out."""
    after: dict[str, Item] = {}
    changes = []
    for update in updates:
        before = after.get(update.item_id) or items.get(update.item_id)
        now = update_item(before, update)
        change = change_of(before, now, update.at, recorded_at)
        after[update.item_id] = now
        if change is not None:
            changes.append(change)
    return after, changes
