"""State to values: every feature at an instant, one function made of each declaration once."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from opportune.domain.decisions import Value
from opportune.domain.instants import DAY_US, HOUR_US, from_us
from opportune.features import hours as week
from opportune.features.catalog import BY_NAME, NAMES, needed
from opportune.features.declare import OF_TILES, OF_TOTALS, Feature, Stat
from opportune.features.derive import derived
from opportune.features.finish_ops import of_ops
from opportune.features.gather import (
    FIRST,
    HOURS_AT,
    LAST,
    SUM,
    TILES_AT,
    TOTALS_AT,
    N,
    State,
    StateOutdated,
    empty,
    unpack,
)
from opportune.features.reader import Finish, Reader, age_days, shared
from opportune.features.windows import tile_of, width_us


def finalise(state: State, at: datetime, names: Sequence[str] | None = None) -> dict[str, Value]:
    """Catalogue features as of `at`, which is not before the newest event of the state. Never reads the clock.

    `names` null: all of them; else these and no others. An `at` a moment before the newest event (two machines'
    clocks) counts that event and calls its age 0. Raises KeyError for a name the catalogue does not have.
    """
    reader = Reader(state, at)
    values = reader.values
    for name, finish in _PLAN if names is None else _plan(tuple(names)):
        values[name] = finish(reader)
    return values if names is None else {name: values[name] for name in names}


def finish_packed(data: bytes | None, at_us: int) -> dict[str, Any]:
    """For Feast's on-demand view: finished values of packed bytes at an instant.

    Null is NaN, of texts the empty text; vectors are lists. `is_known` is false when there is no state of this
    catalogue; the values are then those of no history at all. `at_us`: microseconds since 1970 UTC.
    """
    try:
        state, is_known = (unpack(data), True) if data else (empty(), False)
    except StateOutdated:
        state, is_known = empty(), False
    finished: dict[str, Any] = {"is_known": is_known}
    for name, value in finalise(state, from_us(at_us)).items():
        if value is None:
            finished[name] = "" if BY_NAME[name].dtype == "text" else math.nan
        else:
            finished[name] = list(value) if isinstance(value, tuple) else value
    return finished


@lru_cache(maxsize=64)
def _plan(names: tuple[str, ...]) -> tuple[tuple[str, Finish], ...]:
    """The functions of these features and of all they are derived from, inputs first."""
    wanted = {feature.name for feature in needed(names)}
    return tuple(pair for pair in _PLAN if pair[0] in wanted)


def _finisher(feature: Feature) -> Finish:
    if not feature.tap:
        of = derived(feature)
        return lambda r: of(r.values, r.at)
    if feature.stat in OF_TILES:
        return _of_tiles(feature)
    if feature.stat in (*OF_TOTALS, Stat.HOURS):
        return _of_totals(feature)
    return of_ops(feature)


def _counted(at: int, width: int, column: int) -> Callable[[Reader], int]:
    """Counts (1) or sums (2) of a tap's tiles inside a window, added up."""

    def add(r: Reader) -> int:
        tiles = r.state.tiles[at]
        hours = tiles[0]
        return sum(tiles[column][bisect_left(hours, (r.at_us - width) // HOUR_US) :]) if hours else 0

    return add


def _of_tiles(feature: Feature) -> Finish:
    stat, tap = feature.stat, feature.tap
    if feature.window is None:
        total_at = TOTALS_AT[tap]
        if stat is Stat.COUNT:
            return lambda r: r.state.totals[total_at][N]
        if stat is Stat.SUM:
            return lambda r: r.state.totals[total_at][SUM] / 100
        raise ValueError(f"{feature.name}: {stat} needs a window")
    at, width = TILES_AT[tap], width_us(feature.window)
    counted = _counted(at, width, 1)
    match stat:
        case Stat.COUNT:
            return counted
        case Stat.SUM:
            summed = _counted(at, width, 2)
            return lambda r: summed(r) / 100
        case Stat.MEAN:
            total = _counted(at, width, 2)
            return lambda r: total(r) / n / 100 if (n := counted(r)) else None
        case Stat.SHARE:
            others = _counted(TILES_AT[str(feature.than)], width, 1)
            return lambda r: counted(r) / n if (n := others(r)) else None
        case Stat.TREND:
            longer = width_us(feature.against or feature.window)
            wide = _counted(at, longer, 1)
            return lambda r: counted(r) * longer / (n * width) if (n := wide(r)) else None
        case Stat.DAYS:

            def days(r: Reader) -> int:
                hours = r.state.tiles[at][0]
                return len({h // 24 for h in hours[bisect_left(hours, (r.at_us - width) // HOUR_US) :]}) if hours else 0

            return days
        case Stat.DECAYED:
            return _decayed(feature, at, width)
        case _:
            return _hours_of(feature, at, width)


def _half_life_hours(feature: Feature) -> float:
    if feature.half_life is None:
        raise ValueError(f"{feature.name}: {feature.stat} needs a half life")
    return width_us(feature.half_life) / HOUR_US


def _decayed(feature: Feature, at: int, width: int) -> Finish:
    half = _half_life_hours(feature)
    fade = [0.5 ** (ago / half) for ago in range(width // HOUR_US + 2)]

    def weigh(r: Reader) -> float:
        hours, counts, _ = r.state.tiles[at]
        if not hours:
            return 0.0
        start, now = bisect_left(hours, (r.at_us - width) // HOUR_US), tile_of(r.at_us)
        return sum((n * fade[max(now - h, 0)] for h, n in zip(hours[start:], counts[start:], strict=True)), start=0.0)

    return weigh


def _hours_of(feature: Feature, at: int, width: int) -> Finish:
    """Events by hour of week, halved by whole weeks, smoothed round the circle; of day: its days added up."""
    half_weeks = _half_life_hours(feature) / week.WEEK_HOURS
    fade = [0.5 ** (ago / half_weeks) for ago in range(width // HOUR_US // week.WEEK_HOURS + 2)]
    blank = (0.0,) * week.WEEK_HOURS

    def weigh(r: Reader) -> Sequence[float]:
        hours, counts, _ = r.state.tiles[at]
        start, now = bisect_left(hours, (r.at_us - width) // HOUR_US), tile_of(r.at_us)
        if start == len(hours):
            return blank
        weights = [0.0] * week.WEEK_HOURS
        for h, n in zip(hours[start:], counts[start:], strict=True):
            weights[(h + week.EPOCH_SLOT) % week.WEEK_HOURS] += n * fade[max(now - h, 0) // week.WEEK_HOURS]
        return week.smoothed(weights)

    whole = shared((feature.tap, width, half_weeks, "week"), weigh)
    if feature.stat is Stat.HOURS_OF_WEEK:
        return lambda r: tuple(whole(r))
    return lambda r: tuple(week.folded(whole(r)))


def _of_totals(feature: Feature) -> Finish:
    if feature.stat is Stat.HOURS:
        place = HOURS_AT[feature.tap]
        return lambda r: tuple(map(float, r.state.hours[place]))
    at = TOTALS_AT[feature.tap]
    match feature.stat:
        case Stat.FIRST_AGE:
            return lambda r: age_days(r.state.totals[at][FIRST], r.at_us)
        case Stat.LAST_AGE:
            return lambda r: age_days(r.state.totals[at][LAST], r.at_us)
        case Stat.AFTER:
            than = TOTALS_AT[str(feature.than)]

            def after(r: Reader) -> float | None:
                last, other = r.state.totals[at][LAST], r.state.totals[than][LAST]
                return (last - other) / DAY_US if last >= 0 and other >= 0 else None

            return after
        case _:

            def gap(r: Reader) -> float | None:
                n, _, first, last = r.state.totals[at]
                return (last - first) / (n - 1) / DAY_US if n > 1 else None

            return gap


_PLAN: tuple[tuple[str, Finish], ...] = tuple((name, _finisher(BY_NAME[name])) for name in NAMES)
