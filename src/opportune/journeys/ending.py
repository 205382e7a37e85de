"""What ends a journey in the middle: the first of its goal, its exits and an opt-out; or its length."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from opportune.domain.journeys import Ending, Instance
from opportune.journeys.definition import Definition
from opportune.journeys.sight import Sight

#: Endings after which what is booked and not yet handed over does not go any more.
CUTTING = frozenset({Ending.GOAL, Ending.EXIT, Ending.OPTED_OUT, Ending.STOPPED})
_ORDER = (Ending.GOAL, Ending.EXIT, Ending.OPTED_OUT)


def too_long_at(instance: Instance, definition: Definition) -> datetime:
    """When its maximum length is over."""
    return instance.started_at + definition.journey.max_length


def ending_of(
    instance: Instance, definition: Definition, sight: Sight, facts: Mapping[str, Any]
) -> tuple[Ending, Mapping[str, Any]] | None:
    """How it is over and what told so; null when it goes on. What happened after its length was over does not count."""
    if sight.is_stopped:
        return Ending.STOPPED, {}
    limit = too_long_at(instance, definition)
    met = [(at, _ORDER.index(how), how, told) for at, how, told in _met(instance, definition, sight, facts, limit)]
    if met:
        _, _, how, told = min(met, key=lambda found: found[:2])
        return how, told
    return (Ending.TOO_LONG, {}) if sight.now >= limit else None


def _met(
    instance: Instance, definition: Definition, sight: Sight, facts: Mapping[str, Any], limit: datetime
) -> Iterator[tuple[datetime, Ending, Mapping[str, Any]]]:
    without = (instance.started_by,)
    if definition.goal is not None:
        reached = sight.first(definition.goal, instance.started_at, limit, without)
        if reached is not None:
            yield reached[0], Ending.GOAL, {"event": reached[1]}
    for leave in definition.journey.exit:
        if leave.on is not None:
            left = sight.first(leave.on, instance.started_at, limit, without)
            if left is not None:
                yield left[0], Ending.EXIT, {"event": left[1]}
        elif leave.when is not None and sight.now < limit and sight.holds(leave.when, facts):
            yield sight.now, Ending.EXIT, {"condition": leave.when}
    if sight.opted_out_at is not None and definition.journey.leaves_on_opt_out:
        yield sight.opted_out_at, Ending.OPTED_OUT, {}
