"""The campaign report and the reach funnel: every figure counts what its definition says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.contract.ledger_samples import an_event

from opportune.domain.decisions import Decision, Message, Mode, Reason, Removal, Stage
from opportune.domain.messages import Deliver, Outcome, OutcomeKind, Send, SendState
from opportune.experiments.report import (
    GROUPS,
    CampaignTally,
    Credit,
    ReachTally,
    credited,
    group_of,
    in_words,
    value_of,
)
from opportune.playbook.load import load_files

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
BOOK = load_files(
    {
        "p": b"""
goals: {order: {event: Order Completed, when: event.total > 0, value: properties.total, horizon: 7d}}
topics: {t: {purpose: marketing}}
triggers: {r: {kind: request}}
campaigns:
  a: {trigger: r, topic: t, channels: [email], goal: order, content: {email: {subject: s, body: b}}}
  b: {trigger: r, topic: t, channels: [email], goal: order, content: {email: {subject: s, body: b}}}
  plain: {trigger: r, topic: t, channels: [email], content: {email: {subject: s, body: b}}}
"""
    }
)


def a_send(
    message_id: str, campaign: str = "a", state: SendState = SendState.SENT, days: float = 0, **more: Any
) -> Send:
    at = T0 + timedelta(days=days)
    given: dict[str, Any] = {
        "customer_id": "c1", "decision_id": "d", "rank": 1, "trigger": "r", "channel": "email", "topic": "t",
        "purpose": "marketing", "variant": None, "tags": (), "deliver": Deliver.SERVICE, "send_at": at,
        "expires_at": at + timedelta(days=1), "reserved_at": at,
        "handed_off_at": at if state is SendState.SENT else None,
    }  # fmt: skip
    return Send(message_id=message_id, campaign=campaign, state=state, **(given | more))


def an_outcome(kind: OutcomeKind, is_machine: bool = False) -> Outcome:
    return Outcome(
        outcome_id=f"o{kind}{is_machine}", message_id="m", customer_id="c1", kind=kind, at=T0, recorded_at=T0,
        is_machine=is_machine,
    )  # fmt: skip


def an_order(days: float, total: float = 10.0, name: str = "e") -> Any:
    event = an_event(f"{name}{days}", name="Order Completed", properties={"total": total})
    return replace(event, event_at=T0 + timedelta(days=days))


def test_each_message_is_counted_once_under_what_became_of_it() -> None:
    """Booked is sent, waiting or released; withheld stands apart; a click implies an open and a delivery."""
    tally = CampaignTally(T0 + timedelta(days=30), BOOK)
    tally.add(
        a_send("m1"),
        [an_outcome(OutcomeKind.CLICKED), an_outcome(OutcomeKind.UNSUBSCRIBED)],
        Credit(n=2, value_minor=3000),
    )
    tally.add(a_send("m2"), [an_outcome(OutcomeKind.OPENED, is_machine=True)], Credit())
    tally.add(a_send("m3", state=SendState.RESERVED), [], Credit())
    tally.add(a_send("m4", state=SendState.RELEASED), [], Credit())
    tally.add(a_send("m5", is_virtual=True, state=SendState.RESERVED), [], Credit())
    [row] = tally.rows()
    figures = ("booked", "sent", "waiting", "released", "withheld", "delivered", "opened", "machine_opened", "clicked")
    assert [row[f] for f in figures] == [4, 2, 1, 1, 1, 1, 1, 1, 1]
    assert (row["converted"], row["goals"], row["revenue_minor"], row["unsubscribed"]) == (1, 2, 3000, 1)
    assert (row["open_rate"], row["click_through"], row["conversion"], row["click_to_open"]) == (0.5, 0.5, 0.5, 1.0)
    assert row["still_open"] == 0


def test_a_campaign_without_a_goal_has_no_conversion_and_a_young_one_says_it_is_still_open() -> None:
    """Null is not 0: nothing was hoped for; and what may still come is counted."""
    tally = CampaignTally(T0 + timedelta(days=1), BOOK)
    tally.add(a_send("m1", "plain"), [], Credit())
    tally.add(a_send("m2"), [], Credit())
    young, plain = tally.rows()
    assert (plain["goal"], plain["converted"], plain["conversion"], plain["revenue_minor"]) == (None, None, None, None)
    assert (young["still_open"], young["converted"], young["revenue_minor"]) == (1, 0, 0)


def test_a_goal_counts_for_the_last_message_before_it_and_only_within_the_horizon() -> None:
    """Two messages never share an order, so that revenue adds up over campaigns."""
    sends = [a_send("m1", "a", days=0), a_send("m2", "b", days=2), a_send("m3", "plain", days=3)]
    orders = [an_order(-1), an_order(1), an_order(4, 25.0), an_order(5, 0.0), an_order(9.5, 99.0)]
    found = credited(sends, orders, {"m1", "m2", "m3"}, BOOK)
    assert found == {"m1": Credit(n=1, value_minor=1000), "m2": Credit(n=1, value_minor=2500)}
    assert credited(sends, orders, {"m1"}, BOOK) == {"m1": Credit(n=1, value_minor=1000)}


def test_a_goal_is_worth_its_property_else_its_fixed_value() -> None:
    """Major units become minor ones; what is no number falls back."""
    assert value_of(an_order(0, 12.345), "properties.total", 7) == 1234
    assert value_of(an_order(0, 12.0), "properties.deep.er", 7) == 7
    assert value_of(an_order(0, 12.0), None, None) is None


def a_decision(messages: tuple[str, ...], removed: tuple[Removal, ...], is_virtual: bool = False) -> Decision:
    chosen = tuple(
        Message(
            message_id=f"m-{campaign}", rank=1, campaign=campaign, trigger="r", step=None, channel="email",
            variant=None, topic="t", purpose="marketing", tags=(), send_at=T0, expires_at=T0, value_minor=None,
            action_probability=1.0, content={}, headers={}, reasons=(), obeys_caps=True,
            counts=True, is_virtual=is_virtual,
        )
        for campaign in messages
    )  # fmt: skip
    return Decision(
        decision_id="d", customer_id="c", decided_at=T0, playbook_hash="", code_version="", mode=Mode.RULES_ONLY,
        degraded=False, currency="GBP", summary="", scores={}, messages=chosen, removed=removed,
        nothing_probability=0.0, draws=(),
    )  # fmt: skip


def a_removal(stage: Stage, reason: Reason, channel: str = "email", **detail: Any) -> Removal:
    return Removal(campaign="a", channel=channel, variant=None, stage=stage, reason=reason, detail=detail)


def test_who_did_not_hear_has_one_reason_and_shares_add_up() -> None:
    """The channel that got furthest says why; a holdout, a release and an unknown zone have their own words."""
    tally = ReachTally()
    no_consent = a_removal(Stage.QUALIFY, Reason.NO_CONSENT, "push")
    capped = a_removal(Stage.PLACE, Reason.FREQUENCY_CAP)
    tally.add(a_decision(("a",), (no_consent,)), {})
    tally.add(a_decision(("a",), ()), {"m-a": Reason.CANCELLED})
    tally.add(a_decision((), (no_consent, capped)), {})
    tally.add(a_decision((), (a_removal(Stage.PLACE, Reason.SPACING),)), {})
    tally.add(a_decision((), (a_removal(Stage.PLACE, Reason.QUIET_HOURS, zone=None),)), {})
    tally.add(a_decision((), (a_removal(Stage.PLACE, Reason.QUIET_HOURS, zone="Europe/London"),)), {})
    tally.add(a_decision(("a",), (a_removal(Stage.WITHHOLD, Reason.HOLDOUT),), is_virtual=True), {})
    [row] = tally.rows()
    lost = {it["why"]: it["n"] for it in row["lost"]}
    assert lost == {"caps": 2, "cancelled": 1, "no zone": 1, "quiet hours": 1, "holdout": 1}
    assert row["heard"] + sum(lost.values()) == row["chances"] == 7
    assert in_words(row).startswith("a: 1 of 7 chances heard; 29 % caps, 14 % cancelled")
    assert row["removals"]["no_consent"] == 2


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(reason: Reason) -> None:
    """A new reason must be given its group in the funnel."""
    assert GROUPS[reason]
    assert group_of(a_removal(Stage.PLACE, reason, zone="Europe/London")) == GROUPS[reason]
