"""Crossings: hysteresis never flaps, first looks are silent, levels fire once for ever."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opportune.domain.watches import Watch, joined
from opportune.playbook.triggers import Trigger
from opportune.triggers.watched import Crossing, blank, definition_of, look

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHURN = Trigger.model_validate({"score": "churn", "above": 0.7, "rearm_below": 0.6})
ENTERED, LEFT = Trigger.model_validate({"entered": "vip"}), Trigger.model_validate({"left": "vip"})
ORDERS = Trigger.model_validate({"milestone": "features.orders_n_all", "levels": [5, 10, 25]})
TIERS = Trigger.model_validate({"milestone": "traits.tier", "levels": ["silver", "gold", "black"]})


def run(trigger: Trigger, values: list[Any], watch: Watch | None = None) -> list[str | int | None]:
    """Per value: the key of what fired, null when nothing did."""
    fired: list[str | int | None] = []
    for value in values:
        watch, crossing = one_look(trigger, watch, value)
        fired.append(crossing.key if crossing else None)
    return fired


def one_look(trigger: Trigger, watch: Watch | None, value: Any) -> tuple[Watch | None, Crossing | None]:
    return look(trigger, watch, value, "c", "r", definition_of(trigger, {"vip": "x"}), NOW)


def new(trigger: Trigger) -> Watch:
    return blank("r", trigger, "c", definition_of(trigger, {"vip": "x"}), NOW)


def naive(values: list[float | None], above: float, below: float) -> list[bool]:
    """By definition: fires when above and, since the last firing, it has been below."""
    fired: list[bool] = []
    seen: list[float] = []
    for value in values:
        last = max((i for i, was in enumerate(fired) if was), default=-1)
        since = [v for v in values[last + 1 : len(fired)] if v is not None]
        is_armed = last < 0 or any(v < below for v in since)
        if last < 0 and seen:  # the first look decided: in already means armed only after being below
            is_armed = seen[0] <= above or any(v < below for v in seen)
        fired.append(value is not None and bool(seen) and is_armed and value > above)
        if value is not None:
            seen.append(value)
    return fired


@given(st.lists(st.none() | st.sampled_from([0.1, 0.59, 0.6, 0.65, 0.7, 0.71, 0.9]) | st.floats(0, 1), max_size=30))
def test_hysteresis_is_the_definition_for_any_walk_of_a_score(values: list[float | None]) -> None:
    """Against the naive reading of the rule, unknown scores included; never two firings without a re-arming."""
    assert [key is not None for key in run(CHURN, values)] == naive(values, 0.7, 0.6)


def test_a_score_on_the_edge_does_not_flap() -> None:
    """Up and down between the two limits it fires once; the limits themselves cross nothing."""
    assert run(CHURN, [0.5, 0.71, 0.69, 0.72, 0.61, 0.7, 0.71, 0.59, 0.7, 0.71]) == [
        None, "", None, None, None, None, None, None, None, "",
    ]  # fmt: skip


def test_who_is_across_at_the_first_look_does_not_fire_but_a_newcomer_does() -> None:
    """Deploying a trigger mails nobody; somebody who arrives and crosses is mailed."""
    assert run(CHURN, [0.9, 0.5, 0.9]) == [None, None, ""]
    assert run(ENTERED, [True, False, True]) == [None, None, ""]
    assert run(ENTERED, [True], new(ENTERED)) == [""]
    assert run(LEFT, [False, True, False], new(LEFT)) == [None, None, ""]
    assert run(LEFT, [True, False]) == [None, ""]


def test_a_changed_trigger_looks_for_the_first_time_again() -> None:
    """A lower limit, or another meaning of the audience, fires for nobody who is across by the change alone."""
    watch, _ = one_look(CHURN, None, 0.65)
    lower = Trigger.model_validate({"score": "churn", "above": 0.5, "rearm_below": 0.4})
    assert run(lower, [0.65, 0.3, 0.65], watch) == [None, None, ""]
    assert definition_of(ENTERED, {"vip": "a"}) != definition_of(ENTERED, {"vip": "b"})


def test_levels_fire_once_for_ever_and_the_highest_of_several() -> None:
    """From 0 to 12 is the tenth; going back and forth repeats nothing."""
    assert run(ORDERS, [4, 5, 6, 4, 5, 12, 3, 30], new(ORDERS)) == [None, "5", None, None, None, "10", None, "25"]
    assert run(ORDERS, [12, 30], new(ORDERS)) == ["10", "25"]
    assert run(ORDERS, [12, 24, 25]) == [None, None, "25"]
    assert run(TIERS, ["none", "silver", "black", "gold", "silver"], new(TIERS)) == [
        None,
        "silver",
        "black",
        None,
        None,
    ]


def test_a_new_level_does_not_fire_for_those_who_passed_it_before() -> None:
    """[5, 10] becomes [3, 5, 10]: who had 7 orders hears of the tenth next."""
    watch, _ = one_look(ORDERS, new(ORDERS), 7)
    more = Trigger.model_validate({"milestone": "features.orders_n_all", "levels": [3, 5, 10]})
    assert run(more, [7, 9, 10], watch) == [None, None, "10"]


def test_merged_customers_keep_what_fired_on_either_side() -> None:
    """Armed only when both were; levels of both; never looked at on one side: the next look is silent."""
    armed, spent = new(CHURN), one_look(CHURN, new(CHURN), 0.9)[0]
    both = joined(armed, spent, "c2")
    assert both is not None
    assert (both.customer_id, both.is_armed) == ("c2", False)
    assert run(CHURN, [0.9], both) == [None]
    five, ten = one_look(ORDERS, new(ORDERS), 5)[0], one_look(ORDERS, new(ORDERS), 10)[0]
    assert joined(five, ten, "c2").levels == ("10", "5")  # type: ignore[union-attr]
    assert run(ORDERS, [26, 27], joined(None, ten, "c2")) == [None, None]
    assert joined(None, None, "c2") is None
