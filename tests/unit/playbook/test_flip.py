"""The smallest change that makes a condition hold: it does hold then, and nothing needless is changed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.playbook.conditions import compile_condition
from opportune.playbook.flip import changed, flip

ENV: dict[str, Any] = {
    "event": {},
    "features": {"n": 3, "x": 1.5, "stage": "aware"},
    "scores": {},
    "traits": {"vip": False, "country": "GB", "tags": ["a"]},
    "context": {},
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("features.n >= 5", ["features.n at least 5 (it is 3)"]),
        ("features.n > 5", ["features.n above 5 (it is 3)"]),
        ("5 < features.n", ["features.n above 5 (it is 3)"]),
        ("features.x < 1", ["features.x below 1 (it is 1.5)"]),
        ("features.n >= 2", []),
        ("features.n >= 5 and features.x < 1", ["features.n at least 5 (it is 3)", "features.x below 1 (it is 1.5)"]),
        ("features.n >= 5 or (features.x < 1 and traits.vip)", ["features.n at least 5 (it is 3)"]),
        ("not (features.n < 5)", ["features.n at least 5 (it is 3)"]),
        ("traits.vip", ["traits.vip true (it is False)"]),
        ("traits.country in ['DE', 'FR']", ["traits.country one of 'DE', 'FR' (it is GB)"]),
        ("traits.country != 'GB'", ["traits.country other than 'GB' (it is GB)"]),
        ("scores.churn >= 0.7", ["scores.churn at least 0.7 (it is missing)"]),
        ("has(traits.plan)", ["traits.plan there (it is missing)"]),
        ("contains(traits.tags, 'b')", ["traits.tags with 'b' (it is ['a'])"]),
        ("features.n >= features.x + 2", ["features.n at least 3.5 (it is 3)"]),
        ("traits.plan == null and features.n == 4", ["features.n 4 (it is 3)"]),
    ],
)
def test_the_change_is_said_with_what_is_needed_and_what_was_found(text: str, said: list[str]) -> None:
    """Numbers to the limit, the cheaper side of an `or`, nothing for what holds already."""
    changes = flip(text, ENV)
    assert changes is not None
    assert [str(c) for c in changes] == said
    assert compile_condition(text).holds(changed(ENV, changes))


@pytest.mark.parametrize("text", ["lower(traits.country) == 'de'", "1 > 2", "features.n > 5 and features.n < 4"])
def test_what_cannot_be_told_is_null(text: str) -> None:
    """No guess where a function hides the value, or where nothing would help."""
    assert flip(text, ENV) is None


COMPARES = st.builds(
    "{} {} {}".format,
    st.sampled_from(["features.n", "features.x", "traits.missing"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.integers(-3, 6),
)
CONDITIONS = st.recursive(
    COMPARES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=5,
)


@given(CONDITIONS)
@settings(max_examples=300, deadline=None)
def test_a_change_that_is_told_always_works(text: str) -> None:
    """Whatever the condition: after the changes it holds, and what held before needs none."""
    holds = compile_condition(text).holds
    changes = flip(text, ENV)
    if holds(ENV):
        assert changes == ()
    elif changes is not None:
        assert changes
        assert holds(changed(ENV, changes))
