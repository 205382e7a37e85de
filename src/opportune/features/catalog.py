"""Every behavioural feature, defined once, as data. Online state, offline SQL and the Feast views are made from here.

A tap (taps.py) says which events are heard (and what number they carry); a feature says how a tap is summed up over a
window, or how it is derived from features above it. To add one add a line here: nothing else has to change.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta

from opportune.features.declare import (
    Feature,
    Keeps,
    Part,
    Stat,
    Tap,
    age,
    count,
    days,
    days_with,
    is_out,
    letters,
    share,
    spend,
    text,
)
from opportune.features.measures import MEASURING
from opportune.features.taps import (
    CART_MAX_OPS,
    CART_WINDOW,
    LETTER_MAX_OPS,
    LETTER_OPENED,
    LETTER_SENT,
    LETTER_WINDOW,
    ORDER_WINDOW,
    REMOVED,
    SESSION_GAP,
    SIGHT_WINDOW,
    TAP_NAMES,
    TAPS,
    VISIT_WINDOW,
)

__all__ = [
    "BY_NAME", "CART_MAX_OPS", "CART_WINDOW", "FEATURES", "FORMAT", "LETTER_MAX_OPS", "LETTER_OPENED", "LETTER_SENT",
    "LETTER_WINDOW",
    "NAMES", "NUMERIC", "REMOVED", "TAPS", "TAP_NAMES", "Feature", "Keeps", "Part", "Stat", "Tap", "definition_hash",
    "needed",
]  # fmt: skip

#: Version of the packed state layout and of what the aggregations mean.
FORMAT = 2

_MONEY = "major units of currency"
_VISIT_HOURS = "visits per UTC hour of the week, weighed and smoothed"

FEATURES: tuple[Feature, ...] = (
    count("orders_n_7d", "orders", days(7), "Completed orders"),
    count("orders_n_30d", "orders", days(30), "Completed orders"),
    count("orders_n_90d", "orders", days(90), "Completed orders"),
    count("orders_n_365d", "orders", days(365), "Completed orders"),
    count("orders_n_all", "orders", None, "Completed orders"),
    spend("spend_sum_90d", 90),
    spend("spend_sum_all", None),
    Feature(
        name="order_value_mean_365d", tap="orders", stat=Stat.MEAN, dtype="float", unit=_MONEY,
        null_meaning="no order in the window", description="Mean value of a completed order, last 365 days.",
        window=days(365),
    ),
    Feature(
        name="order_value_min_730d", tap="orders", stat=Stat.LEAST, part="value", dtype="float", unit=_MONEY,
        null_meaning="no order with a value", description="Smallest of the newest 100 orders, last 730 days.",
        window=ORDER_WINDOW,
    ),
    Feature(
        name="order_value_max_730d", tap="orders", stat=Stat.MOST, part="value", dtype="float", unit=_MONEY,
        null_meaning="no order with a value", description="Largest of the newest 100 orders, last 730 days.",
        window=ORDER_WINDOW,
    ),
    share("discount_share_365d", "discounted", "orders", 365, "no order in the window",
          "Orders with a discount or coupon per completed order"),
    count("refunds_n_90d", "refunds", days(90), "Refunded orders"),
    share("refund_share_365d", "refunds", "orders", 365, "no order in the window",
          "Refunded orders per completed order"),
    age("first_order_age_days", "orders", Stat.FIRST_AGE, "never ordered", "Days since the first order."),
    age("last_order_age_days", "orders", Stat.LAST_AGE, "never ordered", "Days since the last order."),
    age("last_active_age_days", "activity", Stat.LAST_AGE, "never active", "Days since anything the customer did."),
    age("orders_gap_days", "orders", Stat.MEAN_GAP, "fewer than two orders", "Mean days between orders."),
    Feature(
        name="orders_gap_median_days", tap="orders", stat=Stat.GAP_MEDIAN, dtype="float", unit="days",
        null_meaning="fewer than two orders", window=ORDER_WINDOW,
        description="Median days between the newest 100 orders, last 730 days.",
    ),
    Feature(
        name="orders_gap_variation", tap="orders", stat=Stat.GAP_VARIATION, dtype="float", unit="ratio",
        null_meaning="fewer than three orders, or all at one instant", window=ORDER_WINDOW,
        description="How irregular orders are: standard deviation of the days between them over their mean.",
    ),
    Feature(
        name="next_order_in_days", stat=Stat.DIFFERENCE, of=("orders_gap_median_days", "last_order_age_days"),
        dtype="float", unit="days", null_meaning="fewer than two orders",
        description="Days until the next order is expected: median gap minus days since the last; negative: overdue.",
    ),
    text("order_category_top_730d", "orders", Stat.TOP, "no order with a category",
         "The category ordered most often in the newest 100 orders, last 730 days.",
         part="categories", window=ORDER_WINDOW),
    Feature(
        name="category_gap_mean_days", tap="orders", stat=Stat.TOP_GAP_MEAN, part="categories", dtype="float",
        unit="days", null_meaning="fewer than two orders of that category", window=ORDER_WINDOW,
        description="Mean days between orders of the category ordered most often.",
    ),
    Feature(
        name="category_gap_median_days", tap="orders", stat=Stat.TOP_GAP_MEDIAN, part="categories", dtype="float",
        unit="days", null_meaning="fewer than two orders of that category", window=ORDER_WINDOW,
        description="Median days between orders of the category ordered most often.",
    ),
    Feature(
        name="category_gap_variation", tap="orders", stat=Stat.TOP_GAP_VARIATION, part="categories", dtype="float",
        unit="ratio", null_meaning="fewer than three orders of that category", window=ORDER_WINDOW,
        description="Standard deviation of the days between orders of that category over their mean.",
    ),
    Feature(
        name="visit_after_order_days", tap="visits", than="orders", stat=Stat.AFTER, dtype="float", unit="days",
        null_meaning="never ordered", description="Days from the last order to the last visit.",
    ),
    count("views_n_1d", "views", days(1), "Product and product list views"),
    count("views_n_7d", "views", days(7), "Product and product list views"),
    count("views_n_30d", "views", days(30), "Product and product list views"),
    Feature(
        name="views_trend_28d", tap="views", stat=Stat.TREND, dtype="float", unit="ratio",
        null_meaning="no view in 28 days", window=days(7), against=days(28),
        description="Views a day in the last 7 days over views a day in the last 28: above 1 is rising.",
    ),
    Feature(
        name="views_decayed_30d", tap="views", stat=Stat.DECAYED, dtype="float", unit="events, weighed",
        null_meaning="never null: no view is 0.0", window=days(30), half_life=timedelta(days=7),
        description="Views of the last 30 days, each halved for every 7 days that have passed.",
    ),
    count("adds_n_7d", "adds", days(7), "Products added to the cart"),
    share("adds_per_view_30d", "adds", "views", 30, "no view in the window", "Products added to the cart per view"),
    count("conversions_n_1h", "conversions", timedelta(hours=1), "Adds, wishes and checkout steps"),
    count("conversions_n_1d", "conversions", days(1), "Adds, wishes and checkout steps"),
    days_with("add_days_n_30d", "adds", 30, "Days on which a product was added to the cart"),
    days_with("add_days_n_90d", "adds", 90, "Days on which a product was added to the cart"),
    age("last_add_age_days", "adds", Stat.LAST_AGE, "never added", "Days since a product was last added to the cart."),
    text("seen_category_top_90d", "sights", Stat.TOP, "no category seen",
         "The category seen most often in the newest 200 sights of products, last 90 days.",
         part="category", window=SIGHT_WINDOW),
    text("seen_categories_top_90d", "sights", Stat.TOPS, "no category seen",
         "The three categories seen most often, `, ` between, last 90 days.", part="category", window=SIGHT_WINDOW),
    Feature(
        name="seen_category_share_90d", tap="sights", stat=Stat.TOP_SHARE, part="category", dtype="float",
        unit="share, 0 to 1", null_meaning="no category seen", window=SIGHT_WINDOW,
        description="How much of all categories seen is the one seen most often, last 90 days.",
    ),
    Feature(
        name="seen_categories_n_90d", tap="sights", stat=Stat.DISTINCT, part="category", dtype="int",
        unit="categories", null_meaning="never null: none is 0", window=SIGHT_WINDOW,
        description="Different categories seen, last 90 days.",
    ),
    Feature(
        name="seen_products_n_90d", tap="sights", stat=Stat.DISTINCT, part="product", dtype="int",
        unit="products", null_meaning="never null: none is 0", window=SIGHT_WINDOW,
        description="Different products seen, last 90 days.",
    ),
    *(days_with(f"visit_days_n_{n}d", "visits", n, "Days with a visit") for n in (3, 7, 14, 30, 60, 90)),
    Feature(
        name="visits_trend_28d", tap="visits", stat=Stat.TREND, dtype="float", unit="ratio",
        null_meaning="no visit in 28 days", window=days(7), against=days(28),
        description="Visits a day in the last 7 days over visits a day in the last 28: above 1 is rising.",
    ),
    age("first_visit_age_days", "visits", Stat.FIRST_AGE, "never visited", "Days since the first visit."),
    age("last_visit_age_days", "visits", Stat.LAST_AGE, "never visited", "Days since the last visit."),
    Feature(
        name="sessions_n_7d", tap="visits", stat=Stat.SESSIONS, dtype="int", unit="sessions", window=days(7),
        null_meaning="never null: none is 0", description="Sessions begun, of the newest 200 visits, last 7 days.",
    ),
    Feature(
        name="sessions_n_30d", tap="visits", stat=Stat.SESSIONS, dtype="int", unit="sessions", window=VISIT_WINDOW,
        null_meaning="never null: none is 0", description="Sessions begun, of the newest 200 visits, last 30 days.",
    ),
    Feature(
        name="orders_per_session_30d", stat=Stat.RATIO, of=("orders_n_30d", "sessions_n_30d"), dtype="float",
        unit="orders per session", null_meaning="no session", description="Orders per session, last 30 days.",
    ),
    Feature(
        name="session_events_n", tap="visits", stat=Stat.SESSION_EVENTS, dtype="int", unit="events",
        null_meaning="never null: no session going on is 0", window=VISIT_WINDOW,
        description="Visits in the session that goes on: its last at most 30 minutes ago.",
    ),
    Feature(
        name="session_minutes", tap="visits", stat=Stat.SESSION_MINUTES, dtype="float", unit="minutes",
        null_meaning="never null: no session going on is 0.0", window=VISIT_WINDOW,
        description="Minutes from the first to the last visit of the session that goes on.",
    ),
    Feature(
        name="session_intent", tap="visits", stat=Stat.SESSION_DEPTH, part="depth", dtype="int",
        unit="0 a page, 1 a list or search, 2 a product, 3 the cart, 4 checkout, 5 the order",
        null_meaning="never null: no session going on is 0", window=VISIT_WINDOW,
        description="How near to an order the session that goes on has come.",
    ),
    Feature(
        name="cart_items_n", tap="cart", stat=Stat.CART_ITEMS, dtype="int", unit="units of products",
        null_meaning="never null: an empty cart is 0", window=CART_WINDOW,
        description="Units left in the cart: added minus removed since the last order, at most 30 days old.",
    ),
    Feature(
        name="cart_value", tap="cart", stat=Stat.CART_VALUE, dtype="float", unit=_MONEY,
        null_meaning="never null: an empty cart is 0.0", window=CART_WINDOW,
        description="Units left in the cart at the last price seen of each product.",
    ),
    text("cart_products", "cart", Stat.CART_PRODUCTS, "an empty cart, or no product in it has an id",
         "Ids of the products left in the cart, in order of text, `, ` between.", window=CART_WINDOW),
    count("sends_n_1d", "sends", days(1), "Messages we sent"),
    count("sends_n_7d", "sends", days(7), "Messages we sent"),
    count("sends_n_30d", "sends", days(30), "Messages we sent"),
    age("last_send_age_days", "sends", Stat.LAST_AGE, "nothing was sent", "Days since we last sent a message."),
    count("emails_sent_n_30d", "emails_sent", days(30), "E-mails we sent"),
    count("pushes_sent_n_30d", "pushes_sent", days(30), "Push notifications we sent"),
    count("sms_sent_n_30d", "sms_sent", days(30), "Text messages we sent"),
    count("emails_opened_n_30d", "emails_opened", days(30), "E-mails opened by a person"),
    count("emails_machine_opened_n_30d", "emails_machine_opened", days(30), "E-mails opened by a machine"),
    count("emails_clicked_n_30d", "emails_clicked", days(30), "E-mail links clicked by a person"),
    share("email_open_rate_30d", "emails_opened", "emails_sent", 30, "no e-mail was sent in the window",
          "E-mails opened by a person per e-mail sent"),
    count("pushes_opened_n_30d", "pushes_opened", days(30), "Push notifications opened by a person"),
    Feature(
        name="active_hours", tap="activity", stat=Stat.HOURS, dtype="vector", unit="events per UTC hour of day",
        null_meaning="never null: 24 zeros when never active", size=24,
        description="Histogram of all activity by UTC hour of day, all time.",
    ),
    Feature(
        name="visit_hours_of_week", tap="visits", stat=Stat.HOURS_OF_WEEK, dtype="vector", unit=_VISIT_HOURS,
        null_meaning="never null: 168 zeros when there is none", size=168, window=days(90),
        half_life=timedelta(weeks=4),
        description="Visits by UTC hour of week (Monday 0:00 first), halved every 4 weeks, smoothed (sigma 2 hours).",
    ),
    Feature(
        name="visit_hours_of_day", tap="visits", stat=Stat.HOURS_OF_DAY, dtype="vector",
        unit="visits per UTC hour of day, weighed and smoothed",
        null_meaning="never null: 24 zeros when there is none", size=24, window=days(90), half_life=timedelta(weeks=4),
        description="visit_hours_of_week with its days laid on top of each other.",
    ),
    letters("letters_sent_hours", Stat.LETTERS_SENT, "Letters sent", LETTER_WINDOW),
    letters("letters_opened_hours", Stat.LETTERS_OPENED, "Letters that were opened,", LETTER_WINDOW),
    count("advocacy_n_all", "advocacy", None, "Reviews, shares and referrals"),
    Feature(
        name="engagement_score", stat=Stat.WEIGHTED, dtype="float", unit="points, 0 to 100",
        null_meaning="never null: nothing is 0.0",
        description="Points for visits, views, adds, orders, opens and clicks, each up to a full mark.",
        weights=(
            ("visit_days_n_30d", 30.0, 10.0), ("views_n_30d", 20.0, 30.0), ("adds_n_7d", 15.0, 5.0),
            ("orders_n_90d", 20.0, 3.0), ("emails_opened_n_30d", 5.0, 5.0), ("emails_clicked_n_30d", 10.0, 3.0),
        ),
    ),
    Feature(
        name="lifecycle_stage", stat=Stat.LADDER, dtype="text", null_meaning="never active",
        unit="aware, considering, customer, loyal, advocate, lapsing or lapsed",
        description="How far the customer has come; 60 days without activity are lapsing, 180 lapsed.",
        rungs=(
            ("lapsed", (("orders_n_all", ">=", 1), ("last_active_age_days", ">", 180))),
            ("lapsing", (("orders_n_all", ">=", 1), ("last_active_age_days", ">", 60))),
            ("advocate", (("orders_n_365d", ">=", 2), ("advocacy_n_all", ">=", 1))),
            ("loyal", (("orders_n_365d", ">=", 3),)),
            ("customer", (("orders_n_all", ">=", 1),)),
            ("considering", (("adds_n_7d", ">=", 1),)),
            ("considering", (("views_n_30d", ">=", 3),)),
            ("aware", (("last_active_age_days", ">=", 0),)),
        ),
    ),
    is_out("email"),
    is_out("push"),
    is_out("sms"),
    is_out("profiling", than=None),
    text("zone", "zone_trait", Stat.NEWEST, "no zone known",
         "Time zone: the newest valid `timezone` trait, else the newest of an event's context.",
         part="zone", than="zone_context"),
    Feature(
        name="local_hour", stat=Stat.LOCAL_HOUR, of=("zone",), dtype="int", unit="hour, 0 to 23",
        null_meaning="never null: UTC when no zone is known", description="Hour of day where the customer is.",
    ),
    Feature(
        name="local_weekday", stat=Stat.LOCAL_WEEKDAY, of=("zone",), dtype="int", unit="Monday 0 to Sunday 6",
        null_meaning="never null: UTC when no zone is known", description="Day of the week where the customer is.",
    ),
    Feature(
        name="is_weekend", stat=Stat.IS_WEEKEND, of=("zone",), dtype="bool", unit="true or false",
        null_meaning="never null: UTC when no zone is known",
        description="Saturday or Sunday where the customer is.",
    ),
    text("account_id", "accounts", Stat.NEWEST, "in no account", "The account the newest `group` call names.",
         part="account"),
    text("account_plan", "accounts", Stat.NEWEST, "not said", "Its `plan`, as that call says.", part="plan"),
    Feature(
        name="account_employees", tap="accounts", stat=Stat.NEWEST, part="employees", dtype="float", unit="people",
        null_meaning="not said", description="Its `employees`, as that call says.",
    ),
    Feature(
        name="account_age_days", tap="accounts", stat=Stat.NEWEST_AGE, part="created", dtype="float", unit="days",
        null_meaning="not said", description="Days since its `createdAt`, as that call says.",
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}
#: The features a model can read: all but texts.
NUMERIC: tuple[str, ...] = tuple(feature.name for feature in FEATURES if feature.dtype != "text")


def needed(names: Iterable[str]) -> tuple[Feature, ...]:
    """These features and all they are derived from, inputs first. Raises KeyError for a name there is not."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += BY_NAME[name].inputs
    return tuple(feature for feature in FEATURES if feature.name in found)


def definition_hash() -> str:
    """`sha256:<hex>` over everything that changes a value: taps, features, layout. Words are left out."""
    return _HASH


def _hash() -> str:
    words = {"owner", "description", "null_meaning"}
    features = [{k: v for k, v in asdict(feature).items() if k not in words} for feature in FEATURES]
    whole = {
        "format": FORMAT,
        "measures": MEASURING,
        "taps": [asdict(tap) for tap in TAPS],
        "features": features,
        "session_gap": SESSION_GAP,
        "letters": LETTER_SENT,
    }
    written = json.dumps(whole, sort_keys=True, separators=(",", ":"), default=lambda o: o.total_seconds())
    return "sha256:" + hashlib.sha256(written.encode()).hexdigest()


_HASH = _hash()
