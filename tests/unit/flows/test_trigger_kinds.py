"""One test per row of the trigger table, on the replay clock: events come in, time passes, messages go out."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opportune.domain.customers import Consent, ConsentState
from opportune.domain.events import EventKind, Origin

from .stage import Stage, day


@pytest.fixture
def stage(tmp_path: Path):  # type: ignore[no-untyped-def]
    return lambda triggers, **more: Stage(tmp_path, triggers, **more)


def test_event(stage: Any) -> None:
    """After its delay, for each value of the key, not again within the cool-down."""
    s = stage("  tip: {on: {event: Feature Used, key: properties.feature}, delay: 2h, cooldown: 7d}")
    s.take(day(0), "Feature Used", feature="a")
    s.take(day(0.02), "Feature Used", feature="b")
    s.take(day(3), "Feature Used", feature="a")
    s.go(day(9))
    assert s.said == [("03-01 14:00", "tip"), ("03-01 15:00", "tip")]  # the second waits for the cap


def test_absence(stage: Any) -> None:
    """Fires when nothing followed; a repeat starts the wait again; what was waited for stops it."""
    s = stage("  cart: {on: {event: Product Added}, unless: {event: Order Completed}, wait: 1h}")
    s.take(day(0), "Product Added")
    s.take(day(0.02), "Product Added")
    s.go(day(1))
    s.take(day(1), "Product Added")
    s.take(day(1.01), "Order Completed")
    s.go(day(2))
    assert s.said == [("03-01 13:28", "cart")]


def test_sequence_across_channels(stage: Any) -> None:
    """A web visit, then a visit to the store within two days."""
    s = stage("  hello: {steps: [{event: Page Viewed}, {event: Store Visited}], in: 2d}")
    s.take(day(0), "Store Visited")
    s.take(day(1), "Page Viewed")
    s.take(day(4), "Store Visited")
    s.take(day(5), "Page Viewed")
    s.take(day(6), "Store Visited")
    s.take(day(6.5), "Store Visited")
    assert s.said == [("03-07 12:00", "hello")]


def test_threshold_and_velocity(stage: Any) -> None:
    """Three views of one category in 24 h; not two of each; late and repeated envelopes fire nothing more."""
    s = stage("  keen: {on: {event: Product Viewed, key: properties.category}, at_least: 3, in: 24h}",
              body=" on {{ event.category }}")  # fmt: skip
    views = [s.take(day(n / 10), "Product Viewed", category="shoes") for n in (0, 2)]
    s.take(day(0.25), "Product Viewed", category="hats")
    s.take(day(0.3), "Product Viewed", category="hats")
    late = s.take(day(0.4), "Product Viewed", category="shoes")
    s.again(*views, late)
    s.again(replace(views[0], message_id="late", event_at=day(0.1)))
    s.go(day(5))
    assert s.said == [("03-01 21:36", "keen on shoes")]


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/London", [("03-28 09:00", "many"), ("03-29 08:00", "many"), ("10-25 09:00", "many")]),
        ("America/New_York", [("03-28 13:00", "many"), ("03-29 13:00", "many"), ("10-25 13:00", "many")]),
    ],
)
def test_date_at_the_customers_local_hour_through_clock_changes(stage: Any, zone: str, said: Any) -> None:
    """Nine in the morning there, before and after the clocks change."""
    s = stage('  many: {date: traits.on, every: year, at: "09:00"}')
    s.who(timezone=zone, on="2000-03-28")
    s.go(datetime(2026, 3, 28, 23, tzinfo=UTC))
    s.who(on="2000-03-29")  # already greeted this year
    s.go(datetime(2026, 3, 29, 23, tzinfo=UTC))
    assert s.said == said[:1]
    other = stage('  many: {date: traits.on, every: once, at: "09:00"}')
    other.who(timezone=zone, on="2026-03-28")
    other.go(datetime(2026, 3, 28, 23, tzinfo=UTC))
    for on in ("2026-03-29", "2026-10-25"):
        other.who(on=on)
        other.go(datetime.fromisoformat(f"{on}T23:00:00+00:00"))
    assert other.said == said


def test_date_every_year_before_the_day_and_on_29_february(stage: Any) -> None:
    """A birthday of 29 February, a week before and on the day, four years long."""
    s = stage("  bday: {date: traits.birthday, every: year, before: [7d, 0d], feb_29: mar_1}",
              body=" {{ event.years }} in {{ event.days }}")  # fmt: skip
    s.go(day(3))
    s.who(birthday="2000-02-29", timezone="Europe/London")
    s.go(datetime(2029, 12, 31, tzinfo=UTC))
    days = [(f"{at:%Y-%m-%d}", body) for at, _, body in s.post.sent]
    assert days == [
        ("2027-02-22", "bday 27 in 7"), ("2027-03-01", "bday 27 in 0"),
        ("2028-02-22", "bday 28 in 7"), ("2028-02-29", "bday 28 in 0"),
        ("2029-02-22", "bday 29 in 7"), ("2029-03-01", "bday 29 in 0"),
    ]  # fmt: skip


def test_date_of_a_first_purchase_of_an_expiry_and_of_the_calendar(stage: Any) -> None:
    """An anniversary, a policy about to end, and Christmas, a day earlier in Norway, whose only zone it then is."""
    s = stage(
        "  anniversary: {first: {event: Order Completed}, every: year}\n"
        "  ends: {date: properties.ends, on: {event: Issued, key: properties.policy}, every: once, before: [7d, 1d]}\n"
        "  christmas: {occasion: christmas}"
    )
    s.take(day(0), "Order Completed")
    s.take(day(1), "Order Completed")
    s.take(day(2), "Issued", policy="a", ends="2026-04-10")
    s.take(day(3), "Issued", policy="b", ends="2026-04-20")
    s.take(day(4), "Issued", policy="b", ends="2026-05-20")
    s.who(country="NO")
    s.go(datetime(2027, 3, 2, tzinfo=UTC))
    assert s.said == [
        ("04-03 07:00", "ends"), ("04-09 07:00", "ends"), ("05-13 07:00", "ends"), ("05-19 07:00", "ends"),
        ("12-24 08:00", "christmas"), ("03-01 08:00", "anniversary"),
    ]  # fmt: skip


def test_date_without_a_zone_is_utc_and_a_change_of_zone_on_the_day_fires_once(stage: Any) -> None:
    """Nobody knows the zone: nine in UTC. Moving on the day itself, either way: one greeting."""
    s = stage("  bday: {date: traits.birthday, every: year}")
    s.who(birthday="1990-03-14")
    s.go(datetime(2026, 3, 14, 10, tzinfo=UTC))
    s.who(timezone="America/New_York")
    s.go(datetime(2026, 12, 1, tzinfo=UTC))
    assert s.said == [("03-14 09:00", "bday")]
    s.go(datetime(2027, 3, 14, 10, tzinfo=UTC))  # New York's nine is still to come: 13:00 UTC
    s.who(timezone="Europe/London")  # where nine has passed
    s.go(datetime(2027, 12, 1, tzinfo=UTC))
    assert s.said[1:] == [("03-14 10:00", "bday")]


def test_inactivity_without_any_event_arriving(stage: Any) -> None:
    """Thirty days after the last visit, once per silence; other events are no sign of life."""
    s = stage("  miss: {inactive_for: 30d, on: [{event: Page Viewed}, {event: Order Completed}]}")
    first = s.take(day(0), "Page Viewed")
    s.take(day(10), "Page Viewed")
    s.take(day(20), "Email Opened")
    s.again(first)
    s.go(day(50))
    s.again(replace(first, message_id="late", event_at=day(15)))  # before the firing, known after it
    s.go(day(100))
    s.take(day(100), "Order Completed")
    s.go(day(200))
    assert s.said == [("04-10 12:00", "miss"), ("07-09 12:00", "miss")]


def test_inactivity_counts_imports_and_its_cool_down_only_puts_it_off(stage: Any) -> None:
    """An imported visit starts the wait; inside the cool-down the message waits for its end."""
    s = stage("  miss: {inactive_for: 10d, cooldown: 30d}")
    s.take(day(-2), "Page Viewed", origin=Origin.IMPORT)
    s.go(day(9))
    s.take(day(9), "Page Viewed")
    s.go(day(100))
    assert s.said == [("03-09 12:00", "miss"), ("04-08 12:00", "miss")]


def test_replenishment(stage: Any) -> None:
    """Every 20 days by habit: five days before the next is due; an order in between moves it."""
    s = stage("  refill: {on: {event: Order Completed, key: properties.products.category}, window: 5d}",
              body=" {{ event.key }}")  # fmt: skip
    for n in (0, 20):
        s.take(day(n), "Order Completed", products=[{"category": "coffee"}, {"category": f"other{n}"}])
    s.take(day(34), "Order Completed", products=[{"category": "coffee"}])
    s.go(day(100))
    assert s.said == [("04-16 12:00", "refill coffee")]


def test_score_with_hysteresis_and_cool_down(stage: Any) -> None:
    """Up, hovering, down, up again: twice; and inside the cool-down not at all."""
    s = stage("  leaving: {score: churn, above: 0.7, rearm_below: 0.6, cooldown: 5d}", body=" {{ event.score }}")
    s.scorer.churn = {1: 0.5, 2: 0.8, 3: 0.65, 4: 0.8, 5: 0.5, 6: 0.9, 7: 0.5, 8: 0.95}
    for n in range(8):
        s.take(day(n * 1.5), "Order Completed")
    s.go(day(20))
    assert s.said == [("03-03 00:00", "leaving 0.8"), ("03-09 00:00", "leaving 0.9")]


def test_audience_entered_and_left(stage: Any) -> None:
    """In with the second order; out when the plan changes, as soon as the cap allows."""
    s = stage("  joined: {entered: vip}\n  out: {left: vip}")
    s.take(day(0), "Order Completed")
    s.take(day(1), "Order Completed")
    s.who(plan="trial")
    s.go(day(2))
    assert s.said == [("03-02 12:00", "joined"), ("03-02 13:00", "out")]


def test_windows_that_slide_without_events_are_seen_by_the_sweep(stage: Any) -> None:
    """An order in the last thirty days, then nothing: out of the audience at the first look after they are over."""
    s = stage("  gone: {left: recent}\n  was_in: {entered: recent, ends_at: 2026-03-01}")
    s.take(day(0), "Order Completed")
    s.go(day(60))
    assert s.said == [("04-01 00:00", "gone")]


def test_milestone_of_orders_and_of_points(stage: Any) -> None:
    """The second and fifth order once each; points that an event states, the highest level passed."""
    s = stage(
        "  orders: {milestone: features.orders_n_all, levels: [2, 5]}\n"
        "  points: {milestone: properties.points, on: {event: Points Changed}, levels: [100, 1000, 5000]}",
        body=" {{ event.level }}",
    )
    for n in range(6):
        s.take(day(n), "Order Completed")
    for n, points in enumerate((50, 1200, 90, 1100, 6000, 7000)):
        s.take(day(10 + n), "Points Changed", points=points)
    assert s.said == [
        ("03-02 12:00", "orders 2"), ("03-05 12:00", "orders 5"),
        ("03-12 12:00", "points 1000"), ("03-15 12:00", "points 5000"),
    ]  # fmt: skip


def test_transactional_bypasses_consent_caps_and_quiet_hours(stage: Any) -> None:
    """Two in the same minute of the night, to somebody who has opted out of everything; marketing says nothing."""
    s = stage(
        "  receipt: {kind: transactional, on: {event: Order Completed, key: properties.order_id}}\n"
        "  more: {on: {event: Order Completed, key: properties.order_id}}",
        rules='quiet_hours: {start: "00:00", end: "23:00"}\n',
    )
    for user in ("c1", "c2"):
        s.take(day(0), EventKind.IDENTIFY, user=user, timezone="Europe/London")
    s.take(day(0), "Order Completed", user="c2", order_id="0")
    no = Consent(consent_id="no", customer_id="c1", channel="*", topic="*", state=ConsentState.OUT, at=day(0),
                 source="test", recorded_at=day(0))  # fmt: skip
    with s.desk.ledger.begin(["c1"]) as uow:
        uow.consents.add([no])
    s.take(day(0), "Order Completed", order_id="1")
    s.take(day(0), "Order Completed", order_id="2")
    s.go(day(2))
    assert s.said == [*[("03-01 12:00", "receipt")] * 3, ("03-01 23:00", "more")]  # c2's, after quiet hours


def test_a_new_playbook_fires_for_nobody_who_is_across_already(stage: Any, tmp_path: Path) -> None:
    """Deployed over somebody with three orders, a birthday today and a long silence: only what comes is set."""
    old = stage("  never: {on: {event: Nothing}}")
    for n in range(3):
        old.take(day(-60 + n), "Order Completed", origin=Origin.IMPORT)
    old.take(day(-25), "Page Viewed", origin=Origin.IMPORT)
    old.who(birthday="1990-03-01", timezone="Europe/London")
    new = Stage(
        tmp_path / "new",
        "  joined: {entered: vip}\n  orders: {milestone: features.orders_n_all, levels: [2, 5]}\n"
        "  miss: {inactive_for: 30d}\n  bday: {date: traits.birthday, every: year, expires_after: 1h}",
    )
    new.desk = replace(new.desk, ledger=old.desk.ledger)
    new.go(day(20))
    assert new.said == [("03-06 12:00", "miss")]
    new.go(day(366))
    assert new.said[1:] == [("03-01 09:00", "bday")]


def test_starts_at_and_ends_at_bound_every_mechanism(stage: Any) -> None:
    """Outside its days nothing fires, whether heard, planned or watched; a crossing outside is spent silently."""
    s = stage(
        "  heard: {on: {event: A}, at_least: 2, in: 1d, starts_at: 2026-03-05}\n"
        "  planned: {date: traits.day, every: once, after: [0d, 5d], ends_at: 2026-03-05}\n"
        "  watched: {milestone: features.orders_n_all, levels: [1, 2], starts_at: 2026-03-05}"
    )
    s.who(day="2026-03-03")
    for n, name in ((0, "A"), (0.5, "A"), (2, "Order Completed"), (7, "A"), (7.5, "A"), (9, "Order Completed")):
        s.take(day(n), name)
    s.go(day(30))
    assert s.said == [("03-03 09:00", "planned"), ("03-09 00:00", "heard"), ("03-10 12:00", "watched")]
