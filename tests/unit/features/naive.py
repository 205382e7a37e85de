"""The oracle: every feature recounted in plain Python from its definition in words, slowly, one event at a time."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from tests.unit.features import naive_rest

from opportune.domain.decisions import Value
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin

NOON = datetime(2026, 3, 1, 12, 34, 56, 789, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Mars/Base", 5, None)
NAMES = (
    "Order Completed", "Order Refunded", "Product Viewed", "Product List Viewed", "Product Added", "Product Added",
    "Product Removed", "Message Sent", "Email Opened", "Email Link Clicked", "Checkout Started", "Product Reviewed",
    "Push Notification Tapped", "Products Searched", "Identified", "Identified", "Grouped", "Unsubscribed",
    "Email Bounced", "Consent Changed", "Segment Consent Preference Updated", "Email Delivered", "Email Delivered",
    "Page Viewed", "Screen Viewed", "Odd",
)  # fmt: skip


def event(
    message_id: str,
    name: str,
    at: datetime,
    user: str | None = "c1",
    anonymous: str | None = None,
    known_at: datetime | None = None,
    origin: Origin | None = None,
    traits: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    group: str | None = None,
    **properties: Any,
) -> Event:
    """One envelope; known when it happened unless said otherwise; our own sends have origin OWN."""
    known_at = known_at or at
    return Event(
        message_id=message_id,
        kind=next((kind for kind, named in NAMES_BY_KIND.items() if named == name), EventKind.TRACK),
        name=name,
        user_id=user,
        anonymous_id=anonymous,
        original_at=None,
        sent_at=None,
        received_at=known_at,
        event_at=at,
        known_at=known_at,
        ingested_at=known_at,
        origin=origin or (Origin.OWN if name in ("Message Sent", "Consent Changed") else Origin.LIVE),
        properties=properties,
        traits=traits or {},
        context=context or {},
        group_id=group,
    )


def events(
    owners: Sequence[tuple[str | None, str | None]] = (("c1", None),), late: bool = False, max_size: int = 40
) -> st.SearchStrategy[list[Event]]:
    """Up to 40 events of the last 100 days before NOON, many at the same instants and exactly on window edges."""
    ago = st.one_of(
        st.integers(0, 100 * 86_400).map(lambda s: timedelta(seconds=s)),
        st.integers(0, 100 * 24).map(lambda h: timedelta(hours=h, minutes=34, seconds=56, microseconds=789)),
        st.integers(0, 48 * 3_600_000_000).map(lambda us: timedelta(microseconds=us)),
    )
    lag = st.integers(0, 40 * 86_400).map(lambda s: timedelta(seconds=s)) if late else st.just(timedelta())
    one = st.tuples(
        st.sampled_from(NAMES),
        ago,
        lag,
        st.sampled_from(owners),
        st.fixed_dictionaries(
            {},
            optional={
                "product_id": st.sampled_from(["p1", "p2", "é", 7]),
                "quantity": st.sampled_from([1, 2, 5, "3", None, -1]),
                "price": st.sampled_from([0, 9.99, 12.5, "3.335", "dear", None]),
                "revenue": st.sampled_from([10, 99.995, "12.34", None, 0.1]),
                "total": st.sampled_from([5, 7.125, True]),
                "is_machine": st.booleans(),
                "email_id": st.sampled_from(["l1", "l2", "l3", 5, None]),
                "category": st.sampled_from(["a", "b", "ü", "", 3]),
                "products": st.sampled_from([[{"category": "b"}, {"category": "z", "price": 2}], [{}], "odd"]),
                "discount": st.sampled_from([0, 1.5, "2", None]),
                "coupon": st.sampled_from(["X", "", None]),
                "channel": st.sampled_from(["email", "push", "sms", "*", "fax"]),
                "topic": st.sampled_from(["*", "*", "news"]),
                "state": st.sampled_from(["in", "out"]),
                "bounce_type": st.sampled_from(["soft", "hard"]),
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "timezone": st.sampled_from(ZONES),
                "plan": st.sampled_from(["free", "pro", None]),
                "employees": st.sampled_from([3, "40", "many", -1, None]),
                "createdAt": st.sampled_from(["2025-01-02T03:04:05Z", "2026-02-27", "soon", 7]),
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "timezone": st.sampled_from(ZONES),
                "consent": st.dictionaries(
                    st.sampled_from(["email", "sms", "profiling", "*", "odd"]), st.booleans()
                ).map(lambda said: {"categoryPreferences": said}),
            },
        ),
        st.sampled_from(["g1", "g2", None]),
    )
    return st.lists(one, max_size=max_size).map(
        lambda drawn: [
            event(
                f"m{i}", name, NOON - ago, user, anonymous, NOON - ago + lag, traits=traits, context=context,
                group=group, **properties,
            )
            for i, (name, ago, lag, (user, anonymous), properties, traits, context, group) in enumerate(drawn)
        ]
    )  # fmt: skip


def minor(amount: Any) -> int | None:
    """Cents by hand: text x 100, ties to even."""
    from fractions import Fraction

    if isinstance(amount, bool):
        return None
    try:
        return round(Fraction(str(amount)) * 100)
    except ValueError:
        return None


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def recount(log: Iterable[Event], at: datetime) -> dict[str, Value]:
    """All features as of `at` of these events, from what had happened and was known by then."""
    log = [e for e in log if e.event_at <= at and e.known_at <= at]

    def those(is_it: Callable[[Event], bool], days: int | None = None) -> list[Event]:
        edge = None if days is None else _hour(at - timedelta(days=days))
        return [e for e in log if is_it(e) and (edge is None or e.event_at > edge)]

    def named(*names: str) -> Callable[[Event], bool]:
        return lambda e: e.name in names

    def spend(days: int | None) -> float:
        total = 0
        for e in those(order, days):
            amounts = [e.properties.get(k) for k in ("revenue", "total", "value") if e.properties.get(k) is not None]
            lines = e.properties.get("products")
            priced = [line["price"] for line in lines if "price" in line] if isinstance(lines, list) else []
            total += (minor(amounts[0]) or 0) if amounts else sum(minor(price) or 0 for price in priced)
        return total / 100

    def age(found: list[Event], pick: Callable[..., datetime]) -> float | None:
        return (at - pick(e.event_at for e in found)) / timedelta(days=1) if found else None

    def active(e: Event) -> bool:
        return e.origin is not Origin.OWN and not (e.name.startswith("Email ") or e.name == "Unsubscribed")

    def by_person(name: str) -> Callable[[Event], bool]:
        return lambda e: e.name == name and e.properties.get("is_machine") is not True

    order, views, sends = (
        named("Order Completed"),
        named("Product Viewed", "Product List Viewed"),
        named("Message Sent"),
    )

    def days(found: list[Event]) -> int:
        """A day's last instant is its midnight: windows are cut into hours that hold their end."""
        return len({(e.event_at - timedelta(microseconds=1)).date() for e in found})

    def visiting(e: Event) -> bool:
        return e.origin is not Origin.OWN and e.name in naive_rest.VISITS

    adds = named("Product Added")
    sent_hours, opened_hours = _letters(those(lambda e: e.properties.get("is_machine") is not True, 180))
    items, value = _cart(those(named("Product Added", "Product Removed"), 30), those(order))
    hours = [0.0] * 24
    for e in those(active):
        hours[e.event_at.hour] += 1
    found: dict[str, Value] = {
        "orders_n_7d": len(those(order, 7)),
        "orders_n_30d": len(those(order, 30)),
        "orders_n_90d": len(those(order, 90)),
        "orders_n_365d": len(those(order, 365)),
        "orders_n_all": len(those(order)),
        "spend_sum_90d": spend(90),
        "spend_sum_all": spend(None),
        "refunds_n_90d": len(those(named("Order Refunded"), 90)),
        "first_order_age_days": age(those(order), min),
        "last_order_age_days": age(those(order), max),
        "orders_gap_days": _mean_gap([e.event_at for e in those(order)]),
        "visit_after_order_days": None
        if not those(order) or not those(visiting)
        else (max(e.event_at for e in those(visiting)) - max(e.event_at for e in those(order))) / timedelta(days=1),
        "last_active_age_days": age(those(active), max),
        "views_n_1d": len(those(views, 1)),
        "views_n_7d": len(those(views, 7)),
        "views_n_30d": len(those(views, 30)),
        "adds_n_7d": len(those(named("Product Added"), 7)),
        "add_days_n_30d": days(those(adds, 30)),
        "add_days_n_90d": days(those(adds, 90)),
        "last_add_age_days": age(those(adds), max),
        **{f"visit_days_n_{n}d": days(those(visiting, n)) for n in (3, 7, 14, 30, 60, 90)},
        "first_visit_age_days": age(those(visiting), min),
        "last_visit_age_days": age(those(visiting), max),
        "cart_items_n": items,
        "cart_value": value,
        "sends_n_1d": len(those(sends, 1)),
        "sends_n_7d": len(those(sends, 7)),
        "sends_n_30d": len(those(sends, 30)),
        "emails_opened_n_30d": len(those(by_person("Email Opened"), 30)),
        "emails_clicked_n_30d": len(those(by_person("Email Link Clicked"), 30)),
        "active_hours": tuple(hours),
        "letters_sent_hours": sent_hours,
        "letters_opened_hours": opened_hours,
    }
    return {**found, **naive_rest.recount_rest(log, at, found, minor)}


