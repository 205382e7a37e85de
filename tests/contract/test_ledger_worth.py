"""Ledger contract: budgets, exact under any concurrency, their prices, and the record of each campaign."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.ledger_samples import T0

from opportune.adapters.sql_ledger import SqlLedger
from opportune.domain.budgets import BudgetPrice, BudgetUse
from opportune.domain.evidence import CampaignRecord
from opportune.ports import Ledger

DAY = timedelta(days=1)
LIMITS = {"email": 10, "sms": 3}


def use(budget: str, amount: int, day: int = 0) -> BudgetUse:
    return BudgetUse(budget=budget, starts_at=T0 + day * DAY, amount=amount)


def test_a_budget_is_spent_up_to_its_limit_and_not_beyond(ledger: Ledger) -> None:
    """Per period, the same period twice in one call included; another day has its own room."""
    with ledger.begin() as work:
        assert work.budgets.take([use("email", 6), use("email", 4)], LIMITS)
        assert not work.budgets.take([use("email", 1)], LIMITS)
        assert work.budgets.take([use("email", 1, day=1), use("sms", 0)], LIMITS)
        assert work.budgets.spent(["email", "sms"], T0) == {("email", T0): 10, ("email", T0 + DAY): 1}
        assert work.budgets.spent(["email"], T0 + DAY) == {("email", T0 + DAY): 1}
        assert work.budgets.spent([], T0) == {}


def test_all_is_taken_or_nothing(ledger: Ledger) -> None:
    """Where one of several has no room the others are as they were, and the transaction goes on."""
    with ledger.begin() as work:
        assert not work.budgets.take([use("email", 5), use("sms", 4)], LIMITS)
        assert work.budgets.spent(["email", "sms"], T0) == {}
        work.cursors.put("a", "still writing")
    with ledger.read() as work:
        assert work.cursors.get("a") == "still writing"


def test_what_is_given_back_can_be_spent_again(ledger: Ledger) -> None:
    """Never below nothing spent; a late confirmation is spent whatever the limit; moving from a day to another is one
    step."""
    with ledger.begin() as work:
        assert work.budgets.take([use("sms", 3)], LIMITS)
        work.budgets.add([use("sms", -2)])
        assert work.budgets.take([use("sms", 2)], LIMITS)
        work.budgets.add([use("sms", 1), use("email", -5)])
        assert work.budgets.spent(LIMITS, T0) == {("sms", T0): 4}
        assert not work.budgets.take([use("sms", -1), use("email", 11, day=1)], LIMITS)
        assert work.budgets.take([use("sms", -3), use("sms", 3, day=1), use("email", -9)], LIMITS)
        assert work.budgets.spent(LIMITS, T0) == {("sms", T0): 1, ("sms", T0 + DAY): 3}


def test_the_newest_price_of_a_budget_is_kept(ledger: Ledger) -> None:
    """To the last bit; budgets without a price are left out."""
    first = BudgetPrice(budget="email", price_minor=0.1, shares=(0.25, 0.75), solved_at=T0)
    newer = BudgetPrice(budget="email", price_minor=1 / 3, shares=(), solved_at=T0 + DAY)
    with ledger.begin() as work:
        work.budgets.set_prices([first])
        assert work.budgets.prices(["email", "sms"]) == {"email": first}
        work.budgets.set_prices([newer])
        assert work.budgets.prices(["email"]) == {"email": newer}
        assert work.budgets.prices([]) == {}


def test_records_of_campaigns_add_up(ledger: Ledger) -> None:
    """Also within one call; unknown campaigns are left out."""
    one = CampaignRecord(campaign="winback", n_sent=2, n_reached=1, n_held=1, n_held_reached=1, n_lost=1)
    with ledger.begin() as work:
        work.records.add([one, one, CampaignRecord(campaign="other", n_sent=5)])
        work.records.add([one])
        found = work.records.get(["winback", "nobody"])
    assert found == {"winback": one.plus(one).plus(one)}


def test_eight_threads_never_overspend_and_waste_nothing(open_ledger: Callable[[], Ledger]) -> None:
    """Two budgets, taken together or alone: what was granted is what is spent, and the whole room is used."""
    limits = {"email": 60, "sms": 25}
    granted: list[BudgetUse] = []
    lock = threading.Lock()

    def spend(n: int) -> None:
        mine = open_ledger()
        for turn in range(12):
            wanted = [use("sms", 1), use("email", 1)] if (n + turn) % 2 else [use("email", 1)]
            with mine.begin([f"c{n}"]) as work:
                if work.budgets.take(wanted, limits):
                    with lock:
                        granted.extend(wanted)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(8)))
    with open_ledger().read() as work:
        spent = work.budgets.spent(limits, T0)
    assert spent == {("email", T0): 60, ("sms", T0): spent["sms", T0]}
    assert spent["sms", T0] <= 25
    assert {b: sum(it.amount for it in granted if it.budget == b) for b in limits} == {b: spent[b, T0] for b in limits}


_SPEND = """
import random, sys
from datetime import UTC, datetime
from opportune.adapters.sql_ledger import SqlLedger
from opportune.domain.budgets import BudgetUse
ledger, draw, day, granted = SqlLedger(sys.argv[1]), random.Random(sys.argv[2]), datetime(2026, 3, 1, tzinfo=UTC), 0
for turn in range(60):
    uses = [BudgetUse(b, day, draw.randint(1, 3)) for b in draw.sample(["email", "push", "sms"], draw.randint(1, 3))]
    with ledger.begin([f"c{draw.randrange(5)}"]) as work:
        if work.budgets.take(uses, {"email": 150, "push": 1000, "sms": 40}):
            granted += sum(it.amount for it in uses)
            if draw.random() < 0.1:
                work.budgets.add([BudgetUse(it.budget, day, -it.amount) for it in uses])
                granted -= sum(it.amount for it in uses)
print(granted)
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_eight_processes_never_overspend(database: str, request: pytest.FixtureRequest) -> None:
    """480 times one to three of three budgets, some given back: nobody fails, no limit is passed, sums agree."""
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "empty_postgres")
    run = [sys.executable, "-c", _SPEND, url]
    source = Path(__file__).parents[2] / "src"
    processes = [
        subprocess.Popen([*run, str(n)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(source)})
        for n in range(8)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    ledger = SqlLedger(url, migrate=False)
    with ledger.read() as work:
        spent = {name: n for (name, _), n in work.budgets.spent(["email", "push", "sms"], T0 - DAY).items()}
    ledger.close()
    assert sum(spent.values()) == sum(map(int, said))
    assert spent["email"] <= 150
    assert 20 < spent["sms"] <= 40
