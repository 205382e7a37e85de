"""Shadow prices: what one more unit of each budget would earn, from a linear programme over what could have been said.

Each offer is one decision: some candidates, of which at most `most` go, one per campaign. The programme chooses the
shares that earn the most within the budgets; its dual values are the prices. Solved by HiGHS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One candidate: what it is worth in minor units, and how much of which budget it takes."""

    campaign: str
    value_minor: float
    uses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Offer:
    """One decision's candidates. `hour`: UTC hour 0-23 in which it was made."""

    items: tuple[Item, ...]
    most: int
    hour: int


@dataclass(frozen=True, slots=True)
class Solved:
    """`prices`: minor units per unit of each budget, 0 or more. `shares`: of each budget's best use by UTC hour, sums
    to 1, empty when it is not used. `value_minor`: what the best use earns in all."""

    prices: Mapping[str, float]
    shares: Mapping[str, tuple[float, ...]]
    value_minor: float


def solve(offers: Sequence[Offer], room: Mapping[str, float]) -> Solved:
    """The prices at which these offers use this much room of each budget best. Raises RuntimeError when HiGHS fails."""
    names = sorted(room)
    columns = [(o, item) for o in offers for item in o.items if item.value_minor > 0]
    rows, limits = _rows(offers, names, room)
    entries = [(row, column, amount) for row, parts in enumerate(rows) for column, amount in parts]
    if not entries:
        every = sum(item.value_minor for _, item in columns)
        return Solved(dict.fromkeys(names, 0.0), dict.fromkeys(names, ()), every)
    from scipy.optimize import linprog  # late: only whoever solves pays for it
    from scipy.sparse import coo_matrix

    at, of, amounts = zip(*entries, strict=True)
    found = linprog(
        c=[-item.value_minor for _, item in columns],
        A_ub=coo_matrix((amounts, (at, of)), shape=(len(rows), len(columns))).tocsr(),
        b_ub=limits,
        bounds=(0.0, 1.0),
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"the prices of budgets could not be solved: {found.message}")
    duals = found.ineqlin.marginals[: len(names)]
    used = {name: [0.0] * 24 for name in names}
    for share, (offer, item) in zip(found.x, columns, strict=True):
        for name, amount in item.uses.items():
            if name in used:
                used[name][offer.hour] += amount * float(share)
    return Solved(
        prices={name: max(0.0, -float(dual)) for name, dual in zip(names, duals, strict=True)},
        shares={name: _shares(hours) for name, hours in used.items()},
        value_minor=-float(found.fun),
    )


def _rows(
    offers: Sequence[Offer], names: Sequence[str], room: Mapping[str, float]
) -> tuple[list[list[tuple[int, float]]], list[float]]:
    """Rows of (column, factor) with their limits: one per budget first, then each offer's own where they can bind."""
    budgets: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    own: list[list[tuple[int, float]]] = []
    limits: list[float] = [room[name] for name in names]
    column = 0
    for offer in offers:
        mine: list[tuple[int, float]] = []
        campaigns: dict[str, list[tuple[int, float]]] = {}
        for item in offer.items:
            if item.value_minor <= 0:
                continue
            mine.append((column, 1.0))
            campaigns.setdefault(item.campaign, []).append((column, 1.0))
            for name, amount in item.uses.items():
                if name in budgets:
                    budgets[name].append((column, float(amount)))
            column += 1
        if len(mine) > offer.most:
            own.append(mine)
            limits.append(float(offer.most))
        for channels in campaigns.values():
            if len(channels) > 1 and offer.most > 1:
                own.append(channels)
                limits.append(1.0)
    return [*budgets.values(), *own], limits


def _shares(hours: Sequence[float]) -> tuple[float, ...]:
    total = sum(hours)
    return tuple(used / total for used in hours) if total > 0 else ()
