"""The catalogue, the measures and the one vector builder."""

import hashlib
import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.unit.features.naive import NOON, event

from opportune.domain.events import Origin
from opportune.domain.money import to_minor
from opportune.features import vector
from opportune.features.catalog import FEATURES, NAMES, NUMERIC, TAP_NAMES, TAPS, Stat, definition_hash
from opportune.features.declare import OF_OPS
from opportune.features.measures import COLUMNS, VERSION, extract
from opportune.features.sql import HISTOGRAMS, features_sql
from opportune.features.state import empty, finalise, rebuild


def test_every_feature_is_declared_in_full_and_named_by_the_rule() -> None:
    """Unit, owner, null meaning and description are there; names are `<what>_<unit or stat>_<window>`; taps exist."""
    assert len(set(NAMES)) == len(FEATURES)
    for feature in FEATURES:
        assert feature.unit, feature.name
        assert feature.owner, feature.name
        assert feature.null_meaning, feature.name
        assert feature.description, feature.name
        assert (feature.tap in TAP_NAMES) != bool(feature.inputs), feature.name
        assert set(feature.inputs) <= set(NAMES[: NAMES.index(feature.name)]), "inputs are declared before"
        keeps = next((tap.keeps for tap in TAPS if tap.name == feature.tap), None)
        if feature.stat in OF_OPS:
            assert keeps, feature.name
            assert feature.window == keeps.window or feature.stat is Stat.SESSIONS, feature.name
        if feature.stat is Stat.DAYS:
            assert re.fullmatch(r"[a-z_]+_days_n_\d+d", feature.name)
            assert feature.window
            assert feature.window.days <= 90
        if feature.stat is Stat.COUNT:
            assert re.fullmatch(r"[a-z_]+_n_(\d+[dh]|all)", feature.name)
        if feature.stat is Stat.SUM:
            assert next(t for t in TAPS if t.name == feature.tap).value


def test_the_definition_hash_is_stable_within_a_version() -> None:
    """The same declarations give the same hash; it is what manifests and packed states pin."""
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", definition_hash())
    assert definition_hash() == definition_hash()


#: What every measure said of the events below when its version was raised last.
MEASURED_BY_2 = "ae369983bae6b580"


def test_events_are_measured_otherwise_only_under_a_new_version() -> None:
    """Archive and states trust the version: who changes what `extract` says raises it and writes its digest here."""
    line = {"product_id": "p", "price": "2.50", "quantity": "3", "category": "b"}
    consent = {"consent": {"categoryPreferences": {"push": True, "profiling": False}}}
    group = {"plan": "pro", "employees": "12", "createdAt": "2025-05-01T00:00:00Z"}
    log = [
        event("1", "Order Completed", NOON, total="12.345", coupon="X", category="a", order_id=7, products=[line]),
        event("2", "Order Completed", NOON, products=[line, line]),
        event("3", "Product Added", NOON, cart_id="k", **line),
        event("4", "Email Opened", NOON, email_id="l", is_machine=True, campaign="c", channel="email"),
        event("5", "Identified", NOON, traits={"timezone": "Asia/Tokyo"}, context={"timezone": "Asia/Seoul"} | consent),
        event("6", "Grouped", NOON, group="g", traits=group),
        event("7", "Unsubscribed", NOON, channel="sms"),
        event("8", "Email Marked as Spam", NOON),
        event("9", "Consent Changed", NOON, channel="*", topic="*", state="out"),
    ]
    measured = [asdict(extract(e)) for e in log]
    assert {name for m in measured for name, value in m.items() if value is not None} >= {*COLUMNS}
    found = hashlib.sha256(repr(measured).encode()).hexdigest()[:16]
    assert (VERSION, found) == (2, MEASURED_BY_2)


def test_the_sql_names_every_feature() -> None:
    """One column per catalogue feature comes out of the generated SQL; of a histogram two lists to smooth."""
    for name in NAMES:
        columns = (f"{name}_slots", f"{name}_weights") if name in HISTOGRAMS else (name,)
        assert all(f"AS {column}" in features_sql() for column in columns)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [(12.34, 1234), ("0.005", 0), ("0.015", 2), (0.1, 10), (10**10, 10**12), (10**11, None), ("x", None), (True, None),
     (float("nan"), None), (float("inf"), None), (1e300, None), ([1], None), (-3.5, -350)],
)  # fmt: skip
def test_money_becomes_minor_units_half_even(amount: Any, minor: int | None) -> None:
    """Decimal text x 100, ties to even; what is no amount is null, never an error."""
    assert to_minor(amount) == minor


