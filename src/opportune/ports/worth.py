"""The part of the ledger that ranking stands on: budgets with their prices, and the record of each campaign."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from opportune.domain.budgets import BudgetPrice, BudgetUse
from opportune.domain.evidence import CampaignRecord


class Budgets(Protocol):
    """How much of each budget is spent per period, exactly, whoever spends it. Locked after customers."""

    def spent(self, budgets: Collection[str], since: datetime) -> dict[tuple[str, datetime], int]:
        """By (budget, start of the period), of periods that start at `since` or later; unspent ones are left out."""
        ...

    def take(self, uses: Sequence[BudgetUse], limits: Mapping[str, int]) -> bool:
        """Spend all of these, or none: false when a period of one would hold more than the budget's limit. An amount
        below 0 gives back, as in `add`.

        What was changed is locked until the transaction ends; after false nothing is. Raises KeyError when something
        is spent of a budget without a limit.
        """
        ...

    def add(self, uses: Sequence[BudgetUse]) -> None:
        """Spend these whatever the limit, or give back where the amount is below 0; never below nothing spent."""
        ...

    def prices(self, budgets: Collection[str]) -> dict[str, BudgetPrice]: ...
    def set_prices(self, prices: Sequence[BudgetPrice]) -> None:
        """Keep the newest price of each of these budgets."""
        ...


class Records(Protocol):
    """What each campaign's own log says, in sums."""

    def get(self, campaigns: Collection[str]) -> dict[str, CampaignRecord]: ...
    def add(self, records: Sequence[CampaignRecord]) -> None:
        """Add to the sums."""
        ...
