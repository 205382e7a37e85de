"""What is measured on one event: extracted once in Python, stored as columns, so that SQL only aggregates.

Money arrives in major units of the currency and leaves as integer minor units: round half even of str(x) x 100.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opportune.domain.events import Event
from opportune.domain.instants import EPOCH
from opportune.domain.money import MAX_MINOR, to_minor

MAX_QUANTITY = 10**6
MAX_LABEL = 200

_US_PER_DAY = 86_400_000_000


@dataclass(slots=True)
class Measures:
    """The numbers and keys of one event. Never changed after `extract`; not frozen, because frozen costs 2 us a piece.

    `us`: event_at, microseconds since 1970 UTC. `value_minor`, `price_minor`: minor units, null when the event has
    none or it is no number. `letter`: the message it is about, null for none.
    `quantity`: units of the product, at least 1 (null: the event has no product).
    """

    name: str
    origin: str
    us: int
    value_minor: int | None = None
    price_minor: int | None = None
    quantity: int | None = None
    product_id: str | None = None
    category: str | None = None
    cart_id: str | None = None
    order_id: str | None = None
    campaign: str | None = None
    channel: str | None = None
    letter: str | None = None
    is_machine: bool = False


#: Columns of the archive that come from `Measures`, in order, beside name, origin and the envelope's times.
COLUMNS: tuple[str, ...] = (
    "value_minor",
    "price_minor",
    "quantity",
    "product_id",
    "category",
    "cart_id",
    "order_id",
    "campaign",
    "channel",
    "letter",
    "is_machine",
)


def extract(event: Event) -> Measures:
    """Measure one event. Pure; a property of the wrong type reads as null, never as an error."""
    since = event.event_at - EPOCH
    us = since.days * _US_PER_DAY + since.seconds * 1_000_000 + since.microseconds
    measures = Measures(event.name, event.origin.value, us)
    properties = event.properties
    if not properties:
        return measures
    get = properties.get
    amount = get("revenue")
    if amount is None:
        amount = get("total")
    if amount is None:
        amount = get("value")
    measures.value_minor = to_minor(amount) if amount is not None else _sum_of(get("products"))
    product = get("product_id")
    if product is None:
        product = get("sku")
    if product is not None or "price" in properties or "quantity" in properties:
        measures.product_id = _label(product)
        measures.price_minor = _price(get("price"))
        measures.quantity = _quantity(get("quantity"))
    measures.category = _label(get("category"))
    measures.cart_id = _label(get("cart_id"))
    measures.order_id = _label(get("order_id"))
    measures.campaign = _label(get("campaign"))
    measures.channel = _label(get("channel"))
    measures.letter = _label(get("email_id")) or _label(get("message_id"))
    measures.is_machine = get("is_machine") is True
    return measures


def _label(value: Any) -> str | None:
    if isinstance(value, str):
        return value[:MAX_LABEL] if value else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:MAX_LABEL]
    return None


def _price(value: Any) -> int | None:
    minor = to_minor(value)
    return minor if minor is not None and minor >= 0 else None


def _quantity(value: Any) -> int:
    """Units, 1 when missing or senseless: an added product is at least one product."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 1
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_QUANTITY:
        return 1
    return int(value)


def _sum_of(products: Any) -> int | None:
    """Value of an order that states no total: the sum of price x quantity of its lines that have a price."""
    if not isinstance(products, list | tuple):
        return None
    total, found = 0, False
    for line in products:
        if isinstance(line, Mapping) and (price := _price(line.get("price"))) is not None:
            total, found = total + price * _quantity(line.get("quantity")), True
    return total if found and total <= MAX_MINOR else None
