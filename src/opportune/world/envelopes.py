"""Rows -> Segment envelopes (the shape of batch items) -> domain events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.instants import from_us
from opportune.world.draws import Ints
from opportune.world.people import People
from opportune.world.rows import Code, Rows
from opportune.world.shop import Shop

Envelope = dict[str, Any]

_TRACKS = {
    Code.SIGNED_UP: "Signed Up",
    Code.SEARCH: "Products Searched",
    Code.LIST: "Product List Viewed",
    Code.VIEW: "Product Viewed",
    Code.ADD: "Product Added",
    Code.CART: "Cart Viewed",
    Code.CHECKOUT: "Checkout Started",
    Code.ORDER: "Order Completed",
    Code.INVITE: "Invite Sent",
    Code.REFUND: "Order Refunded",
}
_MESSAGE_EVENTS = {
    "email": ("Email Delivered", "Email Opened", "Email Link Clicked", "Email Bounced", "Email Marked as Spam"),
    "push": (
        "Push Notification Received",
        "Push Notification Opened",
        "Push Notification Tapped",
        "Push Notification Bounced",
        "",
    ),
    "sms": ("SMS Delivered", "SMS Opened", "SMS Link Clicked", "SMS Bounced", ""),
}
_OTHER_MESSAGE_EVENTS = ("Message Delivered", "Message Opened", "Message Clicked", "Message Bounced", "")
_HOLDS_BASKET = (Code.CART, Code.CHECKOUT, Code.ORDER, Code.REFUND)


@dataclass(frozen=True, slots=True)
class Letter:
    """What the world remembers of a message, to name it in the events that answer it."""

    message_id: str
    campaign: str
    channel: str


class Writer:
    """Turns rows into envelopes. `signed_up_us`: (n,) microseconds of each customer's sign-up."""

    def __init__(self, people: People, shop: Shop, tag: str, letters: Sequence[Letter], signed_up_us: Ints) -> None:
        self._people, self._shop, self._tag, self._letters = people, shop, tag, letters
        self._signed_up_us = signed_up_us
        self._currency = people.config.currency

    def envelopes(self, rows: Rows) -> Iterator[Envelope]:
        """One dict per row, in the rows' order; each is the caller's own to change."""
        stamps = np.datetime_as_string(rows.us.astype("datetime64[us]").astype("datetime64[ms]"), unit="ms").tolist()
        is_known = (rows.us >= self._signed_up_us[rows.who]).tolist()
        lines = self._lines(rows)
        columns = (rows.who, rows.code, rows.item, rows.n, rows.basket, rows.sid, rows.slot)
        for i, (who, code, item, n, basket, sid, slot) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            out: Envelope = {
                "type": "track",
                "messageId": f"{self._tag}-{who}-{sid}-{slot}",
                "timestamp": stamps[i] + "Z",
            }
            if is_known[i]:
                out["userId"] = f"c{who:06d}"
            if code < Code.REFUND:
                out["anonymousId"] = f"a{who:06d}-{1 + (n & 1)}"
                out["context"] = {"library": {"name": "opportune.world", "version": "1"}, "channel": "web"}
            self._fill(out, code, who, item, n, basket, sid, lines.get(i))
            yield out

    def _fill(self, out: Envelope, code: int, who: int, item: int, n: int, basket: int, sid: int, line: Any) -> None:
        if code == Code.PAGE:
            out["type"], out["name"] = "page", "Home"
            out["properties"] = {"path": "/", "url": "https://shop.example/", "title": "Home"}
            return
        if code in (Code.IDENTIFY, Code.DEVICE):
            out["type"], out["userId"] = "identify", f"c{who:06d}"
            out["traits"] = self._people.traits(who) if code == Code.IDENTIFY else {}
            if code == Code.IDENTIFY:
                out["context"]["consent"] = {"categoryPreferences": self._people.said(who)}
            return
        if code >= Code.DELIVERED:
            self._fill_message(out, code, self._letters[item])
            return
        out["event"] = _TRACKS[Code(code)]
        products = self._shop.products
        properties: Envelope = {}
        if code == Code.VIEW:
            properties = {**products[item], "currency": self._currency}
        elif code == Code.ADD:
            properties = {
                **products[item],
                "quantity": n >> 1,
                "cart_id": f"k{who}-{basket}",
                "currency": self._currency,
            }
        elif code == Code.LIST:
            properties = {"list_id": products[item]["category"], "category": products[item]["category"]}
        elif code == Code.SEARCH:
            properties = {"query": products[item]["category"]}
        elif line is not None:
            properties = self._basket_properties(code, who, basket, sid, line)
        elif code == Code.SIGNED_UP:
            properties = {"type": "web"}
        out["properties"] = properties

    def _basket_properties(self, code: int, who: int, basket: int, sid: int, line: Any) -> Envelope:
        products, total_minor = line
        properties: Envelope = {"cart_id": f"k{who}-{basket}", "currency": self._currency, "products": products}
        if code == Code.CART:
            return properties
        properties["value"] = total_minor / 100
        if code in (Code.ORDER, Code.REFUND):
            properties["order_id"] = f"o{who}-{sid}"
            properties["revenue"] = properties["total"] = properties.pop("value")
        return properties

    def _fill_message(self, out: Envelope, code: int, letter: Letter) -> None:
        properties: Envelope = {"message_id": letter.message_id, "campaign": letter.campaign, "channel": letter.channel}
        if letter.channel == "email":
            properties["email_id"] = letter.message_id
        if code == Code.UNSUBSCRIBED:
            out["event"] = "Unsubscribed"
        else:
            out["event"] = _MESSAGE_EVENTS.get(letter.channel, _OTHER_MESSAGE_EVENTS)[code - Code.DELIVERED]
        if code == Code.CLICKED:
            properties["link_url"] = "https://shop.example/"
        out["properties"] = properties

    def _lines(self, rows: Rows) -> dict[int, tuple[list[Envelope], int]]:
        """Row number -> (products of its basket, total in minor units)."""
        at = np.flatnonzero(np.isin(rows.code, [int(c) for c in _HOLDS_BASKET]))
        held = self._shop.baskets(rows.who[at], rows.basket[at])
        total = self._shop.value_minor(rows.who[at], rows.basket[at])
        known = self._shop.products
        out: dict[int, tuple[list[Envelope], int]] = {}
        for i, n, items, counts, minor in zip(*(a.tolist() for a in (at, *held, total)), strict=True):
            out[i] = ([{**known[items[j]], "quantity": counts[j]} for j in range(n)], minor)
        return out


def events_of(
    rows: Rows, envelopes: Iterator[Envelope], origin: Origin, ingested_at: datetime | None
) -> Iterator[Event]:
    """The same as domain events. They were received when they happened; `ingested_at` null: ingested then too."""
    kinds: dict[str, EventKind] = {k.value: k for k in EventKind}
    for us, e in zip(rows.us.tolist(), envelopes, strict=True):
        at = from_us(us)
        kind = kinds[e["type"]]
        yield Event(
            message_id=e["messageId"],
            kind=kind,
            name=e["event"] if kind is EventKind.TRACK else NAMES_BY_KIND[kind],
            user_id=e.get("userId"),
            anonymous_id=e.get("anonymousId"),
            original_at=at,
            sent_at=at,
            received_at=at,
            event_at=at,
            known_at=at,
            ingested_at=ingested_at or at,
            origin=origin,
            properties=e.get("properties", {}),
            traits=e.get("traits", {}),
            context=e.get("context", {}),
        )
