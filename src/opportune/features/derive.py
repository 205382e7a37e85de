"""Derived features: a pure function of other features, once in Python and once in SQL, from the same declaration."""

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from opportune.domain.decisions import Value
from opportune.domain.instants import DAY_US, HOUR_US, to_us
from opportune.features.declare import Feature, Stat
from opportune.features.zones import offset_us

Derived = Callable[[Mapping[str, Any], datetime], Value]
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
#: 1970-01-01 was a Thursday; Monday is 0.
_EPOCH_WEEKDAY = 3


def derived(feature: Feature) -> Derived:
    """The function of one derived feature: values of its inputs and the instant -> its value."""
    match feature.stat:
        case Stat.DIFFERENCE:
            a, b = feature.of
            return lambda v, at: None if v[a] is None or v[b] is None else v[a] - v[b]
        case Stat.RATIO:
            a, b = feature.of
            return lambda v, at: None if v[a] is None or not v[b] else v[a] / v[b]
        case Stat.WEIGHTED:
            weights = feature.weights
            return lambda v, at: sum(
                (weight * min(v[name] or 0.0, full) / full for name, weight, full in weights), start=0.0
            )
        case Stat.LADDER:
            return _ladder(feature)
        case Stat.LOCAL_HOUR:
            (zone,) = feature.of
            return lambda v, at: _local_us(v[zone], at) // HOUR_US % 24
        case Stat.LOCAL_WEEKDAY:
            (zone,) = feature.of
            return lambda v, at: _weekday(v[zone], at)
        case Stat.IS_WEEKEND:
            (zone,) = feature.of
            return lambda v, at: _weekday(v[zone], at) >= 5
        case _:
            raise ValueError(f"{feature.name}: {feature.stat} is not derived from other features")


def derived_sql(feature: Feature) -> str:
    """The same as an expression over columns named like features, with `at_us` and the zone's `offset_us`."""
    local = "(at_us + offset_us)"
    weekday = f"({local} // {DAY_US} + {_EPOCH_WEEKDAY}) % 7"
    match feature.stat:
        case Stat.DIFFERENCE:
            return f"{feature.of[0]} - {feature.of[1]}"
        case Stat.RATIO:
            return f"{feature.of[0]}::DOUBLE / nullif({feature.of[1]}, 0)"
        case Stat.WEIGHTED:
            terms = (f"{w} * least(coalesce({name}, 0), {full}) / {full}" for name, w, full in feature.weights)
            return " + ".join(f"({term})::DOUBLE" for term in terms)
        case Stat.LADDER:
            rungs = (
                f"WHEN {' AND '.join(f'{name} {_sql_test(op)} {number}' for name, op, number in tests)} THEN '{label}'"
                for label, tests in feature.rungs
            )
            return f"CASE {' '.join(rungs)} END"
        case Stat.LOCAL_HOUR:
            return f"({local} // {HOUR_US}) % 24"
        case Stat.LOCAL_WEEKDAY:
            return weekday
        case Stat.IS_WEEKEND:
            return f"({weekday}) >= 5"
        case _:
            raise ValueError(f"{feature.name}: {feature.stat} is not derived from other features")


def _ladder(feature: Feature) -> Derived:
    rungs = tuple(
        (label, tuple((name, _TESTS[op], number) for name, op, number in tests)) for label, tests in feature.rungs
    )

    def climb(values: Mapping[str, Any], at: datetime) -> Value:
        for label, tests in rungs:
            for name, holds, number in tests:
                value = values[name]
                if value is None or not holds(value, number):
                    break
            else:
                return label
        return None

    return climb


def _sql_test(op: str) -> str:
    return "=" if op == "==" else op


def _local_us(zone: str | None, at: datetime) -> int:
    return to_us(at) + (offset_us(zone, at) if zone else 0)


def _weekday(zone: str | None, at: datetime) -> int:
    return (_local_us(zone, at) // DAY_US + _EPOCH_WEEKDAY) % 7
