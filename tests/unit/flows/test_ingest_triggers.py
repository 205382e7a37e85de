"""New events arm, restart and cancel timers; late and shuffled ones never double a firing."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.messages import SendState
from opportune.domain.timers import Timer, TimerFate
from opportune.flows.arm import MAX_PAYLOAD_BYTES, capped

from .ingesting import Shop, added, at, event, identify, ordered, send


def fire(shop: Shop, timer: Timer, hour: float) -> None:
    with shop.ledger.begin([timer.customer_id]) as uow:
        uow.timers.finish([timer], TimerFate.FIRED, at(hour))


def test_absence_is_due_its_wait_after_the_event_and_carries_its_properties() -> None:
    shop = Shop(now_hours=1)
    shop.take(added(1))
    timer = shop.carts()["k1"]
    assert (timer.due_at, timer.set_at, timer.set_by) == (at(2), at(1), added(1).message_id)
    assert timer.expires_at == at(26)
    assert timer.payload == {"cart_id": "k1", "price": 10}


def test_a_repeat_restarts_the_timer_and_a_late_earlier_one_does_not() -> None:
    shop = Shop(now_hours=2)
    shop.take(added(1.5))
    shop.take(added(1))
    assert shop.carts()["k1"].due_at == at(2.5)
    shop.take(added(1.8))
    assert (shop.carts()["k1"].due_at, shop.carts()["k1"].version) == (at(2.8), 2)


def test_two_carts_are_two_instances_and_no_cart_is_one_more() -> None:
    shop = Shop(now_hours=2)
    shop.take(added(1, "k1"), added(1.1, "k2"), added(1.2, None))
    assert set(shop.carts()) == {"k1", "k2", ""}


def test_a_stop_with_the_key_cancels_its_instance_and_without_it_all() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(2.1, "k1"), added(2.2, "k2"), added(2.3, "k3"))
    assert shop.take(ordered(2.5, "k2", "o1")).n_cancelled == 1
    assert set(shop.carts()) == {"k1", "k3"}
    assert shop.take(ordered(2.6, None, "o2")).n_cancelled == 2
    assert shop.carts() == {}


def test_a_late_stop_cancels_only_what_began_before_it() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(2.5))
    shop.take(ordered(2.4, "k1"))
    assert set(shop.carts()) == {"k1"}
    shop.take(ordered(2.5, "k1", "o2"))
    assert shop.carts() == {}


def test_a_late_start_that_was_already_stopped_arms_nothing() -> None:
    shop = Shop(now_hours=3)
    shop.take(ordered(2.5, "k1"))
    shop.take(added(2.4))
    assert shop.carts() == {}
    shop.take(added(2.6))
    assert set(shop.carts()) == {"k1"}


def test_the_on_condition_is_asked_of_the_event() -> None:
    shop = Shop(now_hours=1)
    shop.take(added(1, price=4.99))
    assert shop.carts() == {}


def test_imports_and_our_own_events_arm_nothing_but_an_imported_stop_cancels() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(1, origin=Origin.IMPORT), added(1.1, origin=Origin.OWN))
    assert shop.carts() == {}
    shop.take(added(2))
    shop.take(ordered(2.5, "k1", origin=Origin.IMPORT))
    assert shop.carts() == {}


def test_what_happened_too_long_ago_arms_nothing() -> None:
    shop = Shop(now_hours=60)
    shop.take(added(1), ordered(2, order="o9"))
    assert shop.timers() == {}


def test_a_late_start_from_before_a_firing_never_fires_again() -> None:
    shop = Shop(now_hours=2)
    shop.take(added(1))
    fire(shop, shop.carts()["k1"], 2)
    shop.take(added(0.5), added(1.9), added(1))
    assert shop.carts() == {}


def test_the_cool_down_counts_from_the_firing_for_the_same_key_only() -> None:
    shop = Shop(now_hours=2)
    shop.take(added(1))
    fire(shop, shop.carts()["k1"], 2)
    shop.now_hours = 4
    shop.take(added(3, "k1"), added(3, "k2"))
    assert set(shop.carts()) == {"k2"}
    shop.now_hours = 27
    shop.take(added(26.5, "k1"))
    assert "k1" in shop.carts()


def test_a_transactional_event_is_due_at_once_and_once_per_key() -> None:
    shop = Shop(now_hours=2)
    shop.take(ordered(1.9, order="o1"), ordered(2, order="o2"))
    due = {key: t.due_at for (rule, key), t in shop.timers().items() if rule == "order_confirmed"}
    assert due == {"o1": at(2), "o2": at(2)}
    assert shop.take(ordered(1.9, order="o1")).n_armed == 0


def test_a_repeat_of_an_event_trigger_does_not_put_it_off() -> None:
    shop = Shop(now_hours=2)
    shop.take(event("Signed Up", 1.9))
    shop.now_hours = 2.1
    shop.take(event("Signed Up", 2.05, properties={"n": 2}))
    timer = shop.timers()["welcome", ""]
    assert timer.due_at - at(2) == (at(10) - at(0)) / 60
    assert timer.payload == {"n": 2}


def test_a_trigger_has_a_first_and_a_last_day() -> None:
    shop = Shop(now_hours=6)
    shop.take(event("Season Opened", 5.9))
    assert shop.timers() == {}
    shop.take(event("Season Opened", 6))
    assert ("season", "") in shop.timers()
    late = Shop(now_hours=25)
    late.take(event("Season Opened", 24))
    assert late.timers() == {}


def test_a_stop_after_firing_and_before_hand_off_releases_the_send() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(1, "k1"))
    with shop.ledger.begin(["c1"]) as uow:
        uow.sends.reserve([send("c1", "s1", key="k1"), send("c1", "s2", key="k2"), send("c1", "s3", "welcome", "")])
    assert shop.take(ordered(0.5, "k1", "o0")).n_released == 0  # before it began: an older cart's order
    assert shop.take(ordered(2.5, "k1", "o1")).n_released == 1
    with shop.ledger.read() as uow:
        assert {m: s.state for m, s in uow.sends.get(["s1", "s2", "s3"]).items()} == {
            "s1": SendState.RELEASED,
            "s2": SendState.RESERVED,
            "s3": SendState.RESERVED,
        }
        assert uow.sends.history("s1")[-1][2] == "cancelled"


def test_after_a_merge_what_one_side_did_stops_what_the_other_waits_for() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(2, user=None, anonymous="a1"), ordered(2.5, user="c1"))
    assert set(shop.carts("anon:a1")) == {"k1"}
    shop.take(identify(2.6, "c1", "a1"))
    assert shop.carts("anon:a1") == {}
    assert shop.carts("c1") == {}


def test_a_timer_moves_to_the_customer_it_turns_out_to_be() -> None:
    shop = Shop(now_hours=3)
    shop.take(added(2, user=None, anonymous="a1"))
    shop.take(identify(2.6, "c1", "a1"))
    assert shop.carts("anon:a1") == {}
    assert shop.carts("c1")["k1"].due_at == at(3)


def test_a_payload_keeps_its_small_properties_when_it_is_over_8_kb() -> None:
    properties = {"big": "x" * 9000, "cart_id": "k1", "n": 1}
    assert capped(properties) == {"cart_id": "k1", "n": 1}
    many = {f"p{i}": "y" * 500 for i in range(40)}
    assert len(orjson.dumps(capped(many))) <= MAX_PAYLOAD_BYTES
    assert 10 < len(capped(many)) < 40


STEPS = st.lists(
    st.one_of(
        st.builds(added, st.integers(0, 40).map(lambda n: 4 + n / 50), st.sampled_from(["k1", "k2", None])),
        st.builds(
            ordered,
            st.integers(0, 40).map(lambda n: 4 + n / 50),
            st.sampled_from(["k1", "k2", None]),
            st.sampled_from(["o1", "o2", "o3"]),
        ),
        st.builds(lambda h: event(EventKind.PAGE, 4 + h / 50), st.integers(0, 40)),
    ),
    max_size=10,
    unique_by=lambda e: e.message_id,
)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_an_absence_timer_is_pending_exactly_when_the_newest_start_is_later_than_the_newest_stop(
    events: list[Event], rng: Any, size: int
) -> None:
    expected = {}
    for key in ("k1", "k2", ""):
        starts = [e.event_at for e in events if e.name == "Product Added" and e.properties.get("cart_id", "") == key]
        stops = [e.event_at for e in events if e.name == "Order Completed" and e.properties.get("cart_id", key) == key]
        if starts and (not stops or max(starts) > max(stops)):
            expected[key] = max(starts)
    rng.shuffle(events)
    shop = Shop(now_hours=5)
    for i in range(0, len(events), size):
        shop.take(*events[i : i + size])
    assert {key: t.set_at for key, t in shop.carts().items()} == expected
