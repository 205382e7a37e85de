"""Ranking, chance and its log."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, customer, firing, playbook, swapped

from opportune.decision.appraise import appraise
from opportune.decision.candidate import Slot
from opportune.decision.chance import pick, uniform
from opportune.decision.choose import choose
from opportune.decision.nominate import nominate
from opportune.decision.pipeline import decide
from opportune.decision.place import MAX_SLOTS, place
from opportune.domain.decisions import Ask, Reason
from opportune.domain.instants import HOUR_US, from_us, to_us

EXPLORING = "exploration: {rate: 0.4}\n"
TWO_WORDINGS = swapped(
    (
        "    content: {inapp: {body: Plain}}",
        "    variants:\n      a: {weight: 3, content: {inapp: {body: A}}}\n      b: {content: {inapp: {body: B}}}",
    )
)


@settings(max_examples=60, deadline=None)
@given(st.text("0123456789abcdef", min_size=8, max_size=16), st.integers(1, 4), st.sampled_from([0.0, 0.3, 1.0]))
def test_every_candidate_is_accounted_for_and_probabilities_sum_to_one(seed, n, rate):
    """Each nominated candidate is a message or removed once; each draw is a distribution that holds what was chosen."""
    book = playbook(f"exploration: {{rate: {rate}}}\n", base=TWO_WORDINGS)
    decision = decide(case(book, Ask(customer_id="c1", max_messages=n), seed=seed), book)
    seen = [(m.campaign, m.channel) for m in decision.messages] + [(r.campaign, r.channel) for r in decision.removed]
    assert sorted(seen) == [("big", "email"), ("plain", "inapp"), ("small", "email"), ("small", "push")]
    for draw in decision.draws:
        assert sum(draw.probabilities.values()) == pytest.approx(1)
        assert draw.probabilities[draw.chosen] > 0
    ranked = [d for d in decision.draws if d.rank > 0]
    for message in decision.messages:
        key = f"{message.campaign}|{message.channel}|{message.variant or ''}|{message.send_at.isoformat()}"
        assert ranked[message.rank - 1].chosen == key
        assert message.action_probability == ranked[message.rank - 1].probabilities[key]
    assert decision.nothing_probability == ranked[0].probabilities.get("nothing", 0.0)
    assert decide(case(book, Ask(customer_id="c1", max_messages=n), seed=seed), book) == decision


def test_actions_are_drawn_as_often_as_logged():
    """Over 3,000 seeds each action, nothing included, comes as often as its logged probability says."""
    book = playbook(EXPLORING)
    drawn: Counter[str] = Counter()
    for n in range(3000):
        draw = decide(case(book, seed=f"{n:x}"), book).draws[0]
        drawn[draw.chosen] += 1
    assert set(drawn) == set(draw.probabilities)
    for key, p in draw.probabilities.items():
        assert drawn[key] / 3000 == pytest.approx(p, abs=0.03)
    assert draw.probabilities["nothing"] == pytest.approx(0.4 / 5)


def test_logged_probabilities_are_of_actions_that_can_be_taken():
    """While exploring, a body that cannot be written is out before the draw."""
    book = playbook(EXPLORING, base=swapped(("body: Small push", 'body: "{{ traits.nobody }}"')))
    decision = decide(case(book), book)
    assert len(decision.draws[0].probabilities) == 4
    assert Reason.RENDER_FAILED in {r.reason for r in decision.removed}


def test_test_customers_and_transactional_messages_are_never_explored():
    """No draw but the certain one."""
    book = playbook("exploration: {rate: 1.0}\n", base=TWO_WORDINGS)
    for n in range(20):
        tested = decide(
            case(book, Ask(customer_id="c1", max_messages=3), who=customer(is_test=True), seed=str(n)), book
        )
        assert [m.campaign for m in tested.messages] == ["big", "small", "plain"]
        assert tested.messages[2].variant == "a"
        assert decide(case(book, firing("reset"), seed=str(n)), book).messages[0].action_probability == 1.0


def test_who_stood_before_the_drawn_one_was_not_drawn():
    """Better ones that chance passed over are NOT_DRAWN, worse ones OUTRANKED."""
    book = playbook("exploration: {rate: 1.0}\n")
    for n in range(30):
        decision = decide(case(book, seed=str(n)), book)
        reasons = {(r.campaign, r.channel): r.reason for r in decision.removed}
        if decision.messages and decision.messages[0].campaign == "plain":
            assert set(reasons.values()) == {Reason.NOT_DRAWN}
            assert "big" in {r.campaign for r in decision.removed}
        elif decision.messages and decision.messages[0].campaign == "big":
            assert set(reasons.values()) == {Reason.OUTRANKED}
        elif not decision.messages:
            assert set(reasons.values()) == {Reason.NOT_DRAWN}


def test_wordings_are_drawn_by_weight_and_logged():
    """Three to one, in a draw of rank 0."""
    book = playbook(base=TWO_WORDINGS)
    ask = Ask(customer_id="c1", channels=("inapp",))
    decisions = [decide(case(book, ask, seed=str(n)), book) for n in range(1500)]
    assert sum(d.messages[0].variant == "a" for d in decisions) / 1500 == pytest.approx(0.75, abs=0.04)
    assert decisions[0].draws[0].rank == 0
    assert decisions[0].draws[0].probabilities == {"plain|a": 0.75, "plain|b": 0.25}


def test_a_grid_of_send_times_gives_slots_by_the_hour():
    """With weights per hour a candidate has up to 24 slots, its value moves with them, and the best hour is taken."""
    book = playbook("quiet_hours: {start: '21:00', end: '08:30'}\n")
    given_case = case(book)
    hour = to_us(NOW) + 5 * HOUR_US
    sifted = place(nominate(given_case, book).kept, given_case, book, grid={hour: 2.0})
    slots = sifted.kept[0].slots
    assert slots[0] == Slot(to_us(NOW))
    assert from_us(slots[9].at_us).isoformat() == "2026-03-05T08:30:00+00:00"
    assert len(slots) == 13 <= MAX_SLOTS
    best, _ = choose(appraise(sifted.kept, given_case, book).kept, 1, given_case, book)
    assert best is not None
    assert (best.slot.at_us, best.value_minor) == (hour, 1800)


def test_chance_is_a_hash():
    """The same seed and salt give the same number; it is uniform, and salts do not move together."""
    numbers = [uniform(str(n), "a") for n in range(4000)]
    assert numbers[:2] == [uniform("0", "a"), uniform("1", "a")]
    assert sum(numbers) / 4000 == pytest.approx(0.5, abs=0.02)
    assert sum(a * uniform(str(n), "b") for n, a in enumerate(numbers)) / 4000 == pytest.approx(0.25, abs=0.02)
    assert [pick(at, [1, 2, 1]) for at in (0.0, 0.25, 0.74, 0.75, 0.999999)] == [0, 1, 1, 2, 2]
