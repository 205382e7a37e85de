"""Playbook tests are checked before they run: each fault with its line and what to do."""

from datetime import UTC, datetime, timedelta

import pytest

from opportune.playbook.cases import parse_cases
from opportune.playbook.problems import PlaybookInvalid


def faults(text: str) -> list[str]:
    with pytest.raises(PlaybookInvalid) as invalid:
        parse_cases(text.encode(), "t.yaml")
    return [str(problem) for problem in invalid.value.problems]


def test_moments_are_times_since_the_start_or_instants() -> None:
    """`1d 2h` adds up; an instant needs its zone; both come out as aware UTC."""
    text = """
tests:
  one:
    start: 2026-03-01T09:00:00+01:00
    steps:
      - {at: 0, customer: a, event: E}
      - {at: 1d 2h, customer: a, event: E}
      - {at: 2026-03-05T00:00:00Z, customer: a, event: E}
    until: 2026-03-06T00:00:00Z
    expect: {messages: []}
"""
    (placed,) = parse_cases(text.encode(), "t.yaml")
    case = placed.case
    start = datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert [case.instant(step.at) for step in case.steps] == [
        start,
        start + timedelta(days=1, hours=2),
        datetime(2026, 3, 5, tzinfo=UTC),
    ]
    assert (placed.name, placed.file, placed.line) == ("one", "t.yaml", 3)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{at: soon, customer: a, event: E}", "'soon' is not a duration"),
        ("{at: 1h, event: E}", "`event` needs a `customer`"),
        ("{at: 1h, customer: a}", "exactly one of event, page"),
        ("{at: 1h, customer: a, event: E, page: P}", "has `event` and `page`"),
        ("{at: 1h, customer: a, status: opened, properties: {x: 1}}", "`properties` belong to `event` and `page`"),
        ("{at: 1h, customer: a, evnt: E}", "is no key of a playbook test"),
        ("{at: 1h, scores: {churn: 1.5}}", "less than or equal to 1"),
    ],
)
def test_a_step_that_cannot_happen_is_refused_with_its_line(step: str, says: str) -> None:
    """The message names file, line and place."""
    text = f"tests:\n  one:\n    steps:\n      - {step}\n    expect: {{messages: []}}\n"
    found = faults(text)
    assert any(says in fault and fault.startswith("t.yaml:4: tests.one.steps.0") for fault in found), found


def test_a_test_that_could_never_fail_or_goes_back_in_time_is_refused() -> None:
    """Nothing expected, steps out of order, an end before the last step, an unknown reason, no tests at all."""
    assert "cannot fail" in faults("tests: {x: {expect: {}}}")[0]
    backwards = "{at: 2h, customer: a, event: E}, {at: 1h, customer: a, event: E}"
    assert "order of time" in faults(f"tests: {{x: {{steps: [{backwards}], expect: {{messages: []}}}}}}")[0]
    late = "{at: 2d, customer: a, event: E}"
    assert "`until` lies before" in faults(f"tests: {{x: {{steps: [{late}], expect: {{messages: []}}}}}}")[0]
    assert "no_consent" in faults("tests: {x: {expect: {removed: [{customer: a, campaign: c, reason: r}]}}}")[0]
    assert "`tests` is missing" in faults("{}")[0]
    assert "expected `tests:` at the top" in faults("- a")[0]
