"""The shape of triggers: kinds are worked out, keys belong to kinds, and faults say what to write instead."""

from datetime import UTC, datetime

import pytest

from opportune.domain.items import Item
from opportune.playbook.kinds import ITEM_FIELDS
from opportune.playbook.load import Playbook, PlaybookInvalid, load_files
from opportune.playbook.triggers import KEYS, KINDS, Trigger
from opportune.triggers.news import item_to_dict

A, B = {"event": "A"}, {"event": "B"}
MINIMAL = {
    "event": {"on": A},
    "absence": {"on": A, "unless": B, "wait": "1h"},
    "sequence": {"steps": [A, B], "in": "2d"},
    "threshold": {"on": [A, B], "at_least": 3, "in": "24h"},
    "date": {"date": "traits.birthday", "every": "year"},
    "inactivity": {"inactive_for": "30d"},
    "replenishment": {"on": A, "window": "5d"},
    "score": {"score": "churn", "above": 0.7},
    "audience": {"entered": "vip"},
    "milestone": {"milestone": "features.orders_n_all", "levels": [5, 10]},
    "catalogue": {"change": "price_drop"},
    "transactional": {"kind": "transactional", "on": A},
    "request": {},
}


def test_every_kind_has_its_keys() -> None:
    """The table of keys and the list of kinds are one."""
    assert tuple(KEYS) == KINDS
    assert set(MINIMAL) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_told_by_its_keys_and_survives_being_stored(kind: str) -> None:
    """A stored playbook writes every key; reading it back gives the same trigger."""
    trigger = Trigger.model_validate(MINIMAL[kind])
    assert trigger.kind == kind
    assert Trigger.model_validate(trigger.model_dump(mode="json", by_alias=True)) == trigger


def loaded(trigger: str) -> Playbook:
    return load_files({"p.yaml": f"audiences: {{vip: traits.vip}}\ntriggers:\n  t: {trigger}\n".encode()})


@pytest.mark.parametrize(
    ("trigger", "advice"),
    [
        ("{on: {event: A}, wait: 1h}", "`wait` belongs to absence (with `unless`) triggers; this one is of kind event"),
        ("{on: {event: A}, at_least: 3}", "needs `on`, `at_least` and `in`: add `in`"),
        ("{on: {event: A}, at_least: 2.5, in: 1h}", "write a whole number"),
        ("{on: [{event: A, key: properties.x}, {event: B}], at_least: 3, in: 1h}", "a key, or none"),
        ("{steps: {event: A}, in: 1h}", "at least two `steps`"),
        ("{steps: [{event: A}, {event: B}], in: 0s}", "triggers.t.in: nothing happens within no time"),
        ("{date: traits.birthday}", "say `every: year` for a birthday"),
        ("{date: birthday, every: year}", "`birthday` is not where a day stands"),
        ("{date: properties.ends, every: once}", "`on` says which event carries the day"),
        ("{date: traits.x, first: {event: A}, every: year}", "one of `date`, `first` and `occasion`"),
        ("{date: traits.x, every: once, before: 12h}", "whole days, like 7d"),
        ("{first: {event: A}, every: once, before: 7d}", "before it happens"),
        ("{occasion: xmas}", "unknown occasion `xmas`: none is declared"),
        ("{occasion: xmas, every: year}", "`every` stands in the occasion itself"),
        ("{score: churm, above: 0.7}", "unknown score `churm`; did you mean `churn`?"),
        ("{score: churn, above: 0.7, rearm_below: 0.8}", "`rearm_below` is above `above`"),
        ("{score: churn, above: 7}", "less than or equal to 1"),
        ("{entered: vpi}", "unknown audience `vpi`; did you mean `vip`?"),
        ("{entered: vip, left: vip}", "needs `entered` or `left`"),
        ("{milestone: features.orders_n_al, levels: [5]}", "unknown feature `orders_n_al`"),
        ("{milestone: orders, levels: [5]}", "`orders` is not a value"),
        ("{milestone: features.orders_n_all, levels: [10, 5]}", "`levels` go up"),
        ("{milestone: features.orders_n_all, levels: [5, gold]}", "all numbers or all texts"),
        ("{milestone: properties.points, levels: [5]}", "`on` says which event carries the value"),
        ("{milestone: features.orders_n_all, levels: [gold]}", "feature `orders_n_all` is a number, `gold` is not"),
        ("{milestone: features.lifecycle_stage, levels: [3]}", "feature `lifecycle_stage` is a text, `3` is not"),
        ("{change: price_drop, when: item.prise > 3}", "unknown field `prise` of an item; did you mean `price`?"),
        ("{change: price_drop, when: item.colour == 'red'}", "your own stand below `item.attributes`"),
        ("{change: price_drop, when: item.price > 'a'}", "a number is never comparable with a text"),
        ("{inactive_for: 999999d}", "longer than a hundred years"),
        ("{change: back_in_stock, at_least: 0.1}", "for `change: price_drop`"),
        ("{inactive_for: 0s}", "inactivity needs time to show"),
        ("{kind: request, on: {event: A}}", "this one is of kind request"),
    ],
)
def test_a_trigger_that_cannot_work_says_so_with_its_place(trigger: str, advice: str) -> None:
    """The line, the place and what to write."""
    with pytest.raises(PlaybookInvalid) as refused:
        loaded(trigger)
    said = [str(p) for p in refused.value.problems]
    assert any(line.startswith("p.yaml:3: triggers.t") and advice in line for line in said), said


def test_an_item_where_none_is_known_is_a_warning() -> None:
    """Conditions of other kinds of trigger read null there; a catalogue trigger, and own attributes, are fine."""
    assert any("always null" in str(w) for w in loaded("{on: {event: A}, when: item.price > 3}").warnings)
    fine = loaded("{change: price_drop, when: item.price > 3 and item.attributes.brand == 'x'}")
    assert not any("always null" in str(w) for w in fine.warnings)
    assert set(item_to_dict(Item(item_id="p1", updated_at=datetime.now(UTC)))) == set(ITEM_FIELDS)


@pytest.mark.parametrize(
    ("block", "advice"),
    [
        ("occasions: {x: {on: 25-12}}", "`25-12` is not a day: write 12-25 for every year"),
        ("occasions: {x: {}}", "an occasion needs `on`"),
        ("audiences: {x: event.total > 3}", "`event` is not known at this point"),
        ("audiences: {x: features.oders > 3}", "unknown feature `oders`"),
        ("audiences: {x: audience.y, y: traits.a}", "`audience` is not known at this point"),
    ],
)
def test_calendars_and_audiences_are_checked_when_loaded(block: str, advice: str) -> None:
    """Days that are none, and conditions that cannot be asked of a customer."""
    with pytest.raises(PlaybookInvalid, match=advice):
        load_files({"p.yaml": block.encode()})
