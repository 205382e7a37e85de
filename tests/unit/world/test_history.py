"""The open loop: seeded, ordered, plausible events in Segment's shape."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from opportune.domain.customers import PROFILING, ConsentState
from opportune.domain.events import EventKind, Origin
from opportune.domain.instants import format_instant
from opportune.world import World, WorldConfig
from opportune.world.config import EFFECTS

END = datetime(2026, 4, 2, 15, 30, tzinfo=UTC)
SMALL = WorldConfig(n_customers=300, n_days=100)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMALL, seed=7, end=END)


@pytest.fixture(scope="module")
def events(world: World) -> list[dict]:
    return list(world.events())


def test_same_seed_same_world(world: World, events: list[dict]) -> None:
    """Two worlds of one seed are equal to the byte, and another seed gives another world."""
    assert list(World(SMALL, seed=7, end=END).events()) == events
    assert list(world.events()) == events
    assert list(World(SMALL, seed=8, end=END).events()) != events


def test_events_are_ordered_unique_and_end_on_time(world: World, events: list[dict]) -> None:
    """Time never runs backwards, message ids never repeat, and the last day is the day of `end`."""
    stamps = [datetime.fromisoformat(e["timestamp"]) for e in events]
    assert stamps == sorted(stamps)
    assert len({e["messageId"] for e in events}) == len(events)
    assert world.start <= stamps[0]
    assert END - timedelta(hours=6) < stamps[-1] < END


def test_a_slice_is_the_same_as_that_part_of_the_whole(world: World, events: list[dict]) -> None:
    """`since` and `until` choose; they change nothing."""
    since, until = datetime(2026, 2, 1, 7, tzinfo=UTC), datetime(2026, 2, 20, 13, tzinfo=UTC)
    part = [e for e in events if since <= datetime.fromisoformat(e["timestamp"]) < until]
    assert list(world.events(since, until)) == part


def test_domain_events_say_the_same(world: World, events: list[dict]) -> None:
    """The fast path gives the same envelopes as domain events of an import."""
    since = datetime(2026, 3, 25, tzinfo=UTC)
    told = [e for e in events if datetime.fromisoformat(e["timestamp"]) >= since]
    seen = list(world.domain_events(since, ingested_at=END))
    assert [e.message_id for e in seen] == [e["messageId"] for e in told]
    for event, e in zip(seen, told, strict=True):
        assert event.event_at == event.known_at == event.received_at == datetime.fromisoformat(e["timestamp"])
        assert (event.user_id, event.anonymous_id) == (e.get("userId"), e.get("anonymousId"))
        assert event.properties == e.get("properties", {})
        assert event.origin is Origin.IMPORT
        assert event.ingested_at == END
        assert event.name == {"page": "Page Viewed", "identify": "Identified"}.get(event.kind.value, e.get("event"))
        assert event.kind is EventKind(e["type"])


def test_jsonl_is_the_same_events(world: World, events: list[dict], tmp_path: Path) -> None:
    """The file holds one envelope a line."""
    n = world.write_jsonl(tmp_path / "world.jsonl")
    lines = (tmp_path / "world.jsonl").read_text(encoding="utf-8").splitlines()
    assert n == len(lines) == len(events)
    assert [json.loads(line) for line in lines[::500]] == events[::500]


def test_every_kind_of_event_occurs(events: list[dict]) -> None:
    """Browsing, carts, orders, refunds, referrals, sign-ups, identify calls and e-mail events are all there."""
    n = Counter(e.get("event", e["type"]) for e in events)
    assert set(n) >= {
        *(
            "page",
            "identify",
            "Signed Up",
            "Products Searched",
            "Product List Viewed",
            "Product Viewed",
            "Product Added",
        ),
        *("Cart Viewed", "Checkout Started", "Order Completed", "Order Refunded", "Invite Sent"),
        *("Email Delivered", "Email Opened", "Email Link Clicked", "Email Bounced", "Unsubscribed"),
    }
    assert n["page"] > n["Checkout Started"] > n["Order Completed"] > n["Order Refunded"] > 0
    assert 0.04 < n["Order Completed"] / n["page"] < 0.3
    assert 0.08 < n["Email Opened"] / n["Email Delivered"] < 0.35


def test_orders_add_up(events: list[dict]) -> None:
    """Revenue is the sum of the products, what was ordered had been added to that cart, refunds name their order."""
    added: dict[str, set[str]] = {}
    revenue: dict[str, float] = {}
    for e in events:
        p = e.get("properties", {})
        if e.get("event") == "Product Added":
            added.setdefault(p["cart_id"], set()).add(p["product_id"])
        elif e.get("event") == "Order Completed":
            assert p["revenue"] == pytest.approx(sum(i["price"] * i["quantity"] for i in p["products"]))
            assert {i["product_id"] for i in p["products"]} <= added[p["cart_id"]]
            assert p["order_id"] not in revenue
            revenue[p["order_id"]] = p["revenue"]
            assert e["userId"]
        elif e.get("event") == "Order Refunded":
            assert p["revenue"] == revenue[p["order_id"]]


def test_anonymous_visits_are_joined_by_identify(events: list[dict]) -> None:
    """Each device belongs to one customer, is anonymous at first, and identify carries both ids."""
    owner: dict[str, str] = {}
    was_anonymous, joined = set(), set()
    for e in events:
        device, user = e.get("anonymousId"), e.get("userId")
        if device and user:
            assert owner.setdefault(device, user) == user
        elif device:
            assert device not in owner
            was_anonymous.add(device)
        if e["type"] == "identify":
            joined.add(device)
    assert was_anonymous & joined
    assert set(owner) == joined
    assert any(device.endswith("-2") for device in joined)
    assert was_anonymous - joined


def test_traits_are_partly_missing_and_zones_varied(world: World, events: list[dict]) -> None:
    """There are zones with half hours and daylight saving, and customers without zone, address or name."""
    told = [e["traits"] for e in events if e["type"] == "identify" and e["traits"]]
    zones = Counter(t.get("timezone") for t in told)
    assert {"Asia/Kolkata", "Europe/London", "Australia/Adelaide", None} <= set(zones)
    assert 0.03 < zones[None] / len(told) < 0.15
    assert all(0 < sum(name in t for t in told) < len(told) for name in ("email", "push_token", "phone", "first_name"))
    truth = world.truth()
    assert set(truth["zone"]) == set(SMALL.zones)


def test_consent_is_given_refused_and_withdrawn(world: World, events: list[dict]) -> None:
    """Consent lines name channel and state at sign-up; some object to profiling; nobody gets mail against consent."""
    lines = list(world.consents())
    state = {(c.customer_id, c.channel): c.state for c in lines}
    assert len(state) == len(lines) == 4 * sum(e.get("event") == "Signed Up" for e in events)
    share_out = np.mean([s is ConsentState.OUT for (_, channel), s in state.items() if channel == PROFILING])
    assert 0.01 < share_out < 0.15
    gone: set[str] = set()
    for e in events:
        if e.get("event") == "Email Delivered":
            assert state[e["userId"], "email"] is ConsentState.IN
            assert e["userId"] not in gone
        elif e.get("event") == "Unsubscribed":
            gone.add(e["userId"])


def test_visits_keep_to_local_habits(world: World, events: list[dict]) -> None:
    """The commonest local hour of visits is the true best hour, in every zone alike."""
    truth = world.truth().set_index("customer_id")
    hours: dict[int, Counter[int]] = {}
    for e in events:
        if e["type"] == "page" and e.get("userId") in truth.index:
            row = truth.loc[e["userId"]]
            local = datetime.fromisoformat(e["timestamp"]).astimezone(ZoneInfo(row["zone"]))
            hours.setdefault(int(row["best_hour_local"]), Counter())[local.hour] += 1
    assert set(hours) == {7, 12, 19, 22}
    for best, seen in hours.items():
        assert abs(seen.most_common(1)[0][0] - best) <= 1
        near = sum(seen[(best + d) % 24] for d in (-2, -1, 0, 1, 2))
        assert near > 0.5 * seen.total()


def test_the_shape_is_public(world: World, events: list[dict]) -> None:
    """History cannot be read past its end, and a naive end is refused."""
    with pytest.raises(ValueError, match="history ends"):
        list(world.events(until=END + timedelta(days=1)))
    with pytest.raises(ValueError, match="naive"):
        World(SMALL, end=datetime(2026, 1, 1))  # noqa: DTZ001
    assert format_instant(world.now) == format_instant(END)
    assert all(set(e) <= {"type", "messageId", "timestamp", "userId", "anonymousId", "context", "properties", "traits"}
               | {"event", "name"} for e in events)  # fmt: skip


def test_every_default_is_written_down() -> None:
    """docs/world.md names every setting of the world, every class and every campaign with a known effect."""
    text = (Path(__file__).parents[3] / "docs" / "world.md").read_text(encoding="utf-8")
    config = WorldConfig()
    names = [
        *config.__dataclass_fields__,
        *EFFECTS,
        *(r.name for r in config.rhythms),
        *config.zones,
        *config.hour_types,
    ]
    assert [n for n in names if f"`{n}`" not in text] == []
