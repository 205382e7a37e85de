"""Feature state of one customer: small enough to rewrite at every event, enough to finish every feature at any instant.

Hour tiles (sparse, per tap: count and integer sum), all-time sums with first and last instants, hour histograms, and
the newest single operations of taps that keep them. It is a function of the SET of events: any order and any batching
give the same bytes, because everything is a sum, a minimum, a maximum or the newest few of a sorted list, and pruning
looks only at the newest instants.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from opportune.domain.events import Event
from opportune.domain.instants import HOUR_US
from opportune.features.catalog import FEATURES, FORMAT, definition_hash
from opportune.features.declare import OF_TILES, OF_TOTALS, Keeps, Part, Stat, Tap
from opportune.features.measures import Measures, extract
from opportune.features.taps import TAPS
from opportune.features.windows import old_edge, tile_of, width_us

#: First field of packed bytes: layout number and definition.
TAG = f"{FORMAT}:{definition_hash()[7:19]}"

#: Hours since 1970 ascending, count per hour, sum per hour (empty when the tap carries no value).
Tiles = tuple[list[int], list[int], list[int]]
#: One kept operation: instant, then its parts.
Op = list[Any]

N, SUM, FIRST, LAST = range(4)


class StateOutdated(ValueError):
    """Packed by another catalogue or layout, or no packed state at all: rebuild from the events."""


def _widest(tap: str) -> int:
    """The longest window of a tap that needs tiles, microseconds; 0 when none does."""
    heard = [f for f in FEATURES if f.stat in OF_TILES and (f.tap == tap or (f.than == tap and f.stat is Stat.SHARE))]
    return max((width_us(window) for f in heard for window in (f.window, f.against) if window), default=0)


def _is_totalled(tap: str) -> bool:
    """Whether all-time sums of a tap are asked for."""
    asked = any(
        f.stat in OF_TOTALS or (f.stat in (Stat.COUNT, Stat.SUM) and f.window is None)
        for f in FEATURES
        if tap == f.tap or (tap == f.than and f.stat is Stat.AFTER)
    )
    return asked or any(other.keeps is not None and other.keeps.since_last == tap for other in TAPS)


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


#: Where each tap's tiles, totals, hour histogram and operations lie in a state; taps without are left out.
TILES_AT = _places(tap.name for tap in TAPS if _widest(tap.name))
TOTALS_AT = _places(tap.name for tap in TAPS if _is_totalled(tap.name))
HOURS_AT = _places(t.name for t in TAPS if any(f.tap == t.name and f.stat is Stat.HOURS for f in FEATURES))
OPS_AT = _places(tap.name for tap in TAPS if tap.keeps is not None)

_Builder = Callable[[Measures], Op]


def _builder(keeps: Keeps) -> _Builder:
    """Measures -> one operation."""

    def reader(part: Part) -> Callable[[Measures], Any]:
        marks, measure, null = dict(part.by_event), part.measure, part.null
        if measure is None:
            return lambda measures: marks.get(measures.name, null)

        def read(measures: Measures) -> Any:
            value = getattr(measures, measure)
            return null if value is None else int(value) if isinstance(value, bool) else value

        return read

    readers = [reader(part) for part in keeps.parts]
    return lambda measures: [measures.us, *(read(measures) for read in readers)]


#: Per tap: the tap, then its place among totals, tiles, histograms and operations (-1: none), and the builder.
_Heard = tuple[Tap, int, int, int, int, _Builder | None]
_HEARD: tuple[_Heard, ...] = tuple(
    (
        tap,
        TOTALS_AT.get(tap.name, -1),
        TILES_AT.get(tap.name, -1),
        HOURS_AT.get(tap.name, -1),
        OPS_AT.get(tap.name, -1),
        _builder(tap.keeps) if tap.keeps else None,
    )
    for tap in TAPS
)
_BY_EVENT: dict[str, tuple[_Heard, ...]] = {
    name: tuple(h for h in _HEARD if (name in h[0].events if h[0].events is not None else name not in h[0].but_not))
    for name in {n for tap in TAPS for n in (*(tap.events or ()), *tap.but_not)}
}
_BY_ANY_OTHER: tuple[_Heard, ...] = tuple(h for h in _HEARD if h[0].events is None)
_WIDTHS: tuple[tuple[int, int], ...] = tuple((at, _widest(name)) for name, at in TILES_AT.items())
#: Per keeping tap: place, most operations, window or 0, place of the totals after whose last instant they count or -1.
_KEPT: tuple[tuple[int, int, int, int], ...] = tuple(
    (
        OPS_AT[tap.name],
        tap.keeps.at_most,
        width_us(tap.keeps.window) if tap.keeps.window else 0,
        TOTALS_AT[tap.keeps.since_last] if tap.keeps.since_last else -1,
    )
    for tap in TAPS
    if tap.keeps
)


class State:
    """What is kept of one customer's events. Treat as a value: `update` returns a new one."""

    __slots__ = ("hours", "newest_us", "ops", "tiles", "totals")

    def __init__(
        self, newest_us: int, tiles: list[Tiles], totals: list[list[int]], hours: list[list[int]], ops: list[list[Op]]
    ) -> None:
        self.newest_us = newest_us  # -1: no event yet
        self.tiles = tiles  # by TILES_AT
        self.totals = totals  # by TOTALS_AT: count, sum, first instant, last instant (-1: none)
        self.hours = hours  # by HOURS_AT: 24 counts by UTC hour of day
        self.ops = ops  # by OPS_AT: ascending


