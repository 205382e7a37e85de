"""What each stage keeps and removes, and why, seen through whole decisions."""

from datetime import timedelta

import pytest
from tests.unit.decision.making import NOW, case, consent, customer, firing, playbook, score, send, swapped

from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask, Mode, Reason, Stage

H = timedelta(hours=1)


def gates(decision):
    """(campaign, channel) -> (stage, reason)."""
    return {(r.campaign, r.channel): (r.stage, r.reason) for r in decision.removed}


def one(decision, campaign, channel="email"):
    return next(r for r in decision.removed if (r.campaign, r.channel) == (campaign, channel))


def test_a_request_weighs_the_request_campaigns_only():
    """Triggered campaigns come only through their firing, transactional ones first of all."""
    book = playbook()
    asked = decide(case(book), book)
    assert {m.campaign for m in asked.messages} | {r.campaign for r in asked.removed} == {"big", "small", "plain"}
    fired = decide(case(book, firing("cart", name="Shoe")), book)
    assert [m.campaign for m in fired.messages] == ["cart"]
    assert fired.messages[0].content["body"] == "Shoe waits"
    assert decide(case(book, Ask(customer_id="c1", trigger="ask")), book).messages[0].campaign == "big"


def test_channels_not_asked_for_are_out_at_once():
    """The request named push: only push is weighed."""
    book = playbook()
    decision = decide(case(book, Ask(customer_id="c1", channels=("push",))), book)
    assert [(m.campaign, m.channel) for m in decision.messages] == [("small", "push")]
    assert gates(decision)["big", "email"] == (Stage.NOMINATE, Reason.CHANNEL_NOT_ASKED)


def test_value_is_probability_times_lift_times_value_less_cost():
    """round(0.1 x 0.5 x 2500) - 7; without a score the campaign ranks by priority and the mode says so."""
    book = playbook(
        base=swapped(
            (
                "    topic: news\n    channels: [email, push]\n    goal: order",
                "    topic: news\n    channels: [email, push]\n    goal: order\n    lift: 0.5\n    cost_minor: 7",
            )
        )
    )
    ask = Ask(customer_id="c1", max_messages=3)
    by_name = {m.campaign: m for m in decide(case(book, ask), book).messages}
    assert by_name["small"].value_minor == 118
    assert (by_name["big"].rank, by_name["small"].rank, by_name["plain"].rank) == (1, 2, 3)
    blind = decide(case(book, ask, scores={}), book)
    assert [m.campaign for m in blind.messages] == ["plain", "big", "small"]
    assert blind.mode is Mode.RULES_ONLY


def test_what_is_worth_no_more_than_nothing_is_not_sent():
    """A zero value is below nothing; a campaign without a value is not compared."""
    book = playbook()
    decision = decide(case(book, scores={"purchase": score(0.0)}), book)
    assert [m.campaign for m in decision.messages] == ["plain"]
    assert gates(decision)["big", "email"] == (Stage.CHOOSE, Reason.BELOW_NOTHING)
    assert one(decision, "big").detail == {"limit": 0, "found": 0}


@pytest.mark.parametrize(
    ("line", "reason", "passes"),
    [("starts_at: 2026-03-05", "not_started", True), ("ends_at: 2026-03-04T12:00:00Z", "ended", False)],
)
def test_a_campaign_speaks_only_between_its_dates(line, reason, passes):
    """Start included, end not."""
    book = playbook(base=swapped(("    value_minor: 9000", f"    value_minor: 9000\n    {line}")))
    removal = one(decide(case(book), book), "big")
    assert (removal.stage, removal.reason) == (Stage.QUALIFY, reason)
    assert (removal.would_pass_at is not None) is passes


def test_a_false_condition_names_whose_it_was():
    """The trigger's own condition carries the trigger's name, the campaign's `<campaign>.when`."""
    book = playbook(
        base=swapped(
            ("    value_minor: 9000", "    value_minor: 9000\n    when: context.vip == true"),
            ("{event: Product Added}}", "{event: Product Added}, when: event.total > 10}"),
        )
    )
    asked = one(decide(case(book), book), "big")
    assert (asked.reason, asked.rule) == (Reason.CONDITION_FALSE, "big.when")
    fired = one(decide(case(book, firing("cart", total=5)), book), "cart")
    assert (fired.reason, fired.rule) == (Reason.CONDITION_FALSE, "cart")
    assert decide(case(book, firing("cart", total=11)), book).messages
    assert decide(case(book, Ask(customer_id="c1", context={"vip": True})), book).messages[0].campaign == "big"


def test_a_condition_on_a_missing_score_is_not_asked():
    """SCORE_MISSING; NO_PROFILING when the customer objects, even if scores were handed in."""
    book = playbook(
        base=swapped(("    value_minor: 9000", "    value_minor: 9000\n    when: not (scores.purchase > 0.9)"))
    )
    assert decide(case(book), book).messages[0].campaign == "big"
    assert one(decide(case(book, scores={}), book), "big").reason is Reason.SCORE_MISSING
    objecting = decide(case(book, consents=(consent("profiling", "*", "out", 1),)), book)
    assert one(objecting, "big").reason is Reason.NO_PROFILING
    assert (objecting.mode, objecting.scores) == (Mode.RULES_ONLY, {})


def test_a_cool_down_ends_exactly_when_declared():
    """Sends, bookings and withheld ones count; the instant it ends passes."""
    book = playbook(base=swapped(("    value_minor: 9000", "    value_minor: 9000\n    cooldown: 2d")))
    early = one(decide(case(book, sends=(send(NOW - 47 * H, campaign="big", is_virtual=True),)), book), "big")
    assert (early.reason, early.would_pass_at) == (Reason.COOLDOWN, NOW + H)
    assert early.detail == {"limit": 172800, "found": 169200, "unit": "s"}
    assert decide(case(book, sends=(send(NOW - 48 * H, campaign="big"),)), book).messages[0].campaign == "big"


