"""What kept operations add up to: carts, letters, gaps, favourites, sessions. Pure; they come in ascending order."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.features.declare import SEPARATOR
from opportune.features.taps import SESSION_GAP
from opportune.features.windows import width_us

Op = list[Any]
_GAP_US = width_us(SESSION_GAP)
_MINUTE_US = 60_000_000
_NO_HOURS: tuple[float, ...] = (0.0,) * 24


def cart(ops: Iterable[Op]) -> tuple[int, int, str | None]:
    """Units, value in minor units, and ids of what is left in the cart.

    Per product: units added minus removed, at least 0, at the newest known price (the higher of two at one instant).
    """
    units: dict[str, int] = {}
    prices: dict[str, tuple[int, int]] = {}
    for us, product, n, is_removed, price in ops:
        units[product] = units.get(product, 0) + (-n if is_removed else n)
        if price >= 0 and (us, price) > prices.get(product, (-1, -1)):
            prices[product] = (us, price)
    left = {product: n for product, n in units.items() if n > 0}
    value = sum(n * prices[product][1] for product, n in left.items() if product in prices)
    return sum(left.values()), value, ", ".join(sorted(filter(None, left))) or None


def letters(ops: Sequence[Op]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Letters sent, and those of them that were opened, by UTC hour of the first sending."""
    if not ops:
        return _NO_HOURS, _NO_HOURS
    opened = {letter for _, letter, is_opened in ops if is_opened}
    sent, read = [0.0] * 24, [0.0] * 24
    seen: set[str] = set()
    for us, letter, is_opened in ops:  # ascending, so that the first sending is met first
        if not is_opened and letter not in seen:
            seen.add(letter)
            hour = us // HOUR_US % 24
            sent[hour] += 1
            read[hour] += letter in opened
    return tuple(sent), tuple(read)


def gaps(instants: Sequence[int]) -> tuple[float | None, float | None, float | None]:
    """Mean and median of the days between ascending instants, and their standard deviation over their mean."""
    between = [b - a for a, b in pairwise(instants)]
    if not between:
        return None, None, None
    n, total = len(between), instants[-1] - instants[0]
    variation = None
    if n > 1 and total > 0:  # whole numbers until the root, so that nothing is lost
        variation = math.sqrt(n * sum(gap * gap for gap in between) - total * total) / total
    return total / n / DAY_US, median(between) / DAY_US, variation


def met(ops: Iterable[Op], part: int) -> Mapping[str, int]:
    """Each text of a part -> how many operations hold it."""
    whole = Counter([op[part] for op in ops])
    del whole[""]
    for text in [text for text in whole if SEPARATOR in text]:
        n = whole.pop(text)
        for one in filter(None, text.split(SEPARATOR)):
            whole[one] += n
    return whole


def favourites(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Texts and how often each was met, the most first; of equals the first in order of text."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def holding(ops: Iterable[Op], part: int, text: str) -> list[int]:
    """Instants of the operations whose part holds a text."""
    return [op[0] for op in ops if op[part] and text in op[part].split(SEPARATOR)]


def session(ops: Sequence[Op], at_us: int, part: int) -> tuple[int, float, int]:
    """Of the session that goes on at an instant: visits, minutes from first to last, largest `part`. Zeros: none."""
    if not ops or at_us - ops[-1][0] > _GAP_US:
        return 0, 0.0, 0
    first = len(ops) - 1
    while first > 0 and ops[first][0] - ops[first - 1][0] <= _GAP_US:
        first -= 1
    mine = ops[first:]
    return len(mine), (mine[-1][0] - mine[0][0]) / _MINUTE_US, max(op[part] for op in mine)


def sessions_after(ops: Sequence[Op], edge: int) -> int:
    """Sessions whose first visit lies after an instant."""
    n, before = 0, None
    for op in ops:
        us = op[0]
        if us > edge and (before is None or us - before > _GAP_US):
            n += 1
        before = us
    return n
