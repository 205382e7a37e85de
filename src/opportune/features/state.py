"""Feature state of one customer: small enough to rewrite at every event, enough to finish every feature at any instant.

Hour tiles (sparse, per tap: count and integer sum), all-time sums, first and last instants, an hour histogram and the
cart operations since the last order. It is a function of the SET of events: any order and any batching give the same
bytes, because everything is a sum, a minimum or a maximum, and pruning looks only at the newest instant.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from opportune.domain.decisions import Value
from opportune.domain.events import Event
from opportune.domain.instants import DAY_US, HOUR_US, from_us, to_us
from opportune.features.catalog import (
    CART_MAX_OPS,
    CART_WINDOW,
    FEATURES,
    FORMAT,
    LETTER_MAX_OPS,
    LETTER_OPENED,
    LETTER_WINDOW,
    REMOVED,
    TAP_NAMES,
    TAPS,
    Stat,
    Tap,
    definition_hash,
)
from opportune.features.measures import Measures, extract
from opportune.features.windows import old_edge, tile_of, width_us

#: First field of packed bytes: layout number and definition.
TAG = f"{FORMAT}:{definition_hash()[7:19]}"

#: One cart operation: instant, product ("" unknown), units (negative: removed), price in minor units (-1 unknown).
CartOp = tuple[int, str, int, int]
#: One letter operation: instant, letter ("" unknown), 1 when it was opened then, 0 when it was sent.
LetterOp = tuple[int, str, int]
#: Hours since 1970 ascending, count per hour, sum per hour (empty when the tap carries no value).
Tiles = tuple[list[int], list[int], list[int]]

_CART_TAP = TAP_NAMES.index("cart")
_ORDERS_TAP = TAP_NAMES.index("orders")
_LETTERS_TAP = TAP_NAMES.index("letters")
_OPENED = frozenset(LETTER_OPENED)
_CART_WIDTH = width_us(CART_WINDOW)
_LETTER_WIDTH = width_us(LETTER_WINDOW)
_N, _SUM, _FIRST, _LAST = range(4)


class StateOutdated(ValueError):
    """Packed by another catalogue or layout, or no packed state at all: rebuild from the events."""


_TILED = (Stat.COUNT, Stat.SUM, Stat.DAYS)


def _widest(tap: str) -> int:
    """The longest window of a tap that needs tiles, microseconds; 0 when none does."""
    tiled = [f.window for f in FEATURES if f.tap == tap and f.window and f.stat in _TILED]
    return max((width_us(window) for window in tiled), default=0)


#: Per tap: (index, tap, longest window or 0, whether it fills the hour histogram).
_Heard = tuple[int, Tap, int, bool]
_HEARD: tuple[_Heard, ...] = tuple(
    (i, tap, _widest(tap.name), any(f.tap == tap.name and f.stat is Stat.HOURS for f in FEATURES))
    for i, tap in enumerate(TAPS)
)
_BY_EVENT: dict[str, tuple[_Heard, ...]] = {
    name: tuple(h for h in _HEARD if (name in h[1].events if h[1].events is not None else name not in h[1].but_not))
    for name in {n for tap in TAPS for n in (*(tap.events or ()), *tap.but_not)}
}
_BY_ANY_OTHER: tuple[_Heard, ...] = tuple(h for h in _HEARD if h[1].events is None)
_PRUNED: tuple[tuple[int, int], ...] = tuple((i, width) for i, _, width, _ in _HEARD if width)
_HISTOGRAMS: tuple[int, ...] = tuple(i for i, _, _, fills in _HEARD if fills)
#: How each feature is finished: (name, statistic, tap index, window in microseconds or 0).
_PLAN: tuple[tuple[str, Stat, int, int], ...] = tuple(
    (f.name, f.stat, TAP_NAMES.index(f.tap), width_us(f.window) if f.window else 0) for f in FEATURES
)
_THAN: dict[str, int] = {f.name: TAP_NAMES.index(f.than) for f in FEATURES if f.than}


class State:
    """What is kept of one customer's events. Treat as a value: `update` returns a new one."""

    __slots__ = ("cart", "hours", "letters", "newest_us", "tiles", "totals")

    def __init__(
        self,
        newest_us: int,
        tiles: list[Tiles],
        totals: list[list[int]],
        hours: dict[int, list[int]],
        cart: list[CartOp],
        letters: list[LetterOp],
    ) -> None:
        self.newest_us = newest_us  # -1: no event yet
        self.tiles = tiles  # by tap
        self.totals = totals  # by tap: count, sum, first instant, last instant (-1: none)
        self.hours = hours  # tap -> 24 counts by UTC hour of day
        self.cart = cart  # ascending
        self.letters = letters  # ascending