def test_address_and_consent_are_asked_per_channel():
    """No push token removes push only; an opt-out from e-mail removes e-mail only."""
    book = playbook()
    decision = decide(case(book, who=customer(push_token=None), consents=(consent("email", "*", "out", 1),)), book)
    assert gates(decision) == {
        ("big", "email"): (Stage.QUALIFY, Reason.NO_CONSENT),
        ("small", "email"): (Stage.QUALIFY, Reason.NO_CONSENT),
        ("small", "push"): (Stage.QUALIFY, Reason.NO_ADDRESS),
    }
    assert decision.messages[0].campaign == "plain"


QUIET = "quiet_hours: {start: '11:00', end: '14:30'}\n"


def test_a_message_waits_for_the_end_of_quiet_hours():
    """Noon is quiet: it goes at 14:30 local, and not at all when it expires before."""
    book = playbook(QUIET)
    message = decide(case(book), book).messages[0]
    assert message.send_at == NOW + 2.5 * H
    short = playbook(QUIET, base=swapped(("    value_minor: 9000", "    value_minor: 9000\n    expires_after: 2h")))
    removal = one(decide(case(short), short), "big")
    assert (removal.stage, removal.reason, removal.would_pass_at) == (Stage.PLACE, Reason.QUIET_HOURS, NOW + 2.5 * H)


def test_caps_move_a_message_or_remove_it():
    """Room within its life: it is placed there; else FREQUENCY_CAP or SPACING with the numbers that met."""
    book = playbook("caps:\n  week: {counts: {purpose: marketing}, at_most: 1, in: 7d}\n")
    soon = decide(case(book, sends=(send(NOW - timedelta(days=6, hours=20)),)), book)
    assert soon.messages[0].send_at == NOW + 4 * H
    removal = one(decide(case(book, sends=(send(NOW - timedelta(days=3)),)), book), "big")
    assert (removal.stage, removal.reason, removal.rule) == (Stage.PLACE, Reason.FREQUENCY_CAP, "week")
    assert removal.detail == {"limit": 1, "found": 1, "window": "7d"}
    assert removal.would_pass_at == NOW + timedelta(days=4)
    apart = playbook("caps:\n  rest: {at_least_apart: 2d}\n")
    spaced = one(decide(case(apart, sends=(send(NOW - H),)), apart), "big")
    assert (spaced.reason, spaced.detail) == (Reason.SPACING, {"limit": 172800, "found": 3600, "unit": "s"})


def test_transactional_messages_pass_consent_caps_and_quiet_hours():
    """A password reset goes now, whatever stands in the way of marketing."""
    book = playbook(QUIET + "caps:\n  none: {at_most: 0, in: 1d}\n")
    message = decide(case(book, firing("reset", token="t"), consents=(consent("*", "*", "out", 1),)), book).messages[0]
    assert (message.campaign, message.send_at, message.obeys_caps) == ("reset", NOW, False)


def test_a_firing_that_is_too_late_is_expired():
    """Its life counts from when it was due."""
    book = playbook()
    assert one(decide(case(book, firing("cart", NOW - 24 * H)), book), "cart").reason is Reason.EXPIRED
    assert decide(case(book, firing("cart", NOW - 23 * H)), book).messages[0].expires_at == NOW + H


def test_messages_of_one_decision_count_for_each_other():
    """With two a day, the third rank is capped by the first two; one message per campaign."""
    book = playbook("caps:\n  day: {at_most: 2, in: 2d}\n")
    decision = decide(case(book, Ask(customer_id="c1", max_messages=3)), book)
    assert [m.campaign for m in decision.messages] == ["big", "small"]
    assert gates(decision)["plain", "inapp"] == (Stage.PLACE, Reason.FREQUENCY_CAP)
    assert gates(decision)["small", "push"] == (Stage.CHOOSE, Reason.OUTRANKED)


def test_a_body_that_fails_lets_the_next_move_up():
    """The best one cannot be written: it is removed with the reason, and the second best goes."""
    book = playbook(base=swapped(("Hello {{ traits.name | default: 'you' }}", "{{ traits.nobody }}")))
    decision = decide(case(book), book)
    assert decision.messages[0].campaign == "small"
    assert gates(decision)["big", "email"] == (Stage.RENDER, Reason.RENDER_FAILED)
    assert "body" in one(decision, "big").detail["message"]


def test_a_holdout_withholds_and_logs_what_would_have_gone():
    """Marketing becomes virtual beside a HOLDOUT removal; transactional messages and test customers are exempt."""
    book, held = playbook(), {"global_holdout": "holdout"}
    decision = decide(case(book, assignments=held), book)
    assert decision.messages[0].is_virtual
    assert gates(decision)["big", "email"] == (Stage.WITHHOLD, Reason.HOLDOUT)
    assert not decide(case(book, firing("reset"), assignments=held), book).messages[0].is_virtual
    assert not decide(case(book, who=customer(is_test=True), assignments=held), book).messages[0].is_virtual
    assert not decide(case(book, assignments={"global_holdout": "everyone"}), book).messages[0].is_virtual


def test_no_campaign_means_an_empty_decision():
    """A trigger nobody speaks to: nothing sent, nothing removed, certainty of nothing."""
    book = playbook("triggers:\n  lonely: {kind: request}\n")
    decision = decide(case(book, Ask(customer_id="c1", trigger="lonely")), book)
    assert (decision.messages, decision.removed, decision.nothing_probability) == ((), (), 1.0)
