"""Experiments are checked when the playbook is loaded: what they change must exist and leave the playbook valid."""

import pytest
from tests.unit.decision.making import playbook

from opportune.playbook.load import PlaybookInvalid, from_source
from opportune.playbook.vary import overridden, variants_of

CAPS = "caps:\n  weekly: {counts: {purpose: marketing}, at_most: 3, in: 7d}\n"


def with_override(override: str, more: str = "", caps: str = CAPS) -> str:
    return (
        f"{caps}experiments:\n  trial:\n    {more}\n    variations:\n      control: {{}}\n"
        f"      treatment:\n        override:\n          {override}\n"
    )


def problem_of(text: str) -> str:
    with pytest.raises(PlaybookInvalid) as caught:
        playbook(text)
    assert len(caught.value.problems) == 1, caught.value
    return str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("caps.weakly.at_most: 5", "the playbook has no `caps.weakly`; did you mean `weekly`?"),
        ("caps.weekly.at_mots: 5", "the playbook has no `caps.weekly.at_mots`; did you mean `at_most`?"),
        ("caps.weekly.at_most: many", "the playbook is not valid: caps.weekly.at_most"),
        ("caps.weekly.in: 7 fortnights", "the playbook is not valid: caps.weekly"),
        ("caps.weekly: 5", "is no single value"),
        ("goals.order.value_minor: 5", "`goals` cannot be overridden"),
        ("triggers.ask.when: context.x", "`triggers` cannot be overridden"),
        ("campaigns.reset.priority: 5", "transactional messages are exempt"),
        ("campaigns.big.trigger: cart", "keeps its trigger"),
        ("campaigns.big.when: features.spend_sum_9d > 3", "features.spend_sum_9"),
        ("campaigns.big.topic: nowhere", "unknown topic `nowhere`"),
        ("campaigns.big.content.email.subject: '{{ broken'", "template"),
        ("exploration.rate: 1.5", "exploration.rate"),
        ("quiet_hours.start: 20:00", "declare `quiet_hours` first"),
        ("fatigue.p_unsubscribe: 0.1", "declare `fatigue` first"),
        ("levers.more.times: 2", "the playbook has no `levers.more`"),
        ("hold_for_better.at_most: 2", "is no single value"),
    ],
)
def test_a_wrong_override_is_told_with_its_line_and_what_to_do(override: str, said: str) -> None:
    """File, line of the override, the path, and the reason."""
    told = problem_of(with_override(override))
    assert told.startswith(f"extra.yaml:10: experiments.trial.variations.treatment.override.{override.split(': ')[0]}:")
    assert said in told


def test_what_cannot_be_an_experiment_is_told() -> None:
    """Nothing to change, an unknown goal, dates the wrong way round, a share of nobody, a name that is taken."""
    assert "no variation overrides anything" in problem_of("experiments:\n  e:\n    variations: {a: {}, b: {}}\n")
    assert "unknown goal" in problem_of(with_override("caps.weekly.at_most: 5", "goal: odrer"))
    assert "ends before it starts" in problem_of(
        with_override("caps.weekly.at_most: 5", "starts_at: 2026-03-02\n    ends_at: 2026-03-01")
    )
    assert "`share` is a number" in problem_of(with_override("caps.weekly.at_most: 5", "share: 0"))
    assert "name of the holdout" in problem_of(
        "experiments:\n  global_holdout:\n    variations: {a: {}, b: {override: {max_messages: 2}}}\n"
    )
    assert "only `features.*`, `traits.*` can be read here" in problem_of(
        with_override("caps.weekly.at_most: 5", "when: scores.purchase > 0.1")
    )


TWO = """
experiments:
  one:
    {one}
    variations: {{a: {{}}, b: {{override: {{campaigns.big.priority: 1}}}}}}
  two:
    {two}
    variations: {{a: {{}}, b: {{override: {{{path}}}}}}}
"""


def test_two_experiments_that_meet_do_not_change_the_same_value() -> None:
    """Unless they share a layer, or one ends before the other starts; and one layer is not given away twice."""
    clash = "campaigns.big.priority: 2"
    assert "as experiment `one` does: put both into one `layer`" in problem_of(TWO.format(one="", two="", path=clash))
    playbook(TWO.format(one="ends_at: 2026-03-01", two="starts_at: 2026-03-01", path=clash))
    layered = TWO.format(one="layer: l\n    share: 0.5", two="layer: l\n    share: [0.5, 1]", path=clash)
    assert playbook(layered).spec.experiments["one"].share == (0.0, 0.5)
    twice = TWO.format(one="layer: l\n    share: 0.5", two="layer: l\n    share: [0.4, 1]", path=clash)
    assert "takes the same customers of layer `l`" in problem_of(twice)


def test_variations_that_only_together_break_a_block_are_found() -> None:
    """Each alone is valid; a customer in both would have a cap without a window."""
    caps = "caps:\n  weekly: {at_most: 3, in: 7d, at_least_apart: 1h}\n"
    text = (
        caps
        + """
experiments:
  one:
    variations: {a: {}, b: {override: {caps.weekly.at_most: null, caps.weekly.in: null}}}
  two:
    variations: {a: {}, b: {override: {caps.weekly.at_least_apart: null}}}
"""
    )
    assert "together with another experiment" in problem_of(text)


def test_the_overridden_playbook_is_the_base_with_the_values_changed() -> None:
    """Compiled once per combination; assignments that change nothing give the base itself."""
    book = playbook(with_override("caps.weekly.at_most: 5"))
    varied = overridden(book, {"trial": "treatment", "gone": "x"})
    assert varied.spec.caps["weekly"].at_most == 5
    assert varied.spec.campaigns == book.spec.campaigns
    assert overridden(book, {"trial": "treatment"}) is varied
    assert overridden(book, {"trial": "control"}) is book
    assert [p.hash for p in variants_of(book)] == [book.hash, varied.hash]
    again = overridden(from_source(book.source), {"trial": "treatment"})
    assert again.hash == varied.hash
