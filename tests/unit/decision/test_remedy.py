"""What would have sent it: every gate that shut, and the smallest change that opens it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.decision.making import NOW, case, consent, playbook, score, send, swapped

from opportune.decision.pipeline import decide
from opportune.decision.remedy import Remedies, remedies
from opportune.domain.customers import Customer
from opportune.domain.decisions import Case, Reason
from opportune.domain.experiments import GLOBAL_HOLDOUT, HELD
from opportune.domain.instants import format_instant
from opportune.domain.suppressions import ListedBy, Suppression
from opportune.playbook.load import Playbook

WORTH = "    value_minor: 9000\n"


def told(found: Remedies) -> list[tuple[str, str]]:
    return [(r.reason.value, r.text) for r in found.remedies]


def of(made: Case, rules: Playbook, campaign: str = "big", channel: str | None = None) -> Remedies:
    return remedies(made, rules, campaign, channel)


def test_what_is_sent_needs_no_remedy() -> None:
    """Nothing stood in the way."""
    found = of(case(playbook(), scores={"purchase": score(0.5)}), playbook())
    assert found.is_reached
    assert found.remedies == ()
    assert found.text == "big is sent as things are."


def test_every_gate_on_the_way_is_named_once_in_the_order_in_which_it_was_met() -> None:
    """A false condition, no consent, a cap, somebody better: four gates, four changes, and it is sent."""
    rules = playbook(
        "caps: {one: {counts: {campaign: big}, at_most: 1, in: 7d}}",
        swapped(
            ("    value_minor: 9000\n", "    value_minor: 100\n    when: features.orders_n_all >= 5 and traits.vip\n")
        ),
    )
    made = case(
        rules,
        features={"orders_n_all": 3},
        scores={"purchase": score(0.5)},
        consents=(consent("email", "offers", "out", 1),),
        sends=(send(NOW - timedelta(days=1), campaign="big"),),
    )
    found = of(made, rules)
    assert found.is_reached
    assert [reason for reason, _ in told(found)] == ["condition_false", "no_consent", "frequency_cap", "outranked"]
    texts = [text for _, text in told(found)]
    assert texts[0] == "features.orders_n_all at least 5 (it is 3) and traits.vip true (it is missing)"
    assert texts[1] == "an opt-in to email, offers, given after the opt-out"
    assert texts[2] == "the moment 2026-03-10T12:00:00+00:00 or later, for one (1 of 1)"
    assert texts[3] == "more worth than small, or room for 2 messages"


def test_the_smallest_probability_that_would_pay_is_found_exactly() -> None:
    """A cost of 100 against 0.05 x 2500 x lift 0.04: the p at which it turns positive, to a millionth."""
    rules = playbook(base=swapped((WORTH, "    cost_minor: 100\n")))
    found = of(case(rules, scores={"purchase": score(0.01)}), rules)
    assert found.is_reached
    (change,) = found.remedies[0].change
    assert found.remedies[0].reason is Reason.BELOW_NOTHING
    assert change["name"] == "scores.purchase"
    assert change["to"] == pytest.approx(0.0402, abs=3e-4)  # round(p x 2500) > 100
    assert change["found"] == 0.01


def test_a_missing_address_a_holdout_and_the_night_have_their_own_words() -> None:
    """Each names what would open it, and opening it sends the message."""
    short = swapped((WORTH, WORTH + "    expires_after: 1h\n"))
    plain, night = playbook(), playbook("quiet_hours: {start: '08:00', end: '20:00'}", short)
    likely = {"purchase": score(0.5)}
    nowhere = Customer(customer_id="c1", traits={"timezone": "Europe/London"})
    for made, rules, says in (
        (case(plain, scores=likely, who=nowhere), plain, ("no_address", "an address: traits.email")),
        (
            case(plain, scores=likely, assignments={GLOBAL_HOLDOUT: HELD}),
            plain,
            ("holdout", f"a customer outside {GLOBAL_HOLDOUT}"),
        ),
        (
            case(night, scores=likely),
            night,
            ("quiet_hours", "the moment 2026-03-04T20:00:00+00:00 or later, for quiet_hours"),
        ),
    ):
        found = of(made, rules)
        assert found.is_reached
        assert told(found)[0] == says


def test_a_suppression_list_and_a_send_window_have_their_own_words() -> None:
    """Off the list, or inside the window, it goes."""
    window = "send_windows: {late: {open: [{from: '20:00', to: '23:00'}]}}"
    rules = playbook(window, swapped((WORTH, WORTH + "    expires_after: 1h\n")))
    entry = Suppression(by=ListedBy.EMAIL, digest="0" * 64, purpose="all", is_on=True, source="legal", at=NOW)
    found = of(case(rules, scores={"purchase": score(0.5)}, suppressions=(entry,)), rules, channel="email")
    assert found.is_reached
    assert told(found) == [
        ("suppressed", f"the suppression list without this email (since {format_instant(NOW)})"),
        ("send_window", "the moment 2026-03-04T20:00:00+00:00 or later, for send_windows.late"),
    ]


def test_what_nothing_opens_is_said_and_not_reached() -> None:
    """A campaign that has ended stays ended."""
    rules = playbook(base=swapped((WORTH, WORTH + "    ends_at: 2026-01-01\n")))
    found = of(case(rules, scores={"purchase": score(0.5)}), rules)
    assert not found.is_reached
    assert "lies in the past" in found.text
    assert found.text.startswith("big is not reached even with")


def test_a_remedy_is_true_a_case_so_changed_is_decided_with_the_campaign() -> None:
    """The change told for a feature, applied by hand, sends it."""
    rules = playbook(base=swapped((WORTH, WORTH + "    when: features.orders_n_all >= 5\n")))
    made = case(rules, features={"orders_n_all": 3}, scores={"purchase": score(0.5)})
    (remedy,) = of(made, rules).remedies
    changed = replace(made, features={**made.features, "orders_n_all": remedy.change[0]["to"]})
    assert [m.campaign for m in decide(changed, rules).messages] == ["big"]


def test_an_unknown_campaign_or_channel_is_an_error() -> None:
    """Names are checked before anything is decided."""
    with pytest.raises(KeyError):
        of(case(playbook()), playbook(), "nope")
    with pytest.raises(KeyError):
        of(case(playbook()), playbook(), "big", "sms")
