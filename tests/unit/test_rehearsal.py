"""Playbook tests run: what is promised passes, and every difference is said in a line."""

import re
from pathlib import Path

import pytest

from opportune.cli import main
from opportune.playbook.cases import parse_cases
from opportune.playbook.load import EXAMPLES
from opportune.rehearsal import Outcome, cases_of, rehearse

CART = (
    "{at: 0m, customer: ada, event: Product Added, properties: {cart_id: k1, product_id: p1, name: Teapot, price: 40}}"
)


def run(expect: str, steps: str = CART, more: str = "") -> Outcome:
    text = f"""
tests:
  one:
    customers: {{ada: {{email: ada@example.org, timezone: Europe/London}}}}
    steps: [{steps}]
    {more}
    expect: {expect}
"""
    return rehearse(parse_cases(text.encode(), "t.yaml"), None)[0]


def test_the_default_playbook_keeps_the_promises_it_ships() -> None:
    """Every test beside the packaged playbook passes."""
    outcomes = rehearse(cases_of(None), None)
    assert {o.test.name: o.faults for o in outcomes if not o.has_passed} == {}
    assert len(outcomes) >= 9


def test_the_example_of_the_page_passes() -> None:
    """docs/playbook.md shows a test that holds."""
    page = (Path(__file__).parents[2] / "docs" / "playbook.md").read_text()
    (example,) = re.findall(r"```yaml tests\n(.*?)```", page, re.DOTALL)
    assert [o.faults for o in rehearse(parse_cases(example.encode(), "page"), None)] == [()]


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ("{messages: [{customer: ada, campaign: cart_reminder, at: 2h}]}", "at is 1h"),
        (
            "{messages: [{customer: ada, campaign: cart_reminder, channel: push}]}",
            "is `email`, expected `push`",
        ),
        ("{messages: [{customer: ada, campaign: welcome}]}", "campaign is `cart_reminder`, expected `welcome`"),
        ("{messages: [{customer: ada, campaign: cart_reminder, has: [Kettle]}]}", "`Kettle` stands nowhere"),
        ("{messages: []}", "not expected: cart_reminder to ada by email at 1h"),
        (
            "{messages: [{customer: ada, campaign: cart_reminder}, {customer: bob, campaign: welcome}]}",
            "missing: welcome to bob",
        ),
        ("{removed: [{customer: ada, campaign: cart_reminder, reason: holdout}]}", "removed for "),
        ("{removed: [{customer: bob, campaign: welcome, reason: holdout}]}", "it was never removed"),
    ],
)
def test_what_differs_is_said(expect: str, says: str) -> None:
    """Too early, another channel, another campaign, another text, too many, too few, another reason: each its line."""
    outcome = run(expect)
    assert any(says in fault for fault in outcome.faults), outcome.faults
    assert any("Send cart_reminder" in told for told in outcome.story)


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        (
            "{customer: ada, journey: onboarding, ending: completed}",
            "expected onboarding of ada, ending completed; stands: at wait_2, ending goal",
        ),
        (
            "{customer: ada, journey: onboarding, key: k1, step: wait_2}",
            "expected onboarding of ada, for k1, at wait_2; stands: at wait_2, ending goal",
        ),
        ("{customer: bob, journey: onboarding}", "expected onboarding of bob; they never set out"),
    ],
)
def test_a_journey_that_stands_otherwise_is_said(expect: str, says: str) -> None:
    """Another ending, another key, nobody there: a line each, with how it really stands."""
    text = f"""
tests:
  one:
    customers: {{ada: {{email: ada@example.org}}}}
    steps:
      - {{at: 0m, customer: ada, event: Signed Up}}
      - {{at: 1h, customer: ada, event: Project Created}}
    expect: {{journeys: [{expect}]}}
"""
    (outcome,) = rehearse(parse_cases(text.encode(), "t.yaml"), EXAMPLES / "onboarding.yaml")
    assert outcome.faults == (says,)


def test_an_item_that_cannot_be_taken_fails_its_test() -> None:
    """The fault names the step and the field, as the HTTP door would."""
    bad = run("{messages: []}", "{at: 0m, item: {item_id: p1, price: cheap}}")
    assert bad.faults == ("step 1: price must be a number in major units, like 19.90",)


def test_a_step_the_doors_would_refuse_fails_its_test_and_not_the_run() -> None:
    """The fault names the step."""
    assert run("{messages: []}", "{at: 0m, customer: ada, status: opened}").faults == (
        "step 1: ada has had no message yet: there is nothing to be opened",
    )
    assert "step 1" in run("{messages: []}", "{at: 0m, customer: ada, ask: {trigger: nope}}").faults[0]
    assert (
        "there is no probability called 'send_time'"
        in run("{messages: []}", "{at: 0m, scores: {send_time: 1}}").faults[0]
    )


def test_the_command_exits_with_one_when_a_test_fails_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 when all pass, 1 for a failure or a fault in the file; a playbook without tests says what to write."""

    def code(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["test", *arguments])
        return int(end.value.code or 0)

    assert code("--only", "cart") == 0
    file = tmp_path / "t.yaml"
    file.write_text("tests: {silent: {expect: {messages: [{customer: a, campaign: welcome}]}}}")
    assert code("--file", str(file)) == 1
    assert f"{file}:1" in capsys.readouterr().out
    file.write_text("tests: {silent: {expect: {}}}")
    assert code("--file", str(file)) == 1
    assert "cannot fail" in capsys.readouterr().err
    assert code(str(tmp_path)) == 1
    assert "no tests in" in capsys.readouterr().err