def empty() -> State:
    """The state of a customer without events."""
    n = len(TAPS)
    return State(-1, [([], [], []) for _ in range(n)], [[0, 0, -1, -1] for _ in range(n)], _no_hours(), [], [])


def _no_hours() -> dict[int, list[int]]:
    return {tap: [0] * 24 for tap in _HISTOGRAMS}


def pack(state: State) -> bytes:
    """Deterministic bytes: equal states, equal bytes."""
    return orjson.dumps(
        [TAG, state.newest_us, state.tiles, state.totals, list(state.hours.values()), state.cart, state.letters]
    )


def unpack(data: bytes) -> State:
    """The state of packed bytes. Raises StateOutdated when another catalogue packed them or they are damaged."""
    try:
        tag, newest_us, tiles, totals, hours, cart, letters = orjson.loads(data)
    except (ValueError, TypeError) as error:
        raise StateOutdated("these bytes are no packed feature state: rebuild it from the events") from error
    if tag != TAG:
        raise StateOutdated(f"feature state of definition {tag}, this is {TAG}: rebuild it from the events")
    return State(
        newest_us,
        tiles,
        totals,
        dict(zip(_HISTOGRAMS, hours, strict=True)),
        [(us, p, n, m) for us, p, n, m in cart],
        [(us, letter, opened) for us, letter, opened in letters],
    )


def rebuild(events: Iterable[Event]) -> State:
    """The state of these events, in whatever order they come. Every event once."""
    return update(empty(), events)


def update(state: State, events: Iterable[Event]) -> State:
    """The state with these events added. Pure. Every event once (the ledger sees to it)."""
    new = State(
        state.newest_us,
        [(hours[:], counts[:], sums[:]) for hours, counts, sums in state.tiles],
        [total[:] for total in state.totals],
        {tap: hours[:] for tap, hours in state.hours.items()},
        state.cart[:],
        state.letters[:],
    )
    for event in events:
        _hear(new, extract(event))
    _prune(new)
    return new