def empty() -> State:
    """The state of a customer without events."""
    return State(
        -1,
        [([], [], []) for _ in TILES_AT],
        [[0, 0, -1, -1] for _ in TOTALS_AT],
        [[0] * 24 for _ in HOURS_AT],
        [[] for _ in OPS_AT],
    )


def pack(state: State) -> bytes:
    """Deterministic bytes: equal states, equal bytes."""
    return orjson.dumps([TAG, state.newest_us, state.tiles, state.totals, state.hours, state.ops])


def unpack(data: bytes) -> State:
    """The state of packed bytes. Raises StateOutdated when another catalogue packed them or they are damaged."""
    try:
        tag, newest_us, tiles, totals, hours, ops = orjson.loads(data)
    except (ValueError, TypeError) as error:
        raise StateOutdated("these bytes are no packed feature state: rebuild it from the events") from error
    if tag != TAG:
        raise StateOutdated(f"feature state of definition {tag}, this is {TAG}: rebuild it from the events")
    return State(newest_us, tiles, totals, hours, ops)


def rebuild(events: Iterable[Event]) -> State:
    """The state of these events, in whatever order they come. Every event once."""
    return update(empty(), events)


def update(state: State, events: Iterable[Event]) -> State:
    """The state with these events added. Pure. Every event once (the ledger sees to it)."""
    new = State(state.newest_us, state.tiles[:], state.totals[:], state.hours[:], state.ops[:])
    mine: set[int] = set()  # ids of the parts copied already: what the old state holds is never written to
    for event in events:
        _hear(new, extract(event), mine)
    _prune(new, mine)
    return new


def _hear(state: State, measures: Measures, mine: set[int]) -> None:
    """Add one event to every tap that hears it."""
    us = measures.us
    if us > state.newest_us:
        state.newest_us = us
    for tap, total_at, tiles_at, hours_at, ops_at, build in _BY_EVENT.get(measures.name, _BY_ANY_OTHER):
        if tap.origins is not None and measures.origin not in tap.origins:
            continue
        if tap.where and any(getattr(measures, name) != wanted for name, wanted in tap.where):
            continue
        if tap.needs and all(getattr(measures, name) is None for name in tap.needs):
            continue
        if build is not None:
            if id(state.ops[ops_at]) not in mine:
                state.ops[ops_at] = state.ops[ops_at][:]
                mine.add(id(state.ops[ops_at]))
            state.ops[ops_at].append(build(measures))
        amount = (getattr(measures, tap.value) or 0) if tap.value else 0
        if total_at >= 0:
            count, total, first, last = state.totals[total_at]
            first = us if us < first or first < 0 else first
            state.totals[total_at] = [count + 1, total + amount, first, us if us > last else last]
        if tiles_at >= 0:
            hours, counts, sums = state.tiles[tiles_at]
            if id(hours) not in mine:
                hours, counts, sums = state.tiles[tiles_at] = (hours[:], counts[:], sums[:])
                mine.add(id(hours))
            _add_to_tile((hours, counts, sums), tile_of(us), amount, has_value=tap.value is not None)
        if hours_at >= 0:
            day = state.hours[hours_at] = state.hours[hours_at][:]
            day[us // HOUR_US % 24] += 1


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


def _prune(state: State, mine: set[int]) -> None:
    """Forget what no window can reach any more from the newest event on."""
    newest_us = state.newest_us
    for at, width in _WIDTHS:
        hours, counts, sums = state.tiles[at]
        oldest = (newest_us - width) // HOUR_US
        if hours and hours[0] < oldest:
            keep = bisect_left(hours, oldest)
            state.tiles[at] = (hours[keep:], counts[keep:], sums[keep:])
    for at, most, width, since in _KEPT:
        ops = state.ops[at]
        if not ops:
            continue
        if id(ops) in mine:
            # Operations of equal content are the same for us, so that this order needs no message id.
            ops.sort()
        edge = old_edge(newest_us, width) if width else -1
        if since >= 0:
            edge = max(edge, state.totals[since][LAST])
        keep = bisect_right(ops, edge, key=_instant) if ops[0][0] <= edge else 0
        keep = max(keep, len(ops) - most)
        if keep:
            state.ops[at] = ops[keep:]


def _instant(op: Op) -> int:
    us: int = op[0]
    return us
