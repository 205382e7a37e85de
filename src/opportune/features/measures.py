"""What is measured on one event: extracted once in Python, stored as columns, so that SQL only aggregates.

Money arrives in major units of the currency and leaves as integer minor units: round half even of str(x) x 100.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opportune.domain.events import Event, EventKind
from opportune.domain.instants import EPOCH, parse_instant, to_us
from opportune.domain.money import MAX_MINOR, to_minor
from opportune.domain.statements import SPEAKING, stated
from opportune.domain.traits import is_zone
from opportune.features.declare import SEPARATOR

#: What `extract` says of an event: raise it whenever the same event is measured otherwise than before.
VERSION = 2
MAX_QUANTITY = 10**6
MAX_LABEL = 200
MAX_LINES = 100  # products of one event that are asked for their category

_US_PER_DAY = 86_400_000_000
_SPEAKING = frozenset(SPEAKING)
_CHANNELS = {
    "*": "is_any_out",
    "email": "is_email_out",
    "push": "is_push_out",
    "sms": "is_sms_out",
    "profiling": "is_profiling_out",
}


@dataclass(slots=True)
class Measures:
    """The numbers and keys of one event. Never changed after `extract`; not frozen, because frozen costs 2 us a piece.

    `us`: event_at, microseconds since 1970 UTC. `value_minor`, `price_minor`: minor units, null when the event has
    none or it is no number. `letter`: the message it is about, null for none.
    `quantity`: units of the product, at least 1 (null: the event has no product). `is_discounted`: true or null.
    `categories`: of the event and its products, each once, SEPARATOR between. `zone`: IANA zone of the context,
    `zone_trait` of `identify`. `account_...`: of a `group` call. `is_..._out`: what the event says of a channel.
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
    is_discounted: bool | None = None
    categories: str | None = None
    zone: str | None = None
    zone_trait: str | None = None
    account_id: str | None = None
    account_plan: str | None = None
    account_employees: int | None = None
    account_created_us: int | None = None
    is_any_out: bool | None = None
    is_email_out: bool | None = None
    is_push_out: bool | None = None
    is_sms_out: bool | None = None
    is_profiling_out: bool | None = None


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
    "is_discounted",
    "categories",
    "zone",
    "zone_trait",
    "account_id",
    "account_plan",
    "account_employees",
    "account_created_us",
    "is_any_out",
    "is_email_out",
    "is_push_out",
    "is_sms_out",
    "is_profiling_out",
)
#: How the archive stores them; those not named are text.
KINDS: Mapping[str, Literal["int64", "int32", "bool"]] = {
    "value_minor": "int64",
    "price_minor": "int64",
    "quantity": "int32",
    "account_employees": "int64",
    "account_created_us": "int64",
    "is_machine": "bool",
    "is_discounted": "bool",
    "is_any_out": "bool",
    "is_email_out": "bool",
    "is_push_out": "bool",
    "is_sms_out": "bool",
    "is_profiling_out": "bool",
}
#: How measures are taken. Archived ones taken in another way are taken anew, packed states are rebuilt.
MEASURING = f"{VERSION}:{zlib.crc32(repr((COLUMNS, sorted(KINDS.items()))).encode()):08x}"


def extract(event: Event) -> Measures:
    """Measure one event. Pure; a property of the wrong type reads as null, never as an error."""
    since = event.event_at - EPOCH
    us = since.days * _US_PER_DAY + since.seconds * 1_000_000 + since.microseconds
    measures = Measures(event.name, event.origin.value, us)
    if event.context and is_zone(zone := event.context.get("timezone")):
        measures.zone = zone
    if event.name in _SPEAKING:
        for channel, is_in in stated(event).items():
            if channel in _CHANNELS:
                setattr(measures, _CHANNELS[channel], not is_in)
    if event.traits:
        _from_traits(measures, event)
    elif event.kind is EventKind.GROUP:
        measures.account_id = _label(event.group_id)
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
    measures.categories = (
        _categories(measures.category, get("products")) if "products" in properties else (measures.category)
    )
    if "discount" in properties or "coupon" in properties:
        measures.is_discounted = (to_minor(get("discount")) or 0) > 0 or _label(get("coupon")) is not None or None
    measures.cart_id = _label(get("cart_id"))
    measures.order_id = _label(get("order_id"))
    measures.campaign = _label(get("campaign"))
    measures.channel = _label(get("channel"))
    measures.letter = _label(get("email_id")) or _label(get("message_id"))
    measures.is_machine = get("is_machine") is True
    return measures


def _from_traits(measures: Measures, event: Event) -> None:
    """What `identify` says of the zone, what `group` says of the account."""
    get = event.traits.get
    if event.kind is EventKind.IDENTIFY:
        if is_zone(zone := get("timezone")):
            measures.zone_trait = zone
    elif event.kind is EventKind.GROUP:
        measures.account_id = _label(event.group_id)
        measures.account_plan = _label(get("plan"))
        measures.account_employees = _whole(get("employees"))
        created = get("createdAt")
        measures.account_created_us = _instant_us(get("created_at") if created is None else created)


def _whole(value: Any) -> int | None:
    """A whole number from 0 to MAX_QUANTITY, also as text."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_QUANTITY else None


def _instant_us(value: Any) -> int | None:
    """Microseconds since 1970 of an ISO instant, from 1970 on."""
    try:
        us = to_us(parse_instant(value)) if isinstance(value, str) and len(value) <= 40 else -1
    except (ValueError, OverflowError):
        return None
    return us if us >= 0 else None


def _categories(own: str | None, products: Any) -> str | None:
    """The category of an event and of its products, in order of text."""
    found = {own} if own else set()
    if isinstance(products, list | tuple):
        for line in products[:MAX_LINES]:
            if isinstance(line, Mapping) and (category := _label(line.get("category"))):
                found.add(category)
    return SEPARATOR.join(sorted(found)) or None


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