def _hear(state: State, measures: Measures) -> None:
    """Add one event to every tap that hears it."""
    us = measures.us
    if us > state.newest_us:
        state.newest_us = us
    tile = tile_of(us)
    for i, tap, width, fills_hours in _BY_EVENT.get(measures.name, _BY_ANY_OTHER):
        if tap.origins is not None and measures.origin not in tap.origins:
            continue
        if tap.where and any(getattr(measures, name) != wanted for name, wanted in tap.where):
            continue
        if i == _CART_TAP:
            state.cart.append(_cart_op(measures))
            continue
        if i == _LETTERS_TAP:
            if measures.letter is not None:
                state.letters.append((us, measures.letter, int(measures.name in _OPENED)))
            continue
        amount = (getattr(measures, tap.value) or 0) if tap.value else 0
        total = state.totals[i]
        total[_N] += 1
        total[_SUM] += amount
        if us < total[_FIRST] or total[_FIRST] < 0:
            total[_FIRST] = us
        if us > total[_LAST]:
            total[_LAST] = us
        if width:
            _add_to_tile(state.tiles[i], tile, amount, has_value=tap.value is not None)
        if fills_hours:
            state.hours[i][us // HOUR_US % 24] += 1


def _add_to_tile(tiles: Tiles, tile: int, amount: int, has_value: bool) -> None:
    hours, counts, sums = tiles
    at = len(hours) if not hours or tile > hours[-1] else bisect_left(hours, tile)
    if at < len(hours) and hours[at] == tile:
        counts[at] += 1
        if has_value:
            sums[at] += amount
    else:
        hours.insert(at, tile)
        counts.insert(at, 1)
        if has_value:
            sums.insert(at, amount)


def _cart_op(measures: Measures) -> CartOp:
    units = measures.quantity or 1
    price = measures.price_minor
    signed = -units if measures.name == REMOVED else units
    return measures.us, measures.product_id or "", signed, -1 if price is None else price


def _prune(state: State) -> None:
    """Forget what no window can reach any more from the newest event on."""
    for tap, width in _PRUNED:
        hours, counts, sums = state.tiles[tap]
        oldest = (state.newest_us - width) // HOUR_US
        if hours and hours[0] < oldest:
            keep = bisect_left(hours, oldest)
            del hours[:keep], counts[:keep], sums[:keep]
    if state.cart:
        edge = max(state.totals[_ORDERS_TAP][_LAST], old_edge(state.newest_us, _CART_WIDTH))
        # Operations of equal content are the same for us, so that this order needs no message id.
        state.cart = sorted(op for op in state.cart if op[0] > edge)[-CART_MAX_OPS:]
    if state.letters:
        edge = old_edge(state.newest_us, _LETTER_WIDTH)
        state.letters = sorted(op for op in state.letters if op[0] > edge)[-LETTER_MAX_OPS:]


def finalise(state: State, at: datetime) -> dict[str, Value]:
    """Every catalogue feature as of `at`, which is not before the newest event of the state. Never reads the clock.

    An `at` a moment before the newest event (two machines' clocks) counts that event and calls its age 0.
    """
    at_us = to_us(at)
    tiles, totals = state.tiles, state.totals
    items, value = _cart(state.cart, old_edge(at_us, _CART_WIDTH)) if state.cart else (0, 0)
    sent, opened = _letters(state.letters, old_edge(at_us, _LETTER_WIDTH)) if state.letters else (_NO_HOURS, _NO_HOURS)
    values: dict[str, Value] = {}
    for name, stat, tap, width in _PLAN:
        if stat is Stat.COUNT:
            if width:
                hours, counts, _ = tiles[tap]
                values[name] = sum(counts[bisect_left(hours, (at_us - width) // HOUR_US) :]) if hours else 0
            else:
                values[name] = totals[tap][_N]
        elif stat is Stat.DAYS:
            hours, _, _ = tiles[tap]
            start = bisect_left(hours, (at_us - width) // HOUR_US) if hours else 0
            values[name] = len({hour // 24 for hour in hours[start:]})
        elif stat is Stat.SUM:
            if width:
                hours, _, sums = tiles[tap]
                values[name] = sum(sums[bisect_left(hours, (at_us - width) // HOUR_US) :]) / 100
            else:
                values[name] = totals[tap][_SUM] / 100
        elif stat is Stat.LAST_AGE:
            values[name] = _age_days(totals[tap][_LAST], at_us)
        elif stat is Stat.FIRST_AGE:
            values[name] = _age_days(totals[tap][_FIRST], at_us)
        elif stat is Stat.MEAN_GAP:
            n, _, first, last = totals[tap]
            values[name] = (last - first) / (n - 1) / DAY_US if n > 1 else None
        elif stat is Stat.AFTER:
            last, other = totals[tap][_LAST], totals[_THAN[name]][_LAST]
            values[name] = (last - other) / DAY_US if last >= 0 and other >= 0 else None
        elif stat is Stat.CART_ITEMS:
            values[name] = items
        elif stat is Stat.CART_VALUE:
            values[name] = value / 100
        elif stat is Stat.LETTERS_SENT:
            values[name] = sent
        elif stat is Stat.LETTERS_OPENED:
            values[name] = opened
        else:
            values[name] = tuple(map(float, state.hours[tap]))
    return values


def finish_packed(data: bytes | None, at_us: int) -> dict[str, Any]:
    """For Feast's on-demand view: finished values of packed bytes at an instant, null as NaN, vectors as lists.

    `is_known` is false when there is no state of this catalogue; the values are then those of no history at all.
    `at_us`: microseconds since 1970 UTC.
    """
    try:
        state, is_known = (unpack(data), True) if data else (empty(), False)
    except StateOutdated:
        state, is_known = empty(), False
    finished: dict[str, Any] = {"is_known": is_known}
    for name, value in finalise(state, from_us(at_us)).items():
        finished[name] = math.nan if value is None else list(value) if isinstance(value, tuple) else value
    return finished


def _age_days(us: int, at_us: int) -> float | None:
    return None if us < 0 else max(at_us - us, 0) / DAY_US


_NO_HOURS: tuple[float, ...] = (0.0,) * 24


def _letters(ops: list[LetterOp], edge: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Letters sent after `edge`, and those of them that were opened, by UTC hour of the first sending."""
    opened = {letter for us, letter, is_opened in ops if is_opened and us > edge}
    sent, read = [0.0] * 24, [0.0] * 24
    seen: set[str] = set()
    for us, letter, is_opened in ops:  # ascending, so that the first sending is met first
        if us > edge and not is_opened and letter not in seen:
            seen.add(letter)
            hour = us // HOUR_US % 24
            sent[hour] += 1
            read[hour] += letter in opened
    return tuple(sent), tuple(read)


def _cart(ops: list[CartOp], edge: int) -> tuple[int, int]:
    """Units and value in minor units of what is left of the operations after `edge`, which are in ascending order.

    Per product: units added minus removed, at least 0, at the newest known price (the higher of two at one instant).
    """
    units: dict[str, int] = {}
    prices: dict[str, tuple[int, int]] = {}
    for us, product, signed, price in ops:
        if us > edge:
            units[product] = units.get(product, 0) + signed
            if price >= 0 and (us, price) > prices.get(product, (-1, -1)):
                prices[product] = (us, price)
    left = {product: n for product, n in units.items() if n > 0}
    return sum(left.values()), sum(n * prices[product][1] for product, n in left.items() if product in prices)
