"""Feature state: a function of the set of events, finished at any instant by one function."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.naive import NOON, assert_same, event, events, recount

from opportune.domain.events import Event
from opportune.domain.instants import to_us
from opportune.features import state as states
from opportune.features.catalog import BY_NAME, CART_MAX_OPS, NAMES


@given(events(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_order_and_any_batching_give_the_same_bytes(log: list[Event], rng: random.Random) -> None:
    """Whatever the order and the batches in which the same events arrive, the packed state is the same."""
    whole = states.pack(states.rebuild(log))
    shuffled = log[:]
    rng.shuffle(shuffled)
    packed = states.pack(states.empty())
    while shuffled:
        n = rng.randint(1, len(shuffled))
        batch, shuffled = shuffled[:n], shuffled[n:]
        packed = states.pack(states.update(states.unpack(packed), batch))
    assert packed == whole


@given(events(), st.integers(0, 130 * 24 * 60))
@settings(max_examples=100, deadline=None)
def test_finished_values_equal_a_naive_recount(log: list[Event], minutes: int) -> None:
    """At every instant from the newest event on, also long after it, finalise equals the count by hand."""
    at = max([NOON, *(e.event_at for e in log)]) + timedelta(minutes=minutes)
    state = states.unpack(states.pack(states.rebuild(log)))
    assert_same(states.finalise(state, at), recount(log, at))


def test_every_catalogue_name_is_finished_also_without_events() -> None:
    """A customer without history has every feature: zeros, and null for ages of what never happened."""
    values = states.finalise(states.empty(), NOON)
    assert tuple(values) == NAMES
    assert values["orders_n_30d"] == 0
    assert values["cart_value"] == 0.0
    assert values["last_order_age_days"] is None
    assert values["active_hours"] == (0.0,) * 24


def test_windows_slide_without_new_events() -> None:
    """The same state gives falling counts as time passes; the old edge is the hour, the event at it is out."""
    seen = NOON.replace(minute=0, second=0, microsecond=0)
    state = states.rebuild([event("m", "Product Viewed", seen)])
    assert states.finalise(state, seen)["views_n_1d"] == 1
    assert states.finalise(state, seen + timedelta(days=1, microseconds=-1))["views_n_1d"] == 1
    assert states.finalise(state, seen + timedelta(days=1))["views_n_1d"] == 0
    assert states.finalise(state, seen + timedelta(days=1))["views_n_7d"] == 1


def test_an_order_empties_the_cart_and_an_old_cart_is_forgotten() -> None:
    """What was added before the last order, or more than 30 days ago, is not in the cart."""
    added = event("a", "Product Added", NOON, product_id="p", price=20, quantity=2)
    full = states.rebuild([added])
    assert states.finalise(full, NOON)["cart_value"] == 40.0
    assert states.finalise(full, NOON + timedelta(days=31))["cart_items_n"] == 0
    ordered = states.update(full, [event("o", "Order Completed", NOON + timedelta(hours=1), revenue=40)])
    assert states.finalise(ordered, NOON + timedelta(hours=2))["cart_items_n"] == 0
    late = states.update(ordered, [event("b", "Product Added", NOON - timedelta(hours=1), product_id="q")])
    assert states.pack(late) == states.pack(ordered) or states.finalise(late, NOON)["cart_items_n"] == 0


def test_the_cart_is_bounded() -> None:
    """A bot that adds for ever keeps the newest 200 operations, in whatever order they came."""
    ops = [event(f"m{i}", "Product Added", NOON + timedelta(seconds=i), product_id=f"p{i}") for i in range(300)]
    state = states.rebuild(reversed(ops))
    assert max(map(len, state.ops)) == CART_MAX_OPS
    assert states.finalise(state, NOON + timedelta(hours=1))["cart_items_n"] == CART_MAX_OPS


def test_update_leaves_the_old_state_alone() -> None:
    """States are values: updating one makes another."""
    old = states.rebuild([event("m", "Product Added", NOON, product_id="p")])
    before = states.pack(old)
    states.update(old, [event("n", "Order Completed", NOON + timedelta(hours=1), revenue=1)])
    assert states.pack(old) == before


@pytest.mark.parametrize("data", [b"", b"not json", b"[1]", b'["0:abc",-1,[],[],[],[]]'])
def test_a_state_of_another_catalogue_is_recognised(data: bytes) -> None:
    """Foreign or damaged bytes raise StateOutdated, never wrong values; Feast's view says is_known false."""
    with pytest.raises(states.StateOutdated):
        states.unpack(data)
    assert states.finish_packed(data, to_us(NOON))["is_known"] is False


