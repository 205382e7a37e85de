"""Conditions mean what playbook authors expect, and fail with a place and advice."""

import contextlib
import operator
from time import thread_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.playbook.conditions import ConditionInvalid, Names, compile_condition

ENV: dict[str, Any] = {
    "event": {"total": 40.0, "name": "Mug", "products": [{"sku": "a"}, {"sku": "b"}], "plan name": "pro", "in": 1},
    "features": {"orders_n_30d": 2, "cart_value": 42.5, "last_order_age_days": None, "is_new": True},
    "scores": {"purchase": 0.3},
    "traits": {"country": "IE", "vip": True, "tags": ["gold", "early"], "city": "Dublin", "answer": "yes"},
    "context": {},
}
NAMES = Names(
    {"orders_n_30d": "int", "cart_value": "float", "is_new": "bool", "active_hours": "vector"},
    frozenset({"purchase", "churn"}),
)


AUDIENCES = {"irish": "traits.country == 'IE'", "rich": "features.cart_value > 100 or scores.purchase > 0.9"}


def test_an_audience_stands_for_its_condition() -> None:
    """Asked in the same moment; what it reads the condition reads; unknown ones and values inside are errors."""
    asked = compile_condition("audience.irish and not audience.rich", NAMES, audiences=AUDIENCES)
    assert asked.holds(ENV)
    assert asked.reads == {"traits.country", "features.cart_value", "scores.purchase"}
    for text, message in (
        ("audience.irsh", "unknown audience `irsh`; did you mean `irish`?"),
        ("audience.irish > 3", "a true/false is never comparable with a number"),
        ("audience.irish.size", "unknown audience `irish.size`"),
    ):
        with pytest.raises(ConditionInvalid, match=message.split("?")[0].replace(".", r"\.")):
            compile_condition(text, NAMES, audiences=AUDIENCES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("features.cart_value >= 30", True),
        ("features.cart_value>=30 and scores.purchase<0.2", False),
        ("features.cart_value < 30 || scores.purchase >= 0.2 && true", True),
        ("!(features.orders_n_30d == 2)", False),
        ("!traits.vip == false", True),
        ("not traits.vip == false", True),
        ("not not traits.vip", True),
        ("1 < features.orders_n_30d <= 2", True),
        ("3 > features.orders_n_30d > 2", False),
        ("event.total * 2 - 5 > 70 / 2", True),
        ("-event.total < -39.5", True),
        ("2 + 3 * 4 == 14 and (2 + 3) * 4 == 20 and 10 - 2 - 3 == 5", True),
        ("traits.country in ['GB', 'IE']", True),
        ("traits.country not in ['GB', 'IE']", False),
        ("'gold' in traits.tags", True),
        ("traits.country != 'GB'", True),
        ("lower(traits.city) == 'dublin' and starts_with(traits.city, 'Dub') and ends_with(traits.city, 'lin')", True),
        ("contains(traits.city, 'ubl') and contains(traits.tags, 'early') and not contains(traits.tags, 'x')", True),
        ("size(traits.tags) == 2 and size(event.name) == 3", True),
        ("has(traits.city) and not has(traits.street)", True),
        ("event.products[1].sku == 'b' and event['plan name'] == 'pro' and event.in == 1", True),
        ("event.products[7].sku == null", True),
        ("'it\\'s' != \"it\"", True),
        ("traits.vip", True),
        ("True and not False", True),
    ],
)
def test_a_condition_has_the_value_its_author_reads(text: str, expected: bool) -> None:
    assert compile_condition(text).holds(ENV) is expected


@pytest.mark.parametrize(
    "text",
    [
        "traits.missing == 3",
        "traits.missing != 3",
        "traits.missing < 3",
        "3 > traits.missing",
        "traits.missing == traits.also_missing",
        "traits.missing in ['a']",
        "traits.missing not in ['a']",
        "'a' not in traits.missing",
        "features.last_order_age_days + 1 > 0",
        "event.total / 0 == event.total / 0",
        "traits.answer",
        "traits.missing",
        "traits.country == 3",
        "traits.country != 3",
        "traits.country < 3",
        "traits.vip == 1",
        "traits.vip < traits.vip or traits.tags < traits.tags",
        "contains(traits.missing, 'a') or starts_with(traits.vip, 't') or size(traits.vip) > 0",
        "traits.city.deeper.still == 'x'",
    ],
)
def test_null_and_mixed_kinds_are_never_true_by_accident(text: str) -> None:
    assert compile_condition(text).holds(ENV) is False


@pytest.mark.parametrize(
    "text",
    ["traits.missing == null", "traits.city != null", "null == features.last_order_age_days", "not traits.missing"],
)
def test_null_can_be_asked_for(text: str) -> None:
    assert compile_condition(text).holds(ENV) is True


def test_an_environment_without_a_root_reads_null() -> None:
    assert compile_condition("scores.purchase == null and event.a.b == null").holds({}) is True
    assert compile_condition("scores.purchase == null").holds({"scores": None}) is True


