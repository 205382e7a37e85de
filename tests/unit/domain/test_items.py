"""Items: updates in any order, changes, and what is refused."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from opportune.domain.item_updates import ItemRefused, read_update
from opportune.domain.items import Item, ItemUpdate, update_item, update_items

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def say(minute: int, **fields: Any) -> ItemUpdate:
    return ItemUpdate(item_id="p1", at=T0 + timedelta(minutes=minute), fields=fields)


def test_updates_give_the_same_item_in_any_order() -> None:
    """Field by field the newest wins; what an update leaves out stays, null clears."""
    said = [
        say(1, price_minor=100, stock=5),
        say(2, stock=0),
        say(3, price_minor=80, category="x"),
        say(4, category=None),
    ]
    found = []
    for order in permutations(said):
        item: Item | None = None
        for update in order:
            item = update_item(item, update)
        found.append(item)
    assert all(item == found[0] for item in found)
    assert found[0] is not None
    assert (found[0].price_minor, found[0].stock, found[0].category) == (80, 0, None)
    assert found[0].updated_at == T0 + timedelta(minutes=4)


def test_changes_tell_old_and_new_and_only_what_is_new() -> None:
    """A late, older update and a repeated one change nothing; a first one is a new item."""
    items, changes = update_items({}, [say(1, price_minor=100, stock=3), say(5, price_minor=80)], T0)
    assert [(c.is_new, c.old_price_minor, c.price_minor) for c in changes] == [(True, None, 100), (False, 100, 80)]
    after, later = update_items(items, [say(3, price_minor=90), say(5, price_minor=80), say(6, title="A")], T0)
    assert later == []
    assert after["p1"].price_minor == 80
    _, gone = update_items(after, [say(7, stock=0), say(8, stock=2)], T0)
    assert [(c.was_available, c.is_available) for c in gone] == [(True, False), (False, True)]
    assert len({c.change_id for c in [*changes, *gone]}) == 4


@pytest.mark.parametrize(
    ("data", "field", "code"),
    [
        ([], None, "not_an_object"),
        ({}, "item_id", "missing"),
        ({"item_id": ""}, "item_id", "bad_length"),
        ({"item_id": "p", "colour": "red"}, "colour", "unknown_field"),
        ({"item_id": "p", "price_minor": 19.9}, "price_minor", "wrong_type"),
        ({"item_id": "p", "price_minor": -1}, "price_minor", "out_of_range"),
        ({"item_id": "p", "price_minor": True}, "price_minor", "wrong_type"),
        ({"item_id": "p", "price": "dear"}, "price", "wrong_type"),
        ({"item_id": "p", "price": 1, "price_minor": 100}, "price", "given_twice"),
        ({"item_id": "p", "stock": "many"}, "stock", "wrong_type"),
        ({"item_id": "p", "category": 7}, "category", "wrong_type"),
        ({"item_id": "p", "title": "a\x00b"}, "title", "bad_length"),
        ({"item_id": "p", "url": "x" * 2001}, "url", "bad_length"),
        ({"item_id": "p", "attributes": []}, "attributes", "wrong_type"),
        ({"item_id": "p", "attributes": {"a": 1e999}}, "attributes", "number_out_of_range"),
        ({"item_id": "p", "is_active": "yes"}, "is_active", "wrong_type"),
        ({"item_id": "p", "updated_at": "soon"}, "updated_at", "bad_instant"),
        ({"item_id": "p", "updated_at": "2026-03-02T00:00:00Z"}, "updated_at", "in_the_future"),
        ({"item_id": "p", "updated_at": "1969-03-02T00:00:00Z"}, "updated_at", "out_of_range"),
    ],
)
def test_a_refusal_names_the_field(data: Any, field: str | None, code: str) -> None:
    """With a stable code and words that say what to do."""
    with pytest.raises(ItemRefused) as refused:
        read_update(data, T0)
    assert (refused.value.field, refused.value.code) == (field, code)
    assert refused.value.message


def test_what_is_given_is_what_is_set() -> None:
    """Major units become minor ones; oversold is sold out; null clears; a missing instant is now."""
    update = read_update({"item_id": 7, "price": "19.90", "stock": -2, "category": None}, T0)
    assert update == ItemUpdate(item_id="7", at=T0, fields={"price_minor": 1990, "stock": 0, "category": None})
    assert read_update({"price": None}, T0, "p7").fields == {"price_minor": None}
