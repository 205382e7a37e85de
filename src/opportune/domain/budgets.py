"""Budgets: how much of a channel may be used in a period, how much is, and what its scarce room is worth."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class BudgetUse:
    """`amount` of a budget in the period that starts at `starts_at`: messages, or minor units of currency."""

    budget: str
    starts_at: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPrice:
    """What one unit of a budget is worth, in minor units of currency, 0 or more: its shadow price.

    `shares`: the part of a day's use that falls into each UTC hour 0-23 when it is used best; they sum to 1, or are
    empty when nothing was used.
    """

    budget: str
    price_minor: float
    shares: tuple[float, ...]
    solved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStanding:
    """One budget as a decision finds it.

    `price_minor`: of one unit in the running period, which starts at `starts_at`, paced by what is spent so far;
    `later_minor`: in periods to come. `spent`: (start of the period, amount) of the running and later periods; 0 where
    missing.
    """

    budget: str
    starts_at: datetime
    price_minor: float
    later_minor: float
    spent: tuple[tuple[datetime, int], ...]