def test_a_clock_a_moment_behind_the_newest_event_counts_it() -> None:
    """Another machine's event is in at once; its age is 0, never negative."""
    state = states.rebuild([event("m", "Order Completed", NOON, revenue=5)])
    values = states.finalise(state, NOON - timedelta(seconds=1))
    assert values["orders_n_30d"] == 1
    assert values["last_order_age_days"] == 0.0


def test_what_comes_late_beyond_every_window_changes_all_time_values_only() -> None:
    """An event older than anything kept gives the state of an ordered replay: sums move, windows and lists do not."""
    old = [
        event(
            f"o{i}", name, NOON - timedelta(days=900, hours=i), product_id="p", category="old", email_id="l", revenue=5
        )
        for i, name in enumerate(("Order Completed", "Product Viewed", "Product Added", "Page Viewed", "Message Sent"))
    ]
    recent = [event("n", "Product Viewed", NOON, product_id="q", category="new")]
    in_order, late = states.rebuild([*old, *recent]), states.update(states.rebuild(recent), old)
    assert states.pack(late) == states.pack(in_order)
    values, before = states.finalise(late, NOON), states.finalise(states.rebuild(recent), NOON)
    assert (values["orders_n_all"], values["orders_n_365d"]) == (1, 0)
    assert (values["seen_category_top_90d"], values["order_category_top_730d"]) == ("new", None)
    changed = {name for name in NAMES if values[name] != before[name]}
    assert all(BY_NAME[name].window is None for name in changed), changed


def test_features_chosen_by_name_are_those_of_the_whole() -> None:
    """Only what was asked for comes back, also where it is derived from others; an unknown name is an error."""
    state = states.rebuild([event("m", "Order Completed", NOON, revenue=5)])
    whole = states.finalise(state, NOON)
    for name in NAMES:
        assert states.finalise(state, NOON, [name]) == {name: whole[name]}
    with pytest.raises(KeyError):
        states.finalise(state, NOON, ["orders_n_31d"])


def test_calendar_features_follow_the_clock_of_the_zone() -> None:
    """Hour and weekday change with daylight saving and across midnight; without a zone they are those of UTC."""
    told = event("m", "Identified", NOON - timedelta(days=200), traits={"timezone": "America/New_York"})
    state = states.rebuild([told])
    instants = {
        datetime(2026, 3, 8, 6, 59, tzinfo=UTC): (1, 6, True),  # a minute before the clocks go forward
        datetime(2026, 3, 8, 7, 0, tzinfo=UTC): (3, 6, True),
        datetime(2026, 3, 9, 3, 59, tzinfo=UTC): (23, 6, True),
        datetime(2026, 3, 9, 4, 0, tzinfo=UTC): (0, 0, False),
    }
    for at, wanted in instants.items():
        values = states.finalise(state, at)
        assert (values["local_hour"], values["local_weekday"], values["is_weekend"]) == wanted
        assert states.finalise(states.empty(), at)["local_hour"] == at.hour


def test_visits_wrap_round_the_week() -> None:
    """A visit in the last hour of Sunday weighs on the first hours of Monday; nothing is lost in smoothing."""
    sunday = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    values = states.finalise(states.rebuild([event("m", "Page Viewed", sunday)]), sunday)
    week, day = values["visit_hours_of_week"], values["visit_hours_of_day"]
    assert isinstance(week, tuple)
    assert isinstance(day, tuple)
    assert max(range(168), key=week.__getitem__) == 167
    assert week[0] == pytest.approx(week[166])
    assert week[0] > 0
    assert sum(week) == pytest.approx(1)
    assert sum(day) == pytest.approx(1)
