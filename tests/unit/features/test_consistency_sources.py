"""Comparing served with offline values, and telling which events a value came from."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from tests.unit.features.naive import NOON, event, events

from opportune.domain.decisions import Value
from opportune.features.catalog import FEATURES, NAMES, Stat
from opportune.features.consistency import Consistency, Difference, differences, relative_error
from opportune.features.sources import sources
from opportune.features.state import finalise, rebuild


@pytest.mark.parametrize(
    ("served", "offline", "error"),
    [
        (3, 3, 0.0),
        (3, 4, 0.25),
        (10**12, 10**12 + 1, 1e-12),  # whole numbers: any difference counts
        (1e6, 1e6 * (1 + 1e-12), 0.0),
        (1e-12, 0.0, 0.0),
        (2.0, 1.0, 1.0),
        ((1.0, 2.0), (1.0, 2.0), 0.0),
        ((1.0, 2.0), (1.0, 4.0), 0.5),
        ((1.0,), (1.0, 2.0), 1.0),
        ("a", "b", 1.0),
        (float("inf"), 1.0, 1.0),
    ],
)
def test_how_far_apart_two_values_are(served: Value, offline: Value, error: float) -> None:
    """Whole numbers exactly, floats within 1e-9, vectors by their worst element."""
    assert relative_error(served, offline) == pytest.approx(error, rel=1e-6)


def test_differences_are_named_by_kind() -> None:
    """Differing, not served, served without an offline value, and a name nobody knows."""
    values = finalise(rebuild([event("m", "Order Completed", NOON - timedelta(days=1), revenue=5)]), NOON)
    assert differences(values, values) == {}
    served = {**values, "orders_n_30d": 2, "spend_sum_90d": None, "made_up": 1}
    offline = {**values, "last_order_age_days": None}
    found = differences(served, offline)
    assert {name: what for name, (what, _) in found.items()} == {
        "orders_n_30d": Difference.MISMATCH,
        "spend_sum_90d": Difference.MISSING,
        "last_order_age_days": Difference.EXTRA,
        "made_up": Difference.EXTRA,
    }
    assert differences({"cart_value": 0.0}, values) == {}  # what nobody asked for is not compared
    whole = Consistency()
    for _ in range(999):
        whole.add(NAMES, {})
    whole.add(NAMES, {"orders_n_30d": found["orders_n_30d"]})
    assert whole.worst == ("orders_n_30d", 0.001)
    assert not whole.is_alarming
    whole.add(NAMES, {"orders_n_30d": found["orders_n_30d"]})
    assert whole.is_alarming
    assert whole.features["orders_n_30d"].max_relative_error == 1.0
    assert whole.features["cart_value"].n == 1001
    assert whole.share == pytest.approx(2 / (1001 * len(NAMES)))


@given(events())
@settings(max_examples=40, deadline=None)
def test_a_count_has_as_many_sources_as_it_counts(log: list) -> None:  # type: ignore[type-arg]
    """For counts and ages the events told are just those that made the value."""
    values, found = finalise(rebuild(log), NOON), sources(log, NOON)
    assert set(found) == set(NAMES)
    for feature in FEATURES:
        came_from = found[feature.name]
        assert came_from == sorted(came_from, key=lambda e: (e.event_at, e.message_id), reverse=True)
        if feature.stat is Stat.COUNT:
            assert len(came_from) == values[feature.name], feature.name
        elif feature.stat in (Stat.FIRST_AGE, Stat.LAST_AGE):
            age = values[feature.name]
            assert [(NOON - e.event_at) / timedelta(days=1) for e in came_from] == ([] if age is None else [age])
        elif feature.stat is Stat.HOURS:
            assert len(came_from) == sum(values[feature.name])  # type: ignore[arg-type]
