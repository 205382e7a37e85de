"""The oracle, second half: sessions, favourites, gaps, hours, accounts, consent, the calendar. Slow and plain."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from opportune.domain.decisions import Value
from opportune.domain.events import Event, EventKind, Origin

DAY = timedelta(days=1)
VISITS = (
    "Page Viewed", "Screen Viewed", "Products Searched", "Product List Viewed", "Product Clicked", "Product Viewed",
    "Product Added", "Product Removed", "Cart Viewed", "Checkout Started", "Order Completed",
)  # fmt: skip
DEPTH = {
    "Products Searched": 1, "Product List Viewed": 1, "Product Clicked": 2, "Product Viewed": 2, "Product Added": 3,
    "Cart Viewed": 3, "Checkout Started": 4, "Order Completed": 5,
}  # fmt: skip
ZONES = available_timezones()


def recount_rest(
    log: list[Event], at: datetime, first: dict[str, Any], minor: Callable[[Any], int | None]
) -> dict[str, Value]:
    """The other features as of `at`; `log` is what had happened and was known; `first`: those counted already."""

    def those(names: tuple[str, ...], window: timedelta | None = None, **wanted: Any) -> list[Event]:
        edge = None if window is None else (at - window).replace(minute=0, second=0, microsecond=0)
        return [
            e
            for e in log
            if e.name in names
            and (edge is None or e.event_at > edge)
            and all(e.properties.get(k) == v for k, v in wanted.items())
        ]

    def days(n: int) -> timedelta:
        return timedelta(days=n)

    def value(e: Event) -> int | None:
        told = [e.properties[k] for k in ("revenue", "total", "value") if e.properties.get(k) is not None]
        if told:
            return minor(told[0])
        products = e.properties.get("products")
        lines = [minor(p["price"]) for p in products if "price" in p] if isinstance(products, list) else []
        return sum(n for n in lines if n is not None) if lines else None

    order, view, add = ("Order Completed",), ("Product Viewed", "Product List Viewed"), ("Product Added",)
    year, views_28d = those(order, days(365)), those(view, days(28))
    visits = [e for e in log if e.name in VISITS and e.origin is not Origin.OWN]
    visits_in = lambda window: [e for e in visits if e in those(VISITS, window)]  # noqa: E731
    orders = sorted(those(order, days(730)), key=lambda e: e.event_at)
    values = [v for e in orders if (v := value(e)) is not None and v >= 0]
    gap_median, gap_variation = _gaps([e.event_at for e in orders])[1:]
    favourites = _most(categories(e) for e in orders)
    of_top = [e.event_at for e in orders if favourites and favourites[0][0] in categories(e)]
    sights = those(("Product List Viewed", "Product Clicked", "Product Viewed", "Product Added"), days(90))
    seen = _most([label(e.properties.get("category"))] for e in sights)
    emails = [e for e in those(("Message Sent",), days(30), channel="email") if e.origin is Origin.OWN]
    opened = [e for e in those(("Email Opened",), days(30)) if e.properties.get("is_machine") is not True]
    sends = [e for e in those(("Message Sent",)) if e.origin is Origin.OWN]
    pushed = those(("Push Notification Opened", "Push Notification Tapped"), days(30))
    steps = (
        "Product Added", "Product Added to Wishlist", "Checkout Started", "Checkout Step Viewed",
        "Checkout Step Completed", "Payment Info Entered",
    )  # fmt: skip
    speaking = ("Product Reviewed", "Product Shared", "Cart Shared", "Invite Sent", "Referral Completed")
    hours = _hours(visits_in(days(90)), at)
    age = first["last_order_age_days"]
    rest: dict[str, Value] = {
        "order_value_mean_365d": sum(value(e) or 0 for e in year) / len(year) / 100 if year else None,
        "order_value_min_730d": min(values) / 100 if values else None,
        "order_value_max_730d": max(values) / 100 if values else None,
        "discount_share_365d": sum(map(is_discounted, year)) / len(year) if year else None,
        "refund_share_365d": len(those(("Order Refunded",), days(365))) / len(year) if year else None,
        "orders_gap_median_days": gap_median,
        "orders_gap_variation": gap_variation,
        "next_order_in_days": None if gap_median is None else gap_median - age,
        "order_category_top_730d": favourites[0][0] if favourites else None,
        "category_gap_mean_days": _gaps(of_top)[0],
        "category_gap_median_days": _gaps(of_top)[1],
        "category_gap_variation": _gaps(of_top)[2],
        "views_trend_28d": (len(those(view, days(7))) / 7) / (len(views_28d) / 28) if views_28d else None,
        "views_decayed_30d": math.fsum(0.5 ** (_hours_ago(e, at) / 168) for e in those(view, days(30))),
        "adds_per_view_30d": len(those(add, days(30))) / first["views_n_30d"] if first["views_n_30d"] else None,
        "conversions_n_1h": len(those(steps, timedelta(hours=1))),
        "conversions_n_1d": len(those(steps, days(1))),
        "seen_category_top_90d": seen[0][0] if seen else None,
        "seen_categories_top_90d": ", ".join(name for name, _ in seen[:3]) or None,
        "seen_category_share_90d": seen[0][1] / sum(n for _, n in seen) if seen else None,
        "seen_categories_n_90d": len(seen),
        "seen_products_n_90d": len({p for e in sights if (p := product(e))}),
        "visits_trend_28d": (len(visits_in(days(7))) / 7) / (len(visits_in(days(28))) / 28)
        if visits_in(days(28))
        else None,
        **_sessions(visits_in(days(30)), at),
        "cart_products": _left([e for e in log if e.name in ("Product Added", "Product Removed")], those(order), at),
        "last_send_age_days": min((at - e.event_at) / DAY for e in sends) if sends else None,
        "emails_sent_n_30d": len(emails),
        "pushes_sent_n_30d": len([e for e in those(("Message Sent",), days(30), channel="push") if e in sends]),
        "sms_sent_n_30d": len([e for e in those(("Message Sent",), days(30), channel="sms") if e in sends]),
        "emails_machine_opened_n_30d": len(those(("Email Opened",), days(30), is_machine=True)),
        "email_open_rate_30d": len(opened) / len(emails) if emails else None,
        "pushes_opened_n_30d": len([e for e in pushed if e.properties.get("is_machine") is not True]),
        "visit_hours_of_week": hours,
        "visit_hours_of_day": tuple(math.fsum(hours[d * 24 + h] for d in range(7)) for h in range(24)),
        "advocacy_n_all": len(those(speaking)),
        **{f"is_{c}_out": _is_out(log, c) for c in ("email", "push", "sms", "profiling")},
        **_where(log, at),
        **_account([e for e in log if e.kind is EventKind.GROUP and e.group_id], at),
    }
    n = rest["sessions_n_30d"]
    rest["orders_per_session_30d"] = first["orders_n_30d"] / n if n else None
    rest["engagement_score"] = (
        30 * min(first["visit_days_n_30d"], 10) / 10
        + 20 * min(first["views_n_30d"], 30) / 30
        + 15 * min(first["adds_n_7d"], 5) / 5
        + 20 * min(first["orders_n_90d"], 3) / 3
        + 5 * min(first["emails_opened_n_30d"], 5) / 5
        + 10 * min(first["emails_clicked_n_30d"], 3) / 3
    )
    rest["lifecycle_stage"] = _stage(first, len(those(speaking)))
    return rest


def label(told: Any) -> str:
    """Texts and whole numbers."""
    return str(told) if isinstance(told, str | int) and not isinstance(told, bool) else ""


def product(e: Event) -> str:
    """`product_id`, else `sku`."""
    return label(e.properties.get("product_id", e.properties.get("sku")))


def categories(e: Event) -> list[str]:
    """Its own and its products'."""
    lines = e.properties.get("products")
    told = [e.properties.get("category"), *(p.get("category") for p in (lines if isinstance(lines, list) else []))]
    return sorted({label(one) for one in told} - {""})


