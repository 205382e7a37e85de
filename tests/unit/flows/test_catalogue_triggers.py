"""Catalogue triggers, as a shop sees them: who hears of what, and who does not."""

from collections.abc import Iterator

import pytest

from opportune.flows.note import forget_interest, note_interest
from opportune.playbook.load import load_files
from opportune.sandboxes import Sandbox, sandbox

from .ingesting import Shop, event

PLAYBOOK = """
topics: {offers: {}}
consent: {default: {"*": in}}
triggers:
  cheaper: {change: price_drop, at_least: 0.1}
  back: {change: back_in_stock}
  last_ones: {change: low_stock, at_most: 3}
  arrived: {change: new_arrival, expires_after: 2h}
campaigns:
  cheaper:
    trigger: cheaper
    topic: offers
    channels: [inapp]
    content: {inapp: {body: "{{ item.title }} was {{ event.old_price | money }}, now {{ event.price | money }}"}}
  back:
    trigger: back
    topic: offers
    channels: [inapp]
    content: {inapp: {body: "{{ item.title }} is back"}}
  last_ones:
    trigger: last_ones
    topic: offers
    channels: [inapp]
    content: {inapp: {body: "{{ item.title }}: only {{ item.stock }} left"}}
  arrived:
    trigger: arrived
    topic: offers
    channels: [inapp]
    content: {inapp: {body: "New in {{ item.category }}: {{ item.title }}"}}
max_messages: 1
"""
SHOE = {"title": "Shoe", "category": "shoes", "price_minor": 10000, "stock": 9}


@pytest.fixture
def shop() -> Iterator[Sandbox]:
    """A shop with one shoe, which ann and bob looked at, and ann put into her cart."""
    with sandbox(PLAYBOOK) as box:
        box.item("p1", **SHOE)
        for who in ("ann", "bob"):
            box.track(who, "Product Viewed", product_id="p1", category="shoes")
        box.track("ann", "Product Added", product_id="p1")
        box.track("eve", "Product Viewed", product_id="p2")
        yield box


def said(box: Sandbox) -> list[tuple[str, str]]:
    """(customer, words) of what was handed over, sorted."""
    return sorted((m.customer_id, m.content["body"]) for m in box.messages)


def test_a_price_drop_reaches_those_interested_with_old_and_new_price(shop: Sandbox) -> None:
    """Once each, however they showed it; nobody else; a drop below the share is none."""
    shop.item("p1", price_minor=9500)
    assert said(shop) == []
    shop.item("p1", price_minor=7000)
    assert said(shop) == [(who, "Shoe was 95.00, now 70.00") for who in ("ann", "bob")]
    shop.item("p1", price_minor=7000)
    shop.item("p1", price_minor=9000)
    assert len(said(shop)) == 2


def test_back_in_stock_and_low_stock(shop: Sandbox) -> None:
    """From 0 to some, and from many to few; each change speaks once; sold out is no news."""
    shop.item("p1", stock=0)
    assert said(shop) == []
    shop.item("p1", stock=50)
    assert said(shop) == [("ann", "Shoe is back"), ("bob", "Shoe is back")]
    shop.item("p1", stock=3)
    shop.item("p1", stock=2)
    assert [text for who, text in said(shop) if who == "bob"] == ["Shoe is back", "Shoe: only 3 left"]


def test_a_new_item_reaches_those_who_like_its_category(shop: Sandbox) -> None:
    """Whether they looked or ordered; an item without category, or one that cannot be bought, reaches nobody."""
    shop.track("dan", "Order Completed", products=[{"product_id": "p9", "category": "shoes"}])
    shop.item("p3", title="Boot", category="shoes", price_minor=100)
    assert said(shop) == [(who, "New in shoes: Boot") for who in ("ann", "bob", "dan")]
    shop.item("p4", title="Thing", price_minor=100)
    shop.item("p5", title="Sandal", category="shoes", stock=0)
    assert len(shop.messages) == 3


def test_an_order_ends_the_interest_and_looking_again_begins_it(shop: Sandbox) -> None:
    """Only in the items of the order."""
    shop.advance("1h")
    shop.track("ann", "Order Completed", products=[{"product_id": "p1"}])
    shop.track("bob", "Order Completed", products=[{"product_id": "p2"}])
    shop.item("p1", price_minor=5000)
    assert [who for who, _ in said(shop)] == ["bob"]
    shop.advance("1h")
    shop.track("ann", "Product Viewed", product_id="p1")
    shop.item("p1", price_minor=3000)
    assert [who for who, _ in said(shop)] == ["ann", "bob", "bob"]


def test_interest_expires(shop: Sandbox) -> None:
    """After 90 days, to the instant."""
    shop.advance("89d")
    shop.track("bob", "Product Clicked", product_id="p1")
    shop.advance("1d")
    shop.item("p1", price_minor=5000)
    assert [who for who, _ in said(shop)] == ["bob"]


def test_interest_of_an_anonymous_visitor_is_theirs_after_they_sign_in(shop: Sandbox) -> None:
    """One person hears once, though two identities looked; an order under one ends the interest of both."""
    look = {"type": "track", "event": "Product Viewed", "anonymousId": "web-1", "properties": {"product_id": "p1"}}
    shop.send(look)
    shop.track("fay", "Product Viewed", product_id="p1")
    shop.identify("fay", anonymous_id="web-1")
    shop.item("p1", price_minor=5000)
    assert [who for who, _ in said(shop)] == ["ann", "bob", "fay"]
    shop.advance("1h")
    shop.track("fay", "Order Completed", product_id="p1")
    shop.item("p1", price_minor=3000)
    assert [who for who, _ in said(shop)].count("fay") == 1


