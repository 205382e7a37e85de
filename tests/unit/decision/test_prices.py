"""Shadow prices are what one more unit would earn; pacing keeps to the plan; offers are what could have been said."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from benchmarks.arbitration import LOOSE, compare
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, firing, playbook

from opportune.decision.budgets import Purse, compile_budget, elapsed_share, paced, standing_of
from opportune.decision.offers import offer_of
from opportune.decision.prices import Item, Offer, solve
from opportune.domain.budgets import BudgetPrice, BudgetStanding
from opportune.domain.decisions import Ask
from opportune.domain.instants import DAY_US, HOUR_US, to_us
from opportune.playbook.worth import Budget

DAY = timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0)


def offers(*values: float, hour: int = 9, budget: str = "email") -> list[Offer]:
    return [Offer((Item("a", value, {budget: 1}),), 1, hour) for value in values]


def test_the_price_is_what_the_next_message_would_earn() -> None:
    """Three of five fit: the best of those left out earns 20, so a unit more is worth between 20 and 30."""
    solved = solve(offers(50, 40, 30, 20, 10), {"email": 3})
    assert 20 <= solved.prices["email"] <= 30
    assert solved.value_minor == pytest.approx(120)
    assert solved.shares["email"][9] == pytest.approx(1)


def test_room_for_all_is_free() -> None:
    """A budget nobody exhausts, or uses at all, has no price."""
    solved = solve(offers(50, 40), {"email": 3, "sms": 5})
    assert solved.prices == {"email": 0.0, "sms": 0.0}
    assert solved.shares["sms"] == ()
    assert solve([], {"email": 1}).value_minor == 0
    assert solve(offers(5, -1), {}).value_minor == 5


def test_a_campaign_goes_once_and_a_decision_holds_so_many() -> None:
    """Two channels of one campaign are one message; of three campaigns two may go."""
    both = Offer((Item("a", 50, {"email": 1}), Item("a", 45, {"push": 1})), 2, 0)
    assert solve([both], {"email": 5, "push": 5}).value_minor == pytest.approx(50)
    three = Offer((Item("a", 50, {}), Item("b", 40, {}), Item("c", 30, {"email": 1})), 2, 0)
    assert solve([three], {"email": 5}).value_minor == pytest.approx(90)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 999), min_size=2, max_size=40, unique=True), st.integers(1, 20), st.integers(1, 3))
def test_taking_what_is_worth_more_than_its_price_is_the_best_there_is(values: list[int], room: int, cost: int) -> None:
    """Weak duality by hand: the best equals price x room plus what each offer gains over the price."""
    found = [Offer((Item("a", float(v), {"email": cost}),), 1, 0) for v in values]
    solved = solve(found, {"email": room * cost})
    price = solved.prices["email"]
    assert solved.value_minor == pytest.approx(price * room * cost + sum(max(0.0, v - price * cost) for v in values))
    assert solved.value_minor == pytest.approx(sum(sorted(values)[::-1][:room]))


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 1))
def test_the_paced_price_is_the_price_on_plan_above_it_ahead_and_below_it_behind(
    spent: int, limit: int, elapsed: float
) -> None:
    """More left than planned makes it cheap, less makes it dear; free stays free."""
    price = paced(100.0, spent, limit, elapsed)
    assert (price > 100) == (spent / limit > elapsed) or price == pytest.approx(100)
    assert paced(0.0, spent, limit, elapsed) == 0
    assert price <= paced(100.0, spent + 1, limit, elapsed) or spent >= limit


def test_a_plan_follows_the_hours_of_the_day() -> None:
    """Half the use at noon, half at 18: nothing by 12, a quarter at 12:30, all by 19; a week is seven such days."""
    shares = [0.0] * 24
    shares[12] = shares[18] = 0.5
    at = {hour: elapsed_share(0, DAY_US, int(hour * HOUR_US), shares) for hour in (0, 12, 12.5, 15, 19, 24)}
    assert at == {0: 0, 12: 0, 12.5: 0.25, 15: 0.5, 19: 1, 24: 1}
    assert elapsed_share(0, 7 * DAY_US, 3 * DAY_US + 13 * HOUR_US, shares) == pytest.approx(3.5 / 7)
    assert elapsed_share(0, DAY_US, 6 * HOUR_US, ()) == 0.25


def test_a_standing_knows_the_running_period_and_the_price_of_later_ones() -> None:
    """Days begin at midnight of the budget's own zone; what is spent of tomorrow does not make today dearer."""
    rule = compile_budget("b", Budget(per="day", at_most=10, channel="email", zone="America/New_York"))
    price = BudgetPrice(budget="b", price_minor=100.0, shares=(), solved_at=NOW - DAY)
    start = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)
    standing = standing_of(rule, NOW, price, [(start, 5), (start + DAY, 9)])
    assert standing.starts_at == start
    assert standing.price_minor > 100  # half is spent 7 hours into the day
    assert standing.later_minor == 100
    purse = Purse([standing], [(to_us(NOW), [(rule, 2)])])
    assert purse.spent(rule, to_us(NOW)) == 7
    assert purse.has_room(rule, 3, to_us(NOW))
    assert not purse.has_room(rule, 4, to_us(NOW))
    assert purse.spent(rule, to_us(NOW + DAY)) == 9
    assert purse.price_minor([(rule, 2)], to_us(NOW + DAY)) == 200
    assert Purse([]).price_minor([(rule, 1)], to_us(NOW)) == 0


def test_an_offer_is_what_could_have_been_said_budgets_apart() -> None:
    """Each candidate with its value and uses; a transactional message takes a rank and pays nothing."""
    book = playbook("budgets: {emails: {channel: email, per: day, at_most: 5}}\n")
    spent = BudgetStanding(
        budget="emails", starts_at=MIDNIGHT, price_minor=999, later_minor=999, spent=((MIDNIGHT, 5),)
    )
    offer = offer_of(case(book, Ask(customer_id="c1", max_messages=2), budgets=(spent,)), book)
    assert offer == Offer(
        (Item("big", 900, {"emails": 1}), Item("small", 250, {"emails": 1}), Item("small", 250, {})), 2, 12
    )
    assert offer_of(case(book, firing("reset")), book) == Offer((), 0, 12)


def test_deciding_loads_no_solver() -> None:
    """Only whoever solves for prices pays for scipy."""
    code = "import sys, opportune.decision.pipeline, opportune.flows.decide; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_ranking_under_budgets_earns_nearly_the_best_there_is() -> None:
    """600 customers, two days in order of arrival: close to a programme that knows both days, no promise broken."""
    paced_prices, greedy = compare(600, seed=3, week=LOOSE, policies=("paced prices", "greedy"))
    assert paced_prices.n_violations == greedy.n_violations == 0
    assert paced_prices.share >= 0.95
    assert greedy.share < 0.7
