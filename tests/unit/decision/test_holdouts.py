"""Holdouts act last: what would have gone is decided, logged and counted, and not sent."""

from datetime import timedelta

import pytest
from tests.unit.decision.making import NOW, case, firing, playbook

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask, Reason, Stage

BOOK = playbook(
    "caps: {weekly: {counts: {purpose: marketing}, at_most: 1, in: 7d}}\n"
    "exploration: {rate: 0.2}\nholdout: {share: 0.5}\n"
)
HELD = [{"global_holdout": "holdout"}, {"holdout.big": "holdout"}]


@pytest.mark.parametrize("assignments", HELD, ids=["global", "campaign"])
def test_a_ghost_decision_is_the_decision_that_would_have_been(assignments: dict[str, str]) -> None:
    """The same message, words, slot, value and probabilities as for everybody else; only it is virtual and says why."""
    ask = Ask(customer_id="c1", channels=("email",))
    seed = next(f"{n}" for n in range(99) if _first(ask, f"{n}") == "big")
    ghost, real = (decide(case(BOOK, ask, seed=seed, assignments=them), BOOK) for them in (assignments, {}))
    assert ghost.draws == real.draws
    assert [m.is_virtual for m in ghost.messages] == [True]
    same = ("campaign", "channel", "content", "send_at", "value_minor", "action_probability", "counts")
    assert all(getattr(ghost.messages[0], name) == getattr(real.messages[0], name) for name in same)
    held = next(r for r in ghost.removed if r.campaign == "big")
    assert (held.stage, held.reason, held.rule) == (Stage.WITHHOLD, Reason.HOLDOUT, next(iter(assignments)))


def _first(ask: Ask, seed: str) -> str:
    messages = decide(case(BOOK, ask, seed=seed), BOOK).messages
    return messages[0].campaign if messages else ""


def test_withheld_messages_count_against_caps_as_if_they_had_gone() -> None:
    """The next decision of the week finds the cap full, for the held out as for everybody."""
    given = case(BOOK, assignments=HELD[0], seed="7")
    decision = decide(given, BOOK)
    booked = record.send_of(decision, decision.messages[0], given)
    assert booked.is_virtual
    after = decide(case(BOOK, sends=(booked,), now=NOW + timedelta(days=1), assignments=HELD[0]), BOOK)
    assert after.messages == ()
    assert {r.reason for r in after.removed} == {Reason.FREQUENCY_CAP}


@pytest.mark.parametrize("assignments", [*HELD, {"holdout.reset": "holdout"}])
def test_transactional_messages_are_exempt(assignments: dict[str, str]) -> None:
    """Even from a holdout of their own name."""
    decision = decide(case(BOOK, firing("reset"), assignments=assignments), BOOK)
    assert [(m.campaign, m.is_virtual) for m in decision.messages] == [("reset", False)]
    assert decision.removed == ()
