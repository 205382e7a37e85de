"""Budgets through the flows: spent with the reservation, given back with the release, priced from the log."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.desks import NOON, FakeFeatureStore, desk_of, playbook_of
from tests.unit.journeys.on_the_way import on_the_way, taken

import opportune
from opportune.adapters.system_clock import FixedClock
from opportune.decision import record
from opportune.decision.pipeline import decide as choose
from opportune.domain.budgets import BudgetUse
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Decision, Reason
from opportune.domain.messages import Deliver, SendState
from opportune.flows.consent import put
from opportune.flows.decide import decide
from opportune.flows.deliver import ask_again, report_status
from opportune.flows.desk import Desk
from opportune.flows.price import price
from opportune.ports import Ledger

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
TEXT = """
topics: {offers: {}, account: {purpose: transactional}}
consent: {default: {"*": in}}
goals: {order: {event: Order Completed, value_minor: 1000}}
triggers: {asked: {kind: request}, bought: {kind: request}}
budgets:
  inapp_a_day: {channel: inapp, per: day, at_most: %d}
campaigns:
  offer:
    trigger: asked
    topic: offers
    channels: [inapp]
    goal: order
    p_goal: 0.1
    expires_after: 2d
    content: {inapp: {body: Hello}}
"""


def desk_with(folder: Path, at_most: int, more: str = "", ledger: Ledger | None = None) -> Desk:
    return desk_of(playbook_of(folder, TEXT % at_most + more), ledger)


def asked(desk: Desk, customers: Sequence[str], **how: object) -> list[Decision]:
    asks = [replace(Ask(customer_id=c), **how) for c in customers]  # type: ignore[arg-type]
    return [d for d in decide(asks, desk) if isinstance(d, Decision)]


def spent(desk: Desk) -> dict[datetime, int]:
    with desk.ledger.read() as uow:
        return {at: n for (_, at), n in uow.budgets.spent(["inapp_a_day"], MIDNIGHT).items()}


def test_a_budget_is_spent_in_the_order_of_asking(tmp_path: Path) -> None:
    """Two of three in one batch; the third is told the budget and the next day; dry runs spend nothing."""
    desk = desk_with(tmp_path, 2)
    assert asked(desk, ["c0"], dry_run=True)[0].messages
    assert [len(d.messages) for d in asked(desk, ["c1", "c2", "c3"])] == [1, 1, 0]
    late = asked(desk, ["c4"])[0].removed[0]
    assert (late.reason, late.rule, late.would_pass_at) == (Reason.BUDGET, "inapp_a_day", MIDNIGHT + DAY)
    assert spent(desk) == {MIDNIGHT: 2}


def test_what_does_not_go_is_given_back_and_what_went_after_all_is_spent(tmp_path: Path) -> None:
    """`not_sent` makes room for the next; a late `sent` counts though there is none; twice is as once."""
    desk = desk_with(tmp_path, 1)
    first = asked(desk, ["c1"])[0].messages[0].message_id
    assert not asked(desk, ["c2"])[0].messages
    for _ in range(2):
        report_status(first, "not_sent", None, None, desk.ledger, desk.clock)
    assert spent(desk) == {}
    assert asked(desk, ["c2"])[0].messages
    for _ in range(2):
        report_status(first, "sent", None, None, desk.ledger, desk.clock)
    assert spent(desk) == {MIDNIGHT: 2}


def test_what_a_customer_withdraws_is_given_back(tmp_path: Path) -> None:
    """Opting out releases what is booked, and somebody else hears instead."""
    desk = desk_with(tmp_path, 1, "    cost_minor: 1\n")
    assert asked(desk, ["c1"], deliver=Deliver.SERVICE)[0].messages
    put(
        customer_id="c1", channel="inapp", topic="*", state="out", source="test", at=None,
        ledger=desk.ledger, clock=desk.clock,
    )  # fmt: skip
    assert spent(desk) == {}
    assert asked(desk, ["c2"])[0].messages


JOURNEY = "budgets: {mails: {channel: email, per: month, at_most: 1}}"


def test_a_step_of_a_journey_spends_and_its_end_gives_back() -> None:
    """What is booked for the morning is spent; the goal ends the journey at night, and nothing is spent."""
    quiet = "quiet_hours: {start: '11:00', end: '10:00'}"
    with on_the_way("- message: nudge\n- wait: 2d", "goal: order", f"{JOURNEY}\n{quiet}") as o:

        def mails() -> list[int]:
            with o.desk.ledger.read() as uow:
                return list(uow.budgets.spent(["mails"], MIDNIGHT - 90 * DAY).values())

        o.track("ada", "Signed Up")
        assert mails() == [1]
        o.track("ada", "Order Completed", order_id="o1")
        assert taken(o)[-1][1] == "goal"
        assert mails() == []
        assert o.messages == []


def test_nights_are_priced_the_same_however_time_passes(tmp_path: Path) -> None:
    """In one jump, or by the hour: prices are made at midnight, from the day before."""
    found = []
    for hours in (72, 5):
        with opportune.sandbox(playbook=TEXT % 1) as o:
            for _ in range(3):
                for n in range(5):
                    o.decide(f"c{n}")
                end = o.now + timedelta(hours=24)
                while o.now < end:
                    o.advance(min(end, o.now + timedelta(hours=hours)))
            with o.desk.ledger.read() as uow:
                found.append(uow.budgets.prices(["inapp_a_day"])["inapp_a_day"])
    assert found[0] == found[1]
    assert found[0].solved_at == datetime(2026, 1, 8, tzinfo=UTC)


def test_withheld_messages_spend_nothing(tmp_path: Path) -> None:
    """A holdout is decided as if, and costs nothing."""
    desk = desk_with(tmp_path, 1, "    holdout: 0.99\n")
    decisions = asked(desk, [f"c{n}" for n in range(20)])
    n_real = sum(not m.is_virtual for d in decisions for m in d.messages)
    assert sum(len(d.messages) for d in decisions) > 2
    assert spent(desk) == ({MIDNIGHT: n_real} if n_real else {})


def test_a_message_placed_anew_takes_its_budget_along(tmp_path: Path) -> None:
    """To the next day while there is room; one too many is released and says why; the room of today is free again."""
    desk = desk_with(tmp_path, 2)
    with desk.ledger.begin() as uow:
        uow.customers.put([Customer(customer_id=c, traits={"timezone": "UTC"}) for c in ("c1", "c2")])
    sent = [d.messages[0].message_id for d in asked(desk, ["c1", "c2"], deliver=Deliver.SERVICE)]
    with desk.ledger.begin() as uow:
        assert uow.budgets.take([BudgetUse("inapp_a_day", MIDNIGHT + DAY, 1)], {"inapp_a_day": 2})
    closed = playbook_of(tmp_path / "closed", TEXT % 2 + "quiet_hours: {start: '12:00', end: '11:00'}\n")
    with desk.ledger.begin(["c1", "c2"]) as uow:
        go, released, moved = ask_again(sent, NOON + timedelta(minutes=30), closed, uow)
        states = {it: send.state for it, send in uow.sends.get(sent).items()}
    assert go == []
    assert list(moved.values()) == [MIDNIGHT + DAY + timedelta(hours=11)]
    assert list(released.values()) == [Reason.BUDGET]
    assert sorted(states.values()) == [SendState.RELEASED, SendState.RESERVED]
    assert spent(desk) == {MIDNIGHT + DAY: 2}


def test_the_limit_holds_when_eight_decide_at_once(open_ledger: Callable[[], Ledger], tmp_path: Path) -> None:
    """48 customers, room for 20, batches of three from eight threads: exactly 20 hear it, nobody fails."""
    playbook_of(tmp_path, TEXT % 20)

    def some(n: int) -> list[Decision]:
        desk = desk_with(tmp_path / str(n), 20, ledger=open_ledger())
        desk = replace(desk, features=FakeFeatureStore(), new_id=iter_ids(n))
        return [d for turn in range(2) for d in asked(desk, [f"c{n}-{turn}-{k}" for k in range(3)])]

    with ThreadPoolExecutor(8) as pool:
        decisions = [d for found in pool.map(some, range(8)) for d in found]
    assert len(decisions) == 48
    assert sum(len(d.messages) for d in decisions) == 20
    with open_ledger().read() as uow:
        assert uow.budgets.spent(["inapp_a_day"], MIDNIGHT) == {("inapp_a_day", MIDNIGHT): 20}


def iter_ids(n: int) -> Callable[[], str]:
    counter = iter(range(10_000))
    return lambda: f"d-{n}-{next(counter)}"


def test_the_day_is_solved_for_prices_and_they_become_part_of_the_case(tmp_path: Path) -> None:
    """Ten could have heard, three may: the price is between the worth of the third and the fourth; once a day."""
    more = "    when: context.worth > 0\nlevers:\n" + "".join(
        f"  l{k}: {{campaign: offer, when: context.worth == {k}, times: {k}}}\n" for k in range(2, 11)
    )
    desk = desk_with(tmp_path, 100, more)
    clock = FixedClock(NOON)
    assert price(desk.ledger, desk.playbook, clock, "me") == 0  # nothing was decided yet
    for k in range(1, 11):
        assert asked(desk, [f"c{k}"], context={"worth": k})[0].messages[0].value_minor == 100 * k
    tight = desk_with(tmp_path / "tight", 72, more).playbook  # 3 in an hour
    clock.advance(NOON + timedelta(hours=1))
    assert price(desk.ledger, tight, clock, "me") == 1
    assert price(desk.ledger, tight, clock, "me") == 0  # not again on the same day
    with desk.ledger.read() as uow:
        found = uow.budgets.prices(["inapp_a_day"])["inapp_a_day"]
    assert 700 <= found.price_minor <= 800
    assert found.shares == ()  # an hour says nothing about the day
    later = replace(desk_of(tight, desk.ledger, clock=clock), new_id=iter_ids(99))
    dear = asked(later, ["c20"], context={"worth": 1})[0]
    assert (dear.removed[0].reason, dear.removed[0].rule) == (Reason.BUDGET, "inapp_a_day")
    with desk.ledger.read() as uow:
        row = uow.decisions.get(dear.decision_id)
    assert row is not None
    case = record.case_from_json(row.case)
    assert case.budgets[0].later_minor == found.price_minor
    assert choose(case, tight) == dear


def test_what_is_not_declared_is_not_read(tmp_path: Path) -> None:
    """A playbook without budgets, fatigue and holding asks the ledger for none of them."""
    plain = playbook_of(
        tmp_path, TEXT.replace("budgets:\n  inapp_a_day: {channel: inapp, per: day, at_most: %d}\n", "")
    )
    desk = desk_of(plain)
    asked(desk, ["c1"])
    with desk.ledger.read() as uow:
        row = uow.decisions.newest("c1", 1)[0]
    case = record.case_from_json(row.case)
    assert (case.budgets, case.records, case.coming) == ((), (), ())
    assert price(desk.ledger, plain, desk.clock, "me") == 0