def _mean_gap(instants: list[datetime]) -> float | None:
    ordered = sorted(instants)
    gaps = [(b - a) / timedelta(days=1) for a, b in pairwise(ordered)]
    return sum(gaps) / len(gaps) if gaps else None


def _letters(log: list[Event]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per letter: its first sending's hour, and whether it was opened at any time."""
    named: dict[str, list[Event]] = {}
    for e in log:
        letter = e.properties.get("email_id") or e.properties.get("message_id")
        if letter is not None and e.name in ("Message Sent", "Email Delivered", "Email Opened"):
            named.setdefault(str(letter), []).append(e)
    sent, opened = [0.0] * 24, [0.0] * 24
    for found in named.values():
        times = [e.event_at for e in found if e.name != "Email Opened"]
        if times:
            sent[min(times).hour] += 1
            opened[min(times).hour] += any(e.name == "Email Opened" for e in found)
    return tuple(sent), tuple(opened)


def _cart(ops: list[Event], orders: list[Event]) -> tuple[int, float]:
    """Added minus removed per product after the last order, at the newest known price, the higher of two at once."""
    last = max((e.event_at for e in orders), default=None)
    left: dict[str, int] = {}
    price: dict[str, tuple[datetime, int]] = {}
    for e in ops:
        if last is not None and e.event_at <= last:
            continue
        product = str(e.properties.get("product_id", ""))
        try:
            units = max(1, int(e.properties.get("quantity") or 1))
        except ValueError:
            units = 1
        left[product] = left.get(product, 0) + (units if e.name == "Product Added" else -units)
        cents = minor(e.properties.get("price"))
        if cents is not None and (product not in price or (e.event_at, cents) > price[product]):
            price[product] = (e.event_at, cents)
    kept = {p: n for p, n in left.items() if n > 0}
    return sum(kept.values()), sum(n * price[p][1] for p, n in kept.items() if p in price) / 100


def assert_same(values: Any, expected: dict[str, Value]) -> None:
    """Integers exact, floats within 1e-9 (relative above 1), null as None, NaN or the empty text."""
    import math

    for name, wanted in expected.items():
        got = values[name]
        if isinstance(wanted, tuple):
            assert len(got) == len(wanted), name
            assert all(abs(g - w) <= 1e-9 * max(1.0, abs(w)) for g, w in zip(got, wanted, strict=True)), name
        elif wanted is None:
            assert got in (None, "") or (isinstance(got, float) and math.isnan(got)), (name, got)
        elif isinstance(wanted, int | str):
            assert got == wanted, (name, got, wanted)
        else:
            assert isinstance(wanted, float)
            assert abs(got - wanted) <= 1e-9 * max(1.0, abs(wanted)), (name, got, wanted)
