"""Ledger contract: items, interest in them, signs of life of sources."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tests.contract.ledger_samples import T0, at

from opportune.domain.items import Item, ItemChange
from opportune.ports import Interest, Ledger

ITEM = Item(
    item_id="p1", updated_at=T0, price_minor=1990, stock=0, category="Shöes", title="A", url="https://shop.example/p1",
    image_url=None, attributes={"sizes": [36, 37], "b": None}, is_active=False, stamps={"price_minor": 5, "stock": 7},
)  # fmt: skip


def a_change(change_id: str, item_id: str = "p1", minutes: float = 0) -> ItemChange:
    return ItemChange(
        change_id=change_id, item_id=item_id, at=at(minutes), recorded_at=at(minutes + 1), is_new=False, category=None,
        old_price_minor=2000, price_minor=None, old_stock=None, stock=3, was_available=False, is_available=True,
    )  # fmt: skip


def test_an_item_comes_back_as_it_was_put(ledger: Ledger) -> None:
    """Every field, nulls and stamps included; putting it again replaces it; unknown ids are left out."""
    plain = Item(item_id="p2", updated_at=at(1))
    with ledger.begin() as work:
        work.items.put([ITEM, plain])
        assert work.items.get(["p1", "p2", "p3"]) == {"p1": ITEM, "p2": plain}
        work.items.put([replace(ITEM, price_minor=5, stamps={})])
        assert work.items.get(["p1"])["p1"] == replace(ITEM, price_minor=5, stamps={})
        assert work.items.get([]) == {}


def test_changes_are_kept_once_and_read_newest_first(ledger: Ledger) -> None:
    """By arrival, per item; a known change id is ignored."""
    with ledger.begin() as work:
        work.items.add_changes([a_change("a", minutes=9), a_change("b", minutes=1), a_change("x", "p2")])
        work.items.add_changes([a_change("a", minutes=50)])
        assert work.items.change("a") == a_change("a", minutes=9)
        assert work.items.change("zz") is None
        assert [it.change_id for it in work.items.changes_of("p1", 9)] == ["b", "a"]
        assert [it.change_id for it in work.items.changes_of("p1", 1)] == ["b"]


def test_how_far_a_change_was_told_moves_only_from_where_it_stands(ledger: Ledger) -> None:
    """So that two workers never tell the same page."""
    with ledger.begin() as work:
        work.items.add_changes([a_change("a")])
        assert work.items.cursor("a") == ""
        assert work.items.move_cursor("a", "", "u:5")
        assert not work.items.move_cursor("a", "", "u:9")
        assert work.items.cursor("a") == "u:5"
        assert work.items.cursor("zz") is None
        assert not work.items.move_cursor("zz", "", "u:9")


def test_interest_keeps_the_later_instant(ledger: Ledger) -> None:
    """Whatever the order in which events are noted, twice in one batch included."""

    def seen(minutes: float, who: str = "u:1", name: str = "Product Viewed") -> Interest:
        return Interest("i:p1", who, name, at(minutes))

    with ledger.begin() as work:
        work.interests.note([seen(5), seen(9), seen(7)])
        work.interests.note([seen(8), seen(1, name="Order Completed"), seen(1, "a:2")])
        assert set(work.interests.of("i:p1", ["u:1", "u:9"])) == {seen(9), seen(1, name="Order Completed")}
        assert work.interests.of("i:p2", ["u:1"]) == []
        assert work.interests.of("i:p1", []) == []


def test_who_is_interested_is_read_in_pages(ledger: Ledger) -> None:
    """Each identity once, in order of its key, with one of the events asked for since an instant."""
    with ledger.begin() as work:
        work.interests.note([Interest("c:shoes", f"u:{n}", "Product Viewed", at(n)) for n in range(6)])
        work.interests.note([Interest("c:shoes", f"u:{n}", "Product Added", at(n)) for n in range(6)])
        work.interests.note([Interest("c:hats", "u:1", "Product Added", at(9))])
        names = ["Product Viewed", "Product Added"]
        assert work.interests.page("c:shoes", names, at(1), "", 3) == ["u:1", "u:2", "u:3"]
        assert work.interests.page("c:shoes", names, at(1), "u:3", 3) == ["u:4", "u:5"]
        assert work.interests.page("c:shoes", ["Order Completed"], at(1), "", 3) == []


def test_old_interest_is_found_and_dropped_unless_it_was_noted_again(ledger: Ledger) -> None:
    """As many rows as asked for; a row that has become newer in between stays."""
    rows = [Interest("i:p1", f"u:{n}", "Product Viewed", at(n)) for n in range(4)]
    with ledger.begin() as work:
        work.interests.note(rows)
        assert sorted(work.interests.older(at(2), 9)) == rows[:2]
        assert len(work.interests.older(at(3), 1)) == 1
        work.interests.note([rows[1]._replace(last_at=at(8))])
        work.interests.drop(rows[:2])
        assert sorted(work.interests.of("i:p1", [r.id_key for r in rows])) == [
            rows[1]._replace(last_at=at(8)), *rows[2:]
        ]  # fmt: skip


def test_signs_of_life_add_up_by_minute(ledger: Ledger) -> None:
    """Also twice in one batch; sources are apart; what is old is dropped on request."""
    minutes: list[datetime] = [T0.replace(second=0, microsecond=0, minute=n) for n in (1, 2, 3)]
    with ledger.begin() as work:
        work.sources.count("shop", [(minutes[0], 2), (minutes[2], 1), (minutes[2], 4)])
        work.sources.count("shop", [(minutes[0], 1)])
        work.sources.count("app", [(minutes[1], 1)])
        assert work.sources.minutes("shop", minutes[0]) == [(minutes[0], 3), (minutes[2], 5)]
        assert work.sources.minutes("shop", minutes[1]) == [(minutes[2], 5)]
        assert work.sources.newest("shop", minutes[2]) == minutes[0]
        assert work.sources.newest("shop", minutes[0]) is None
        work.sources.forget_before(minutes[2])
        assert work.sources.minutes("shop", minutes[0]) == [(minutes[2], 5)]
        assert work.sources.minutes("app", minutes[0]) == []


def test_what_is_not_committed_is_not_seen(open_ledger: Callable[[], Ledger]) -> None:
    """Item and change come together or not at all."""
    with open_ledger().begin(["item:p1"]) as work:
        work.items.put([ITEM])
        work.items.add_changes([a_change("a")])
        with open_ledger().read() as other:
            assert other.items.get(["p1"]) == {}
            assert other.items.change("a") is None
    with open_ledger().read() as other:
        assert other.items.get(["p1"]) == {"p1": ITEM}
        assert other.items.change("a") == a_change("a")