def test_an_order_without_a_total_is_worth_its_lines() -> None:
    """revenue, else total, else value, else the sum of price x quantity of the products."""
    lines = [{"price": 2.5, "quantity": 2}, {"price": "1", "quantity": 1}, {"name": "no price"}]
    assert extract(event("m", "Order Completed", NOON, products=lines)).value_minor == 600
    assert extract(event("m", "Order Completed", NOON, products=lines, total=9)).value_minor == 900
    assert extract(event("m", "Order Completed", NOON, products="odd")).value_minor is None


def test_odd_properties_are_null_and_never_an_error() -> None:
    """Wrong types anywhere leave the event measured."""
    odd = extract(event("m", "Product Added", NOON, product_id={"a": 1}, price=[], quantity=float("nan"), cart_id=7))
    assert (odd.product_id, odd.price_minor, odd.quantity, odd.cart_id) == (None, None, 1, "7")


def test_dataset_and_decision_build_the_same_vector() -> None:
    """build, build_many and frame_to_matrix agree, column by column; null is NaN."""
    log = [event("m", "Order Completed", NOON, revenue=5), event("n", "Page Viewed", NOON)]
    many = [finalise(rebuild(log), NOON), finalise(empty(), NOON)]
    matrix = vector.build_many(many, NUMERIC)
    frame = pd.DataFrame({name: [values[name] for values in many] for name in NUMERIC})
    assert matrix.shape == (2, len(vector.columns(NUMERIC)))
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, vector.frame_to_matrix(frame, NUMERIC))
    np.testing.assert_array_equal(matrix[0], vector.build(many[0], NUMERIC))
    assert np.isnan(matrix[1, vector.columns(NUMERIC).index("last_order_age_days")])
    assert vector.build_many([], NUMERIC).shape == (0, matrix.shape[1])


def test_a_name_the_catalogue_does_not_have_is_refused() -> None:
    """A model of another catalogue never gets silent NaNs."""
    with pytest.raises(KeyError):
        vector.build({"orders_n_30d": 1}, ["orders_n_31d"])


def test_a_text_is_refused_as_a_models_input() -> None:
    """A text feature in a vector is an error that names it, never a NaN."""
    values = finalise(rebuild([event("m", "Product Viewed", NOON, category="a")]), NOON)
    assert values["seen_category_top_90d"] == "a"
    with pytest.raises(ValueError, match="seen_category_top_90d is a text"):
        vector.build(values, ["seen_category_top_90d"])
    with pytest.raises(ValueError, match="zone is a text"):
        vector.columns(["zone"])
    with pytest.raises(ValueError, match="zone is a text"):
        vector.frame_to_matrix(pd.DataFrame({"zone": ["UTC"]}), ["zone"])


def test_what_an_event_says_of_zone_account_discount_and_consent_is_measured() -> None:
    """Zones that exist, the account of a group call, discounts and coupons, what opens or closes a channel."""
    identified = event("m", "Identified", NOON, traits={"timezone": "Asia/Tokyo"}, context={"timezone": "Nowhere/X"})
    assert (extract(identified).zone_trait, extract(identified).zone) == ("Asia/Tokyo", None)
    traits = {"plan": "pro", "employees": "40", "createdAt": "1970-01-02"}
    call = extract(event("m", "Grouped", NOON, group="g1", traits=traits))
    told = (call.account_id, call.account_plan, call.account_employees, call.account_created_us)
    assert told == ("g1", "pro", 40, 86_400_000_000)
    assert extract(event("m", "Grouped", NOON, group="g1")).account_id == "g1"
    assert extract(event("m", "Order Completed", NOON, discount=1)).is_discounted
    assert extract(event("m", "Order Completed", NOON, discount=0, coupon="")).is_discounted is None
    order = event("m", "Order Completed", NOON, products=[{"category": "b"}, {"category": "a"}, {"category": "b"}, 7])
    assert extract(order).categories == "a\x1fb"
    left = extract(event("m", "Unsubscribed", NOON, channel="sms"))
    assert (left.is_sms_out, left.is_email_out, left.is_any_out) == (True, None, None)
    assert extract(event("m", "Email Bounced", NOON, bounce_type="soft")).is_email_out is None
    back = {"channel": "email", "topic": "*", "state": "in"}
    assert extract(event("m", "Consent Changed", NOON, **back)).is_email_out is False
    assert extract(event("m", "Consent Changed", NOON, origin=Origin.LIVE, **back)).is_email_out is None
