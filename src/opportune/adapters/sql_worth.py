"""Budgets and records of campaigns in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, text

from opportune.adapters import sql_worth_tables as tables
from opportune.adapters.sql_rows import from_json, to_json
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.budgets import BudgetPrice, BudgetUse
from opportune.domain.evidence import CampaignRecord
from opportune.domain.instants import from_us, to_us

_periods, _prices, _records = tables.budget_periods.c, tables.budget_prices.c, tables.campaign_records.c
_SPENT = select(_periods.budget, _periods.starts_at, _periods.spent).where(
    among(_periods.budget, "names"), _periods.starts_at >= bindparam("since"), _periods.spent > 0
)
# One statement decides and locks: a row changed by another transaction is looked at again before it is updated.
_TAKE = text(
    "UPDATE budget_periods SET spent = spent + :n WHERE budget = :budget AND starts_at = :start AND spent + :n <= :most"
)
_PERIOD = ("budget", "starts_at", "spent")
_ADD = text(
    "UPDATE budget_periods SET spent = CASE WHEN spent + :n > 0 THEN spent + :n ELSE 0 END"
    " WHERE budget = :budget AND starts_at = :start"
)
_PRICE = ("budget", "price_minor", "shares", "solved_at")
_GET_PRICES = select(*(_prices[name] for name in _PRICE)).where(among(_prices.budget, "names"))
_SET_PRICE = "ON CONFLICT (budget) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _PRICE[1:])
_RECORD = ("campaign", "n_sent", "n_reached", "n_held", "n_held_reached", "n_lost")
_GET_RECORDS = select(*(_records[name] for name in _RECORD)).where(among(_records.campaign, "names"))
_ADD_RECORD = "ON CONFLICT (campaign) DO UPDATE SET " + ", ".join(
    f"{name} = campaign_records.{name} + excluded.{name}" for name in _RECORD[1:]
)


class _NoRoom(Exception):
    """A budget cannot hold it."""


class SqlBudgets:
    """`ports.Budgets`. Rows are touched in the order of (budget, period), so that spenders never wait in a circle."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def spent(self, budgets: Collection[str], since: datetime) -> dict[tuple[str, datetime], int]:
        """By (budget, start of the period)."""
        rows = self._work.fetch(_SPENT, names=budgets, since=to_us(since)) if budgets else []
        return {(name, from_us(us)): n for name, us, n in rows}

    def take(self, uses: Sequence[BudgetUse], limits: Mapping[str, int]) -> bool:
        """All or none, within the limits."""
        wanted = {place: n for place, n in _summed(uses).items() if n}
        if not wanted:
            return True
        try:
            with self._work.savepoint():
                for (budget, start), n in sorted(wanted.items()):
                    if n > 0:
                        self._take(budget, start, n, limits[budget])
                    else:
                        self._add(budget, start, n)
        except _NoRoom:
            return False
        return True

    def _take(self, budget: str, start: int, n: int, most: int) -> None:
        asked = {"budget": budget, "start": start, "n": n, "most": most}
        if self._work.run(_TAKE, **asked):
            return
        self._work.insert(tables.budget_periods, _PERIOD, [(budget, start, 0)], "ON CONFLICT DO NOTHING")
        if not self._work.run(_TAKE, **asked):
            raise _NoRoom

    def add(self, uses: Sequence[BudgetUse]) -> None:
        """Whatever the limit."""
        for (budget, start), n in sorted(_summed(uses).items()):
            self._add(budget, start, n)

    def _add(self, budget: str, start: int, n: int) -> None:
        if n and not self._work.run(_ADD, budget=budget, start=start, n=n):
            self._work.insert(tables.budget_periods, _PERIOD, [(budget, start, 0)], "ON CONFLICT DO NOTHING")
            self._work.run(_ADD, budget=budget, start=start, n=n)

    def prices(self, budgets: Collection[str]) -> dict[str, BudgetPrice]:
        """The newest price of each."""
        rows = self._work.fetch(_GET_PRICES, names=budgets) if budgets else []
        return {
            name: BudgetPrice(
                budget=name, price_minor=price, shares=tuple(from_json(shares)), solved_at=from_us(solved_at)
            )
            for name, price, shares, solved_at in rows
        }

    def set_prices(self, prices: Sequence[BudgetPrice]) -> None:
        """Insert or replace."""
        rows = {it.budget: (it.budget, it.price_minor, to_json(it.shares), to_us(it.solved_at)) for it in prices}
        self._work.insert(tables.budget_prices, _PRICE, [rows[name] for name in sorted(rows)], _SET_PRICE)


class SqlRecords:
    """`ports.Records`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, campaigns: Collection[str]) -> dict[str, CampaignRecord]:
        """Known records by campaign."""
        rows = self._work.fetch(_GET_RECORDS, names=campaigns) if campaigns else []
        return {row[0]: CampaignRecord(**dict(zip(_RECORD, row, strict=True))) for row in rows}

    def add(self, records: Sequence[CampaignRecord]) -> None:
        """Add to the sums."""
        sums: dict[str, CampaignRecord] = {}
        for it in records:
            sums[it.campaign] = sums[it.campaign].plus(it) if it.campaign in sums else it
        rows = [tuple(getattr(sums[campaign], name) for name in _RECORD) for campaign in sorted(sums)]
        self._work.insert(tables.campaign_records, _RECORD, rows, _ADD_RECORD)


def _summed(uses: Sequence[BudgetUse]) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for use in uses:
        place = use.budget, to_us(use.starts_at)
        sums[place] = sums.get(place, 0) + use.amount
    return sums
