"""Budgets and records of campaigns in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from opportune.adapters.memory_work import MemoryWork
from opportune.domain.budgets import BudgetPrice, BudgetUse
from opportune.domain.evidence import CampaignRecord


class MemoryBudgets:
    """`ports.Budgets`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def spent(self, budgets: Collection[str], since: datetime) -> dict[tuple[str, datetime], int]:
        """By (budget, start of the period)."""
        rows = self._work.rows("budget_periods")
        return {place: n for place, n in rows.items() if place[0] in set(budgets) and place[1] >= since and n}

    def take(self, uses: Sequence[BudgetUse], limits: Mapping[str, int]) -> bool:
        """All or none, within the limits."""
        wanted: dict[tuple[str, datetime], int] = {}
        for use in uses:
            wanted[use.budget, use.starts_at] = wanted.get((use.budget, use.starts_at), 0) + use.amount
        rows = self._work.change("budget_periods")
        if any(rows.get(place, 0) + n > limits[place[0]] for place, n in wanted.items() if n > 0):
            return False
        rows.update({place: max(0, rows.get(place, 0) + n) for place, n in wanted.items()})
        return True

    def add(self, uses: Sequence[BudgetUse]) -> None:
        """Whatever the limit."""
        rows = self._work.change("budget_periods")
        for use in uses:
            rows[use.budget, use.starts_at] = max(0, rows.get((use.budget, use.starts_at), 0) + use.amount)

    def prices(self, budgets: Collection[str]) -> dict[str, BudgetPrice]:
        """The newest price of each."""
        rows = self._work.rows("budget_prices")
        return {name: rows[name] for name in set(budgets) if name in rows}

    def set_prices(self, prices: Sequence[BudgetPrice]) -> None:
        """Insert or replace."""
        self._work.change("budget_prices").update((it.budget, it) for it in prices)


class MemoryRecords:
    """`ports.Records`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, campaigns: Collection[str]) -> dict[str, CampaignRecord]:
        """Known records by campaign."""
        rows = self._work.rows("campaign_records")
        return {name: rows[name] for name in set(campaigns) if name in rows}

    def add(self, records: Sequence[CampaignRecord]) -> None:
        """Add to the sums."""
        rows = self._work.change("campaign_records")
        for it in records:
            rows[it.campaign] = rows[it.campaign].plus(it) if it.campaign in rows else it