def is_discounted(e: Event) -> bool:
    """A discount above 0, or a coupon."""
    discount = e.properties.get("discount")
    return float(discount or 0) > 0 or bool(e.properties.get("coupon"))


def _gaps(instants: list[datetime]) -> tuple[float | None, float | None, float | None]:
    gaps = [(b - a) / DAY for a, b in pairwise(instants)]
    if not gaps:
        return None, None, None
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((g - mean) ** 2 for g in gaps) / len(gaps))
    return mean, median(gaps), spread / mean if len(gaps) > 1 and mean > 0 else None


def _most(found: Any) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for names in found:
        for name in names:
            if name:
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda it: (-it[1], it[0]))


def _hours_ago(e: Event, at: datetime) -> int:
    """Whole hours between the hour an event ends in and the hour of `at`; both hold their end."""
    tick = timedelta(microseconds=1)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (at - tick - epoch) // timedelta(hours=1) - (e.event_at - tick - epoch) // timedelta(hours=1)


def _hours(visits: list[Event], at: datetime) -> tuple[float, ...]:
    week = [0.0] * 168
    for e in visits:
        before = e.event_at - timedelta(microseconds=1)
        week[before.weekday() * 24 + before.hour] += 0.5 ** ((_hours_ago(e, at) // 168) / 4)
    bell = [math.exp(-(d * d) / 8) for d in range(-6, 7)]
    return tuple(
        math.fsum(week[(h + d) % 168] * bell[d + 6] for d in range(-6, 7)) / math.fsum(bell) for h in range(168)
    )


def _sessions(visits: list[Event], at: datetime) -> dict[str, Value]:
    sessions: list[list[Event]] = []
    for e in sorted(visits, key=lambda e: e.event_at):
        if sessions and e.event_at - sessions[-1][-1].event_at <= timedelta(minutes=30):
            sessions[-1].append(e)
        else:
            sessions.append([e])
    edge = (at - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    now = sessions[-1] if sessions and at - sessions[-1][-1].event_at <= timedelta(minutes=30) else []
    return {
        "sessions_n_7d": sum(s[0].event_at > edge for s in sessions),
        "sessions_n_30d": len(sessions),
        "session_events_n": len(now),
        "session_minutes": (now[-1].event_at - now[0].event_at) / timedelta(minutes=1) if now else 0.0,
        "session_intent": max((DEPTH.get(e.name, 0) for e in now), default=0),
    }


def _left(ops: list[Event], orders: list[Event], at: datetime) -> str | None:
    edge = (at - timedelta(days=30)).replace(minute=0, second=0, microsecond=0)
    since = max([edge, *(e.event_at for e in orders)])
    left: dict[str, int] = {}
    for e in ops:
        if e.event_at > since:
            told = e.properties.get("quantity") or 1
            units = max(1, int(told)) if str(told).lstrip("-").isdigit() else 1
            left[product(e)] = left.get(product(e), 0) + (units if e.name == "Product Added" else -units)
    return ", ".join(sorted(p for p, n in left.items() if n > 0 and p)) or None


def _says(e: Event) -> dict[str, bool]:
    """Channel -> whether the event says out."""
    p = e.properties
    if e.name in ("Identified", "Segment Consent Preference Updated"):
        said = e.context.get("consent", {}).get("categoryPreferences", {})
        return {c: not yes for c, yes in said.items()}
    if e.name == "Consent Changed":
        return (
            {p["channel"]: p.get("state") == "out"} if p.get("topic") == "*" and "channel" in p and "state" in p else {}
        )
    if e.name == "Unsubscribed":
        return {p["channel"] if p.get("channel") in ("email", "push", "sms", "*") else "email": True}
    if e.name == "Email Bounced" and p.get("bounce_type") == "soft":
        return {}
    return {"email": True} if e.name in ("Email Bounced", "Email Marked as Spam") else {}


def _is_out(log: list[Event], channel: str) -> bool:
    """The newest word about the channel, or about all of them, is out; of two at one instant out."""
    for scope in (channel,) if channel == "profiling" else (channel, "*"):
        said = [(e.event_at, _says(e)[scope]) for e in log if scope in _says(e)]
        if said and max(said)[1]:
            return True
    return False


def _where(log: list[Event], at: datetime) -> dict[str, Value]:
    traits = [(e.event_at, e.traits.get("timezone")) for e in log if e.kind is EventKind.IDENTIFY]
    contexts = [(e.event_at, e.context.get("timezone")) for e in log if e.origin is not Origin.OWN]
    named = [max(valid)[1] for told in (traits, contexts) if (valid := [t for t in told if t[1] in ZONES])]
    local = at.astimezone(ZoneInfo(str(named[0]))) if named else at
    return {
        "zone": named[0] if named else None,
        "local_hour": local.hour,
        "local_weekday": local.weekday(),
        "is_weekend": local.weekday() >= 5,
    }


def _account(calls: list[Event], at: datetime) -> dict[str, Value]:
    def told(e: Event) -> tuple[Any, ...]:
        employees, created = e.traits.get("employees"), e.traits.get("createdAt")
        n = int(employees) if str(employees).isdigit() else -1
        began = datetime.fromisoformat(created) if isinstance(created, str) and created[0].isdigit() else None
        began = began if began is None or began.tzinfo else began.replace(tzinfo=UTC)
        since = began.timestamp() if began else -1
        return e.event_at, e.group_id, e.traits.get("plan") or "", n, since

    if not calls:
        return dict.fromkeys(("account_id", "account_plan", "account_employees", "account_age_days"))
    _, account, plan, n, since = max(told(e) for e in calls)
    return {
        "account_id": account,
        "account_plan": plan or None,
        "account_employees": float(n) if n >= 0 else None,
        "account_age_days": max(0.0, (at - datetime.fromtimestamp(since, UTC)) / DAY) if since >= 0 else None,
    }


def _stage(first: dict[str, Any], n_spoken: int) -> str | None:
    idle = first["last_active_age_days"]
    if first["orders_n_all"]:
        if idle is not None and idle > 60:
            return "lapsed" if idle > 180 else "lapsing"
        if first["orders_n_365d"] >= 2 and n_spoken:
            return "advocate"
        return "loyal" if first["orders_n_365d"] >= 3 else "customer"
    if first["adds_n_7d"] or first["views_n_30d"] >= 3:
        return "considering"
    return None if idle is None else "aware"