@pytest.mark.parametrize(
    ("text", "at", "part"),
    [
        ("", 1, "empty"),
        ("features.cart_value = 3", 21, "write `==`"),
        ("features.cart_value >= ", 24, "found the end"),
        ("features.cart_value >= 3)", 25, "found `)`"),
        ("(features.cart_value >= 3", 26, "close the `(` at character 1"),
        ("features.cart_valu > 3", 1, "did you mean `cart_value`?"),
        ("scores.purchas > 0.3", 1, "did you mean `purchase`?"),
        ("true and feature.cart_value > 3", 10, "names start with event."),
        ("event.properties.total > 3", 1, "write `event.total`"),
        ("lowr(traits.city) == 'x'", 1, "did you mean `lower`?"),
        ("lower(traits.city, 'x') == 'x'", 1, "takes 1 value, not 2"),
        ("features.cart_value", 1, "compare it"),
        ("features.cart_value > '3'", 21, "never comparable"),
        ("features.is_new == 1", 17, "never comparable"),
        ("features.is_new > true", 17, "no order"),
        ("features.active_hours > 3", 23, "never comparable"),
        ("'a' + 1 > 2", 1, "needs a number"),
        ("traits.age > null", 12, "`== null`"),
        ("'a' in 'abc'", 8, "contains(text, part)"),
        ("traits.name == 'Ann", 16, "no closing quote"),
        ("traits.age ** 2 > 3", 13, "expected a value"),
        ("traits.a & traits.b", 10, "write `&&`"),
        ("traits.a is null", 10, "expected `and`"),
        ("features > 3", 1, "write `features.<name>`"),
        ("size > 3", 1, "is a function"),
        ("__import__('os')", 1, "unknown function"),
        ("traits.a > 3 ; x", 14, "no meaning"),
        ("traits.a not 3", 14, "expected `in`"),
        ("lambda: 1", 7, "no meaning"),
    ],
)
def test_a_fault_names_the_character_and_what_to_do(text: str, at: int, part: str) -> None:
    with pytest.raises(ConditionInvalid) as caught:
        compile_condition(text, NAMES)
    assert [p for p in caught.value.problems if p[0] == at and part in p[1]], caught.value.problems


def test_all_unknown_names_of_one_condition_are_named_at_once() -> None:
    with pytest.raises(ConditionInvalid) as caught:
        compile_condition("features.x > 1 and scores.y > 1 and foo.z == 1", NAMES)
    assert [at for at, _ in caught.value.problems] == [1, 20, 37]


def test_what_is_not_known_yet_cannot_be_read() -> None:
    with pytest.raises(ConditionInvalid, match=r"only `event\.\*` can be read here"):
        compile_condition("scores.purchase > 0.5", NAMES, ("event",))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 500,
        "-" * 1900 + "1 > 0",
        "not " * 400 + "true",
        "[" * 300,
        "9" * 1900 + " > 1",
        "1e999 > 1",
        "1e308 * 1e308 > 1",
        "lower(" * 300,
        "1" + " + 1" * 450 + " > 0",
        "true" + " and true" * 200,
        "true " * 1000,
        "event" + ".a" * 900 + " == 1",
        "\x00",
        "'\\" + "x" * 100,
    ],
)
def test_hostile_text_is_refused_or_answered_quickly(text: str) -> None:
    before = thread_time()
    with contextlib.suppress(ConditionInvalid):
        compile_condition(text).holds(ENV)
    assert thread_time() - before < 2  # a blow-up would take minutes


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"()[]!<>=+-*/.,'\"&| ", "and", "or", "not", "in", "event.a", "1"])).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_condition_or_a_fault_with_a_character(text: str) -> None:
    problems: list[tuple[int, str]] = []
    try:
        compile_condition(text).holds({})
    except ConditionInvalid as error:
        problems = error.problems
    assert all(1 <= at <= len(text) + 1 for at, _ in problems)


_OPS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}
_VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab", max_size=2)


def _kind(value: object) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__


@given(_VALUES, st.sampled_from(sorted(_OPS)), _VALUES)
def test_a_comparison_agrees_with_a_plain_oracle(a: object, op: str, b: object) -> None:
    if a is None or _kind(a) != _kind(b) or (op not in ("==", "!=") and isinstance(a, bool)):
        expected = False
    else:
        expected = _OPS[op](a, b)
    assert compile_condition(f"event.a {op} event.b").holds({"event": {"a": a, "b": b}}) is expected


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_and_binds_closer_than_or_and_not_closest(v: list[bool]) -> None:
    env = {"event": dict(zip("abcd", v, strict=True))}
    a, b, c, d = v
    assert compile_condition("event.a or not event.b and event.c or event.d").holds(env) is (a or (not b and c) or d)


def test_reads_names_everything_a_condition_may_look_at() -> None:
    reads = compile_condition("scores.purchase > 0.2 and (traits.a == event.x.y or features.cart_value > 1)").reads
    assert reads == {"scores.purchase", "traits.a", "event.x.y", "features.cart_value"}
