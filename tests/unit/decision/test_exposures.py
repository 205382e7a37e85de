"""An exposure is logged where a decision reads what an experiment overrides, the same in every variation."""

from datetime import timedelta

import pytest
from tests.unit.decision.making import NOW, case, customer, firing, playbook, send

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Decision
from opportune.playbook.load import Playbook

CAPS = """
caps:
  weekly: {counts: {purpose: marketing}, at_most: 1, in: 7d}
"""


def trial(override: str) -> str:
    return f"experiments:\n  t:\n    variations:\n      control: {{}}\n      treatment: {{override: {{{override}}}}}\n"


def met(book: Playbook, arm: str, ask: Ask | None = None, who: Customer | None = None, **changes: object) -> Decision:
    return decide(case(book, ask=ask, who=who, assignments={"t": arm}, **changes), book)


ARMS = pytest.mark.parametrize("arm", ["control", "treatment"])


@ARMS
def test_a_campaign_counts_when_it_was_nominated(arm: str) -> None:
    """Also when a gate then removed it; not when the trigger is another one's, nor when its channel was not asked."""
    book = playbook(trial("campaigns.big.value_minor: 100"))
    expected = ({"experiment": "t", "variation": arm, "unit": "u1"},)
    assert met(book, arm).exposures == expected
    assert met(book, arm, who=customer(email=None)).exposures == expected
    assert met(book, arm, ask=firing("cart")).exposures == ()
    assert met(book, arm, ask=Ask(customer_id="c1", channels=("push",))).exposures == ()


@ARMS
def test_which_channels_a_campaign_has_counts_even_when_none_is_asked_for(arm: str) -> None:
    """Otherwise only the variation with the asked channel would be exposed."""
    book = playbook(trial("campaigns.plain.channels: [inapp]"))
    assert met(book, arm, ask=Ask(customer_id="c1", channels=("push",))).exposures != ()


@ARMS
def test_a_cap_counts_when_it_was_asked(arm: str) -> None:
    """A candidate it would count reached it: not when all fell earlier, not for a transactional message."""
    book = playbook(CAPS + trial("caps.weekly.at_most: 2"))
    assert met(book, arm).exposures != ()
    nobody = Customer(customer_id="c1", traits={})
    assert met(book, arm, who=nobody, ask=Ask(customer_id="c1", channels=("email",))).exposures == ()
    assert met(book, arm, ask=firing("reset")).exposures == ()


@ARMS
def test_exploration_counts_when_it_is_drawn(arm: str) -> None:
    """Not when there is nothing to draw from, and not while a transactional message waits."""
    book = playbook(trial("exploration.rate: 0.5"))
    assert met(book, arm).exposures != ()
    assert met(book, arm, ask=firing("reset")).exposures == ()
    nobody = Customer(customer_id="c1", traits={})
    assert met(book, arm, who=nobody, ask=Ask(customer_id="c1", channels=("email",))).exposures == ()


@ARMS
def test_quiet_hours_and_the_number_of_messages_count_where_they_are_asked(arm: str) -> None:
    """Quiet hours by a candidate that keeps them; the number when the caller leaves it to the playbook."""
    quiet = playbook("quiet_hours: {start: 21:00, end: 08:00}\n" + trial("quiet_hours.end: 09:00"))
    assert met(quiet, arm).exposures != ()
    assert met(quiet, arm, ask=firing("reset")).exposures == ()
    many = playbook(trial("max_messages: 2"))
    assert met(many, arm).exposures != ()
    assert met(many, arm, ask=Ask(customer_id="c1", max_messages=1)).exposures == ()


def test_the_decision_is_made_with_the_variation_and_replays_from_the_base_playbook() -> None:
    """One send booked this week: the control is capped, the treatment is not; both replay to the same answer."""
    book = playbook(CAPS + trial("caps.weekly.at_most: 2"))
    booked = (send(NOW - timedelta(days=1), 1),)
    control, treatment = (met(book, arm, sends=booked) for arm in ("control", "treatment"))
    assert control.messages == ()
    assert {r.rule for r in control.removed} == {"weekly"}
    assert treatment.messages != ()
    assert control.playbook_hash == treatment.playbook_hash == book.hash
    stored = record.case_to_json(case(book, sends=booked, assignments={"t": "treatment"}))
    assert decide(record.case_from_json(stored), book) == treatment


def test_a_test_customer_is_in_no_trial_and_a_holdout_counts_where_something_would_have_gone() -> None:
    """Both sides of a holdout are logged when a message was chosen, neither when none was; the removal names it."""
    book = playbook("holdout: {share: 0.5}\n")
    for arm in ("holdout", "open"):
        given = {"global_holdout": arm}
        decision = decide(case(book, assignments=given), book)
        assert [e["variation"] for e in decision.exposures] == [arm]
        assert decision.messages[0].is_virtual is (arm == "holdout")
        assert decide(case(book, assignments=given, ask=firing("reset")), book).exposures == ()
    held = decide(case(book, assignments={"holdout.big": "holdout"}), book)
    assert [m.is_virtual for m in held.messages] == [True]
    assert [r.rule for r in held.removed if r.stage == "withhold"] == ["holdout.big"]
    assert not decide(case(book, assignments={"holdout.small": "holdout"}), book).messages[0].is_virtual


WORTH = """
fatigue: {p_unsubscribe: 0.002, value_of_reach_minor: 500}
channels: {push: {cost_minor: 1}, sms: {cost_minor: 5}}
levers: {news: {topic: news, times: 1.5}}
"""


@ARMS
@pytest.mark.parametrize(
    ("override", "channel", "is_met"),
    [
        ("fatigue.p_unsubscribe: 0.02", "email", True),
        ("hold_for_better: 1d", "email", True),
        ("levers.news.times: 3", "push", True),
        ("levers.news.times: 3", "inapp", False),  # news, too, but without a value: nothing to multiply
        ("levers.news.channel: push", "email", True),
        ("channels.push.cost_minor: 3", "push", True),
        ("channels.sms.cost_minor: 3", "push", False),
    ],
)
def test_what_values_are_made_of_counts_when_something_was_weighed_by_it(
    arm: str, override: str, channel: str, is_met: bool
) -> None:
    """Not for campaigns without a value, nor for those that another lever or channel concerns."""
    book = playbook(WORTH + trial(override))
    decision = met(book, arm, ask=Ask(customer_id="c1", channels=(channel,)))
    assert bool(decision.exposures) is is_met
