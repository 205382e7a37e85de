"""What decisions learn from the log, and what they know is coming: both part of their case."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.desks import NOON, desk_of, playbook_of

from opportune.adapters.system_clock import FixedClock
from opportune.decision import record
from opportune.domain.decisions import Ask, Decision, Reason
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.evidence import CampaignRecord
from opportune.domain.messages import Deliver, Outcome, OutcomeKind
from opportune.domain.timers import Timer
from opportune.flows.decide import decide
from opportune.flows.deliver import report_status
from opportune.flows.desk import Desk, look_back
from opportune.flows.fire import fire
from opportune.flows.tally import tally

DAY = timedelta(days=1)
TEXT = """
topics: {offers: {}}
consent: {default: {"*": in}}
goals: {order: {event: Order Completed, value_minor: 1000, horizon: 7d}}
triggers: {asked: {kind: request}, left: {on: {event: Cart Left}}}
fatigue: {p_unsubscribe: 0.01, value_of_reach_minor: 100, per_send_7d: 1, prior_weight: 10}
campaigns:
  offer:
    trigger: asked
    topic: offers
    channels: [inapp]
    goal: order
    p_goal: 0.1
    lift: 0.2
    prior_weight: 20
    holdout: 0.5
    content: {inapp: {body: Hello}}
"""


def order(customer_id: str, days: float) -> tuple[Event, str]:
    at = NOON + days * DAY
    event = Event(
        message_id=f"o-{customer_id}", kind=EventKind.TRACK, name="Order Completed", user_id=customer_id,
        anonymous_id=None, original_at=at, sent_at=None, received_at=at, event_at=at, known_at=at, ingested_at=at,
        origin=Origin.LIVE,
    )  # fmt: skip
    return event, customer_id


def ask_all(desk: Desk, n: int) -> dict[str, Decision]:
    answers = decide([Ask(customer_id=f"c{k:02}") for k in range(n)], desk)
    return {d.customer_id: d for d in answers if isinstance(d, Decision)}


def test_each_message_is_counted_once_when_its_goal_has_had_its_time(tmp_path: Path) -> None:
    """Sent and withheld apart, orders inside the horizon only, losses; released ones not at all; the case has it."""
    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(tmp_path, TEXT), clock=clock)
    decisions = ask_all(desk, 40)
    sent = [c for c, d in decisions.items() if not d.messages[0].is_virtual]
    held = [c for c, d in decisions.items() if d.messages[0].is_virtual]
    assert min(len(sent), len(held)) > 8
    report_status(decisions[sent[0]].messages[0].message_id, "not_sent", None, None, desk.ledger, clock)
    lost = decisions[sent[1]].messages[0].message_id
    with desk.ledger.begin() as uow:
        uow.events.append([order(c, 3) for c in (*sent[1:7], held[0])] + [order(sent[7], 8), order(held[1], -1)])
        unsubscribed = Outcome(
            outcome_id="x", message_id=lost, customer_id=sent[1], kind=OutcomeKind.UNSUBSCRIBED, at=NOON + DAY,
            recorded_at=NOON + DAY,
        )  # fmt: skip
        uow.outcomes.add([unsubscribed])
    clock.advance(NOON + 7 * DAY)
    assert tally(desk.ledger, desk.playbook, clock, "me") == 0  # expiry and horizon: eight days
    clock.advance(NOON + 8 * DAY)
    assert tally(desk.ledger, desk.playbook, clock, "me", page=15) == 15
    while tally(desk.ledger, desk.playbook, clock, "me", page=15):
        pass
    expected = CampaignRecord(
        campaign="offer", n_sent=len(sent) - 1, n_reached=6, n_held=len(held), n_held_reached=1, n_lost=1
    )
    with desk.ledger.read() as uow:
        assert uow.records.get(["offer"]) == {"offer": expected}
    decision = next(d for d in ask_all(desk, 1).values())
    with desk.ledger.read() as uow:
        row = uow.decisions.get(decision.decision_id)
    assert row is not None
    assert record.case_from_json(row.case).records == (expected,)
    assert " x 0.2 x " not in decision.messages[0].reasons[1]  # no longer the declared lift alone


def test_decisions_made_meanwhile_wait_their_turn(tmp_path: Path) -> None:
    """A page that is only half ripe is counted to the last ripe decision, and goes on from there."""
    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(tmp_path, TEXT), clock=clock)
    ask_all(desk, 3)
    clock.advance(NOON + DAY)
    ask_all(desk, 4)
    clock.advance(NOON + 8 * DAY)
    assert tally(desk.ledger, desk.playbook, clock, "me") == 3
    clock.advance(NOON + 9 * DAY)
    assert [tally(desk.ledger, desk.playbook, clock, "me") for _ in range(2)] == [4, 0]


def test_fatigue_sees_a_week_of_sends(tmp_path: Path) -> None:
    """Without any cap, too."""
    assert look_back(playbook_of(tmp_path, TEXT)) >= 7 * DAY


HOLDING = (
    TEXT.replace("    holdout: 0.5\n", "")
    + """
  cart:
    trigger: left
    topic: offers
    channels: [inapp]
    goal: order
    p_goal: 0.5
    content: {inapp: {body: "Your cart {{ event.cart | default: '' }}"}}
hold_for_better: 1d
caps: {weekly: {at_most: 1, in: 7d}}
"""
)


def test_a_waiting_trigger_keeps_its_place_until_it_has_fired(tmp_path: Path) -> None:
    """The request is held for the cart message that is due in two hours; that one then goes."""
    clock = FixedClock(NOON)
    playbook = playbook_of(tmp_path, HOLDING.replace("    prior_weight: 20\n", ""))
    desk = desk_of(playbook, clock=clock)
    due = Timer(
        rule="left", customer_id="c00", key="k", due_at=NOON + timedelta(hours=2), set_at=NOON, set_by="e1",
        payload={"cart": "7"},
    )  # fmt: skip
    with desk.ledger.begin(["c00"]) as uow:
        uow.timers.arm([due, replace(due, rule="gone"), replace(due, key="far", due_at=NOON + 3 * DAY)])
    decision = ask_all(desk, 1)["c00"]
    assert [(r.campaign, r.reason) for r in decision.removed] == [("offer", Reason.HELD_FOR_BETTER)]
    assert decision.summary == "Send nothing. offer held: a better one is due; possible again today 14:00 UTC."
    with desk.ledger.read() as uow:
        row = uow.decisions.get(decision.decision_id)
    assert row is not None
    assert [f.key for f in record.case_from_json(row.case).coming] == ["k"]
    clock.advance(NOON + timedelta(hours=2))
    fire(desk, "me")
    with desk.ledger.read() as uow:
        sends = uow.sends.log(["c00"], NOON)["c00"]
    assert [(s.campaign, s.deliver, s.payload["content"]["body"]) for s in sends] == [
        ("cart", Deliver.SERVICE, "Your cart 7")
    ]
