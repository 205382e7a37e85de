"""Every behavioural feature, defined once, as data. Online state, offline SQL and the Feast views are made from here.

A tap says which events are heard (and what number they carry); a feature says how a tap is summed up over a window.
To add a feature add a line here: nothing else has to change.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

#: Version of the packed state layout and of what the aggregations mean.
FORMAT = 1
#: The cart remembers this many operations at most, newest first, and forgets them after this long.
CART_MAX_OPS = 200
CART_WINDOW = timedelta(days=30)
#: Letters (messages sent, delivered, opened): at most this many operations are kept, newest first, and this long.
LETTER_MAX_OPS = 200
LETTER_WINDOW = timedelta(days=180)


class Stat(StrEnum):
    """How the events of a tap become one value."""

    COUNT = "count"  # number of events in the window; 0 when none
    DAYS = "days"  # number of different UTC days with an event in the window (at most 90 days long); 0 when none
    SUM = "sum"  # sum of the tap's value in the window, in major units; 0.0 when none
    FIRST_AGE = "first_age"  # days from the first event to now; null when none
    LAST_AGE = "last_age"  # days from the last event to now; null when none
    MEAN_GAP = "mean_gap"  # mean days between two events; null with fewer than two
    AFTER = (
        "after"  # days from the last event of the tap `than` to the last of this one, negative: before; null when none
    )
    HOURS = "hours"  # 24 counts by UTC hour of day; zeros when none
    CART_ITEMS = "cart_items"  # units left in the cart; 0 when empty
    CART_VALUE = "cart_value"  # value left in the cart, in major units; 0.0 when empty
    LETTERS_SENT = "letters_sent"  # 24 counts of letters by UTC hour of their sending; zeros when none
    LETTERS_OPENED = "letters_opened"  # the same, of those letters that were opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Which events are heard. `events` null: every event but `but_not`. `origins` null: any origin.

    `where`: (measure, value) pairs that must all be equal. `value`: the integer measure in minor units that SUM adds.
    """

    name: str
    events: tuple[str, ...] | None = None
    but_not: tuple[str, ...] = ()
    origins: tuple[str, ...] | None = None
    where: tuple[tuple[str, bool | str], ...] = ()
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature of one customer (`key`). `window` null: all time; else (hour of (t - window), t], t included.

    The old edge is cut down to the UTC hour, so that hourly tiles are exact at every instant.
    """

    name: str
    tap: str
    stat: Stat
    dtype: Literal["int", "float", "bool", "vector"]
    unit: str
    null_meaning: str
    description: str
    window: timedelta | None = None
    key: str = "customer_id"
    owner: str = "lifecycle"
    size: int = 1  # numbers in a vector
    than: str | None = None  # the other tap, for AFTER


#: What comes of our own messages: not activity of the customer on their own account.
EMAIL_OUTCOMES = (
    "Email Delivered",
    "Email Opened",
    "Email Link Clicked",
    "Email Bounced",
    "Email Marked as Spam",
    "Unsubscribed",
)
ADDED, REMOVED = "Product Added", "Product Removed"
#: What a customer does in person: looking round, filling a cart, buying.
VISITING = (
    "Page Viewed",
    "Screen Viewed",
    "Products Searched",
    "Product List Viewed",
    "Product Clicked",
    "Product Viewed",
    ADDED,
    REMOVED,
    "Cart Viewed",
    "Checkout Started",
    "Order Completed",
)
#: A letter goes out, or arrives; a person opens it. Both name it by `email_id`, else `message_id`.
LETTER_SENT = ("Message Sent", "Email Delivered", "Push Notification Received", "SMS Delivered", "Message Delivered")
LETTER_OPENED = ("Email Opened", "Push Notification Opened", "SMS Opened", "Message Opened")

TAPS: tuple[Tap, ...] = (
    Tap(name="orders", events=("Order Completed",), value="value_minor"),
    Tap(name="refunds", events=("Order Refunded",), value="value_minor"),
    Tap(name="views", events=("Product Viewed", "Product List Viewed")),
    Tap(name="adds", events=(ADDED,)),
    Tap(name="cart", events=(ADDED, REMOVED)),
    Tap(name="visits", events=VISITING, origins=("live", "import")),
    Tap(name="letters", events=(*LETTER_SENT, *LETTER_OPENED), where=(("is_machine", False),)),
    Tap(name="activity", but_not=EMAIL_OUTCOMES, origins=("live", "import")),
    Tap(name="sends", events=("Message Sent",), origins=("own",)),
    Tap(name="emails_opened", events=("Email Opened",), where=(("is_machine", False),)),
    Tap(name="emails_clicked", events=("Email Link Clicked",), where=(("is_machine", False),)),
)

_NEVER_NULL = "never null: no such event is 0"


def _count(name: str, tap: str, days: int | None, what: str) -> Feature:
    return Feature(
        name=name,
        tap=tap,
        stat=Stat.COUNT,
        dtype="int",
        unit="events",
        null_meaning=_NEVER_NULL,
        description=f"{what}, {_over(days)}.",
        window=None if days is None else timedelta(days=days),
    )


def _days(name: str, tap: str, days: int, what: str) -> Feature:
    return Feature(
        name=name,
        tap=tap,
        stat=Stat.DAYS,
        dtype="int",
        unit="days",
        null_meaning="never null: no such day is 0",
        description=f"{what}, {_over(days)}.",
        window=timedelta(days=days),
    )


def _letters(name: str, stat: Stat, what: str) -> Feature:
    return Feature(
        name=name,
        tap="letters",
        stat=stat,
        dtype="vector",
        unit="letters per UTC hour of sending",
        null_meaning="never null: 24 zeros when there is none",
        description=f"{what} by UTC hour of sending, last 180 days.",
        window=LETTER_WINDOW,
        size=24,
    )


def _spend(name: str, days: int | None) -> Feature:
    return Feature(
        name=name,
        tap="orders",
        stat=Stat.SUM,
        dtype="float",
        unit="major units of currency",
        null_meaning="never null: no order is 0.0",
        description=f"Value of completed orders before refunds, {_over(days)}.",
        window=None if days is None else timedelta(days=days),
    )


def _age(name: str, tap: str, stat: Stat, null_meaning: str, what: str) -> Feature:
    return Feature(
        name=name, tap=tap, stat=stat, dtype="float", unit="days", null_meaning=null_meaning, description=what
    )


def _over(days: int | None) -> str:
    return "all time" if days is None else "last day" if days == 1 else f"last {days} days"


FEATURES: tuple[Feature, ...] = (
    _count("orders_n_7d", "orders", 7, "Completed orders"),
    _count("orders_n_30d", "orders", 30, "Completed orders"),
    _count("orders_n_90d", "orders", 90, "Completed orders"),
    _count("orders_n_all", "orders", None, "Completed orders"),
    _spend("spend_sum_90d", 90),
    _spend("spend_sum_all", None),
    _count("refunds_n_90d", "refunds", 90, "Refunded orders"),
    _age("first_order_age_days", "orders", Stat.FIRST_AGE, "never ordered", "Days since the first order."),
    _age("last_order_age_days", "orders", Stat.LAST_AGE, "never ordered", "Days since the last order."),
    _age("last_active_age_days", "activity", Stat.LAST_AGE, "never active", "Days since anything the customer did."),
    _age("orders_gap_days", "orders", Stat.MEAN_GAP, "fewer than two orders", "Mean days between orders."),
    Feature(
        name="visit_after_order_days",
        tap="visits",
        than="orders",
        stat=Stat.AFTER,
        dtype="float",
        unit="days",
        null_meaning="never ordered",
        description="Days from the last order to the last visit.",
    ),
    _count("views_n_1d", "views", 1, "Product and product list views"),
    _count("views_n_7d", "views", 7, "Product and product list views"),
    _count("views_n_30d", "views", 30, "Product and product list views"),
    _count("adds_n_7d", "adds", 7, "Products added to the cart"),
    _days("add_days_n_30d", "adds", 30, "Days on which a product was added to the cart"),
    _days("add_days_n_90d", "adds", 90, "Days on which a product was added to the cart"),
    _age("last_add_age_days", "adds", Stat.LAST_AGE, "never added", "Days since a product was last added to the cart."),
    _days("visit_days_n_3d", "visits", 3, "Days with a visit"),
    _days("visit_days_n_7d", "visits", 7, "Days with a visit"),
    _days("visit_days_n_14d", "visits", 14, "Days with a visit"),
    _days("visit_days_n_30d", "visits", 30, "Days with a visit"),
    _days("visit_days_n_60d", "visits", 60, "Days with a visit"),
    _days("visit_days_n_90d", "visits", 90, "Days with a visit"),
    _age("first_visit_age_days", "visits", Stat.FIRST_AGE, "never visited", "Days since the first visit."),
    _age("last_visit_age_days", "visits", Stat.LAST_AGE, "never visited", "Days since the last visit."),
    Feature(
        name="cart_items_n",
        tap="cart",
        stat=Stat.CART_ITEMS,
        dtype="int",
        unit="units of products",
        null_meaning="never null: an empty cart is 0",
        description="Units left in the cart: added minus removed since the last order, at most 30 days old.",
        window=CART_WINDOW,
    ),
    Feature(
        name="cart_value",
        tap="cart",
        stat=Stat.CART_VALUE,
        dtype="float",
        unit="major units of currency",
        null_meaning="never null: an empty cart is 0.0",
        description="Units left in the cart at the last price seen of each product.",
        window=CART_WINDOW,
    ),
    _count("sends_n_1d", "sends", 1, "Messages we sent"),
    _count("sends_n_7d", "sends", 7, "Messages we sent"),
    _count("sends_n_30d", "sends", 30, "Messages we sent"),
    _count("emails_opened_n_30d", "emails_opened", 30, "E-mails opened by a person"),
    _count("emails_clicked_n_30d", "emails_clicked", 30, "E-mail links clicked by a person"),
    Feature(
        name="active_hours",
        tap="activity",
        stat=Stat.HOURS,
        dtype="vector",
        unit="events per UTC hour of day",
        null_meaning="never null: 24 zeros when never active",
        description="Histogram of all activity by UTC hour of day, all time.",
        size=24,
    ),
    _letters("letters_sent_hours", Stat.LETTERS_SENT, "Letters sent"),
    _letters("letters_opened_hours", Stat.LETTERS_OPENED, "Letters that were opened,"),
)

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}
TAP_NAMES: tuple[str, ...] = tuple(tap.name for tap in TAPS)


def definition_hash() -> str:
    """`sha256:<hex>` over everything that changes a value: taps, features, layout. Words are left out."""
    return _HASH


def _hash() -> str:
    words = {"owner", "description", "null_meaning"}
    features = [{k: v for k, v in asdict(feature).items() if k not in words} for feature in FEATURES]
    whole = {
        "format": FORMAT,
        "taps": [asdict(tap) for tap in TAPS],
        "features": features,
        "cart": [CART_MAX_OPS, CART_WINDOW.total_seconds()],
        "letters": [LETTER_MAX_OPS, LETTER_WINDOW.total_seconds(), LETTER_SENT],
    }
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), default=lambda o: o.total_seconds())
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


_HASH = _hash()