DELAYED = PLAYBOOK.replace("at_least: 0.1}", "at_least: 0.1, delay: 1h}").replace(
    "back_in_stock}", "back_in_stock, interest: [{event: Notify Me, key: properties.sku, when: event.wants == true}]}"
)


def test_what_is_no_longer_true_is_not_said() -> None:
    """Dearer again, sold out or bought by the time it fires: nothing goes; cheaper still: the newest price."""
    with sandbox(DELAYED) as box:
        for item in ("dearer", "gone", "bought", "cheaper"):
            box.item(item, title=item, price_minor=10000)
            box.track("ann", "Product Viewed", product_id=item)
            box.item(item, price_minor=8000)
        box.advance("30m")
        box.item("dearer", price_minor=9500)
        box.item("gone", is_active=False)
        box.track("ann", "Order Completed", product_id="bought")
        box.item("cheaper", price_minor=7500, attributes={"n": 1})
        box.advance("2h")
        assert said(box) == [("ann", "cheaper was 100.00, now 75.00")]


QUIET = (
    PLAYBOOK
    + """
quiet_hours: {start: "00:00", end: "20:00"}
"""
)


def test_what_is_no_longer_true_when_it_leaves_is_not_sent() -> None:
    """Booked for the evening; dearer, sold out or no longer scarce by then: cancelled. Cheaper still: it goes."""
    with sandbox(QUIET, at="2026-01-05T12:00:00Z") as box:
        for who, item in (("ann", "dearer"), ("bob", "gone"), ("eve", "cheaper"), ("fay", "plenty"), ("gus", "same")):
            box.identify(who, timezone="Etc/UTC")
            box.item(item, title=item, price_minor=10000, stock=9)
            box.track(who, "Product Viewed", product_id=item)
            box.item(item, **({"stock": 2} if item == "plenty" else {"price_minor": 8000}))
        assert said(box) == []
        box.advance("1h")
        box.item("dearer", price_minor=9000)
        box.item("gone", stock=0)
        box.item("cheaper", price_minor=7500)
        box.item("plenty", stock=90)
        box.advance("8h")
        words = "{} was 100.00, now 80.00"
        assert [text for _, text in said(box) if "now" in text] == [words.format("cheaper"), words.format("same")]
        assert not {who for who, _ in said(box)} & {"ann", "bob", "fay"}


def test_what_was_bought_by_the_time_it_leaves_is_not_sent() -> None:
    """Booked for the evening and ordered at noon: cancelled; looked at again after the order: it goes."""
    with sandbox(QUIET, at="2026-01-05T12:00:00Z") as box:
        for who in ("ann", "bob", "eve"):
            box.identify(who, timezone="Etc/UTC")
            box.track(who, "Product Viewed", product_id="p1", category="hats")
        box.item("p1", title="Hat", category="hats", price_minor=10000)
        box.item("p1", price_minor=8000)
        box.advance("1h")
        for who in ("ann", "bob"):
            box.track(who, "Order Completed", products=[{"product_id": "p1"}])
        box.advance("1h")
        box.track("bob", "Product Viewed", product_id="p1")
        box.advance("8h")
        assert [who for who, text in said(box) if "now" in text] == ["bob", "eve"]
        assert [who for who, text in said(box) if "New" in text] == ["eve"]


def test_newer_news_of_an_item_replaces_what_still_waits() -> None:
    """Two price drops while it is quiet: one message, the second; after a message has left, the next one is another."""
    with sandbox(QUIET, at="2026-01-05T12:00:00Z") as box:
        box.identify("ann", timezone="Etc/UTC")
        box.item("p1", title="Hat", price_minor=10000)
        box.track("ann", "Product Viewed", product_id="p1")
        for price in (8000, 6000):
            box.item("p1", price_minor=price)
            box.advance("1h")
        box.advance("7h")
        assert said(box) == [("ann", "Hat was 80.00, now 60.00")]
        box.item("p1", price_minor=3000)
        assert len(said(box)) == 2


def test_declared_interest_takes_the_place_of_the_usual() -> None:
    """Another event, another property, a condition on it."""
    with sandbox(DELAYED) as box:
        box.item("p1", title="Shoe", stock=0)
        box.track("ann", "Product Viewed", product_id="p1")
        box.track("bob", "Notify Me", sku="p1", wants=True)
        box.track("eve", "Notify Me", sku="p1", wants=False)
        box.item("p1", stock=10)
        assert said(box) == [("bob", "Shoe is back")]


def test_interest_that_no_trigger_counts_any_more_is_forgotten() -> None:
    """After the longest `within` and the time a firing may be late; a playbook that counts it longer reads again."""
    shop = Shop(now_hours=0, playbook=load_files({"p": PLAYBOOK.encode()}))
    shop.take(event("Product Viewed", 0, properties={"product_id": "p1"}))
    shop.take(event("Product Viewed", 24, properties={"product_id": "p2"}))

    def kept(subject: str) -> int:
        note_interest(shop.ledger, shop.playbook)
        with shop.ledger.read() as uow:
            return len(uow.interests.of(subject, ["u:c1"]))

    assert (kept("i:p1"), kept("i:p2")) == (1, 1)
    shop.now_hours = 24 * 91 + 1
    assert forget_interest(shop.ledger, shop.playbook, shop, limit=1) == 1
    assert (kept("i:p1"), kept("i:p2")) == (0, 1)
    shop.playbook = load_files({"p": PLAYBOOK.replace("at_least: 0.1}", "at_least: 0.1, within: 120d}").encode()})
    assert (kept("i:p1"), kept("i:p2")) == (1, 1)
    assert forget_interest(shop.ledger, shop.playbook, shop) == 0
