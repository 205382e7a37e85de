"""Budgets in one decision: which ones a message uses, whether there is room at a slot, and what that room is worth.

The price of a budget is what one more unit of it would earn elsewhere: the shadow price of the newest solve
(prices.py), paced through the period: it rises when less is left than planned by now, and falls when more is, so that
the room is neither gone too early nor left over. The hard limit stands beside it and is exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from opportune.decision.caps import period
from opportune.domain.budgets import BudgetPrice, BudgetStanding
from opportune.domain.instants import DAY_US, HOUR_US, from_us, to_us
from opportune.playbook.worth import Budget

#: How strongly the price answers: with half of what should be left it is 2 ** GAIN times as high.
GAIN = 1.5
#: So that the last hundredths of a period do not make it jump.
_SLACK = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class BudgetRule:
    """One budget, compiled. `limit` in messages, or in minor units of currency when it `is_money`."""

    name: str
    spec: Budget
    limit: int
    is_money: bool
    zone: tzinfo

    def period(self, at_us: int) -> tuple[int, int]:
        """First instant of the period that holds `at_us`, and of the next one, in microseconds."""
        return period(at_us, self.spec.per, self.zone)


def compile_budget(name: str, budget: Budget) -> BudgetRule:
    """The rule of one declared budget."""
    return BudgetRule(name, budget, budget.limit, budget.at_most_minor is not None, ZoneInfo(budget.zone))


class Purse:
    """What is left of each budget at each instant, after what this decision has chosen already."""

    __slots__ = ("_chosen", "_standings")

    def __init__(
        self, standings: Iterable[BudgetStanding], chosen: Iterable[tuple[int, Iterable[tuple[BudgetRule, int]]]] = ()
    ) -> None:
        """`chosen`: (instant in us, what is used of which budget). A budget without a standing is unspent and free."""
        self._standings = {it.budget: it for it in standings}
        self._chosen: dict[tuple[str, int], int] = {}
        for at_us, uses in chosen:
            for rule, amount in uses:
                place = rule.name, rule.period(at_us)[0]
                self._chosen[place] = self._chosen.get(place, 0) + amount

    def spent(self, rule: BudgetRule, at_us: int) -> int:
        """What is used in the period that holds this instant."""
        start = rule.period(at_us)[0]
        standing = self._standings.get(rule.name)
        kept = next((n for at, n in standing.spent if to_us(at) == start), 0) if standing is not None else 0
        return kept + self._chosen.get((rule.name, start), 0)

    def has_room(self, rule: BudgetRule, amount: int, at_us: int) -> bool:
        """Whether so much more fits into the period that holds this instant."""
        return self.spent(rule, at_us) + amount <= rule.limit

    def price_minor(self, uses: Iterable[tuple[BudgetRule, int]], at_us: int) -> float:
        """What using so much of these budgets at this instant is worth elsewhere, in minor units of currency."""
        price = 0.0
        for rule, amount in uses:
            standing = self._standings.get(rule.name)
            if standing is not None and amount:
                runs = rule.period(at_us)[0] <= to_us(standing.starts_at)
                price += amount * (standing.price_minor if runs else standing.later_minor)
        return price


def standing_of(
    rule: BudgetRule, now: datetime, price: BudgetPrice | None, spent: Sequence[tuple[datetime, int]]
) -> BudgetStanding:
    """The standing of a budget at `now`, its price paced. `price` null: nothing solved yet, it is free."""
    start, end = rule.period(to_us(now))
    base = price.price_minor if price is not None else 0.0
    shares = price.shares if price is not None else ()
    used = next((n for at, n in spent if to_us(at) == start), 0)
    return BudgetStanding(
        budget=rule.name,
        starts_at=from_us(start),
        price_minor=paced(base, used, rule.limit, elapsed_share(start, end, to_us(now), shares)),
        later_minor=base,
        spent=tuple(sorted(spent)),
    )


def paced(price_minor: float, spent: int, limit: int, elapsed: float) -> float:
    """The price when `spent` of `limit` is used after this share of the period's plan: on plan it is the price itself,
    else times (what should be left / what is left) ** GAIN."""
    if price_minor <= 0 or limit <= 0:
        return max(0.0, price_minor)
    left = max(0.0, 1.0 - spent / limit)
    return price_minor * float(((1.0 - elapsed + _SLACK) / (left + _SLACK)) ** GAIN)


def elapsed_share(start: int, end: int, now: int, shares: Sequence[float]) -> float:
    """The part of a period's use that is planned up to `now`, all instants in microseconds; 0 to 1.

    `shares`: of each UTC hour of the day; empty: evenly over time. Every day of a longer period is planned alike.
    """
    if now <= start or now >= end:
        return 0.0 if now <= start else 1.0
    if not shares:
        return (now - start) / (end - start)
    whole_days, rest = divmod(now - start, DAY_US)
    passed, at, until = 0.0, start, start + rest
    while at < until:
        following = min(at - at % HOUR_US + HOUR_US, until)
        passed += shares[at % DAY_US // HOUR_US] * (following - at) / HOUR_US
        at = following
    return min(1.0, (whole_days + passed) * DAY_US / (end - start))
