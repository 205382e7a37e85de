"""A journey as a graph: the names of its steps, and where each may lead. What check, map and machine all go by."""

import heapq
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from opportune.playbook.journeys import END, Journey, Step
from opportune.playbook.values import format_duration


class Edge(NamedTuple):
    """From one step to another, or to `end`. `why`: what must come of the step."""

    source: str
    target: str
    why: str


def step_names(journey: Journey) -> tuple[str, ...]:
    """The name of each step: its own, else its kind and place, like `wait_2` (places count from 1)."""
    return tuple(step.name or f"{step.kind}_{place}" for place, step in enumerate(journey.steps, 1))


def after(journey: Journey, place: int) -> str:
    """Where step number `place`, from 0, leads when nothing else is said: `go`, else the step below, else `end`."""
    step, names = journey.steps[place], step_names(journey)
    return step.go or (names[place + 1] if place + 1 < len(names) else END)


def edges(journey: Journey) -> list[Edge]:
    """Every way from step to step, in order."""
    names = step_names(journey)
    return [
        Edge(name, target, why)
        for place, (name, step) in enumerate(zip(names, journey.steps, strict=True))
        for target, why in _ways(step, after(journey, place))
    ]


def _ways(step: Step, following: str) -> Iterator[tuple[str, str]]:
    """(target, why) of one step."""
    other = step.else_ or following
    if step.message is not None:
        yield from _told(following, "said", other, "not said")
    elif step.wait is not None:
        yield following, ""
    elif step.wait_until is not None:
        yield following, "happened"
        if step.wait_until.for_ is not None:
            yield other, f"not within {format_duration(step.wait_until.for_)}"
    elif step.branch is not None:
        for way in step.branch:
            yield way.go, way.when
        yield other, "else"
    elif step.split is not None:
        total = sum(step.split.values())
        for target, weight in step.split.items():
            yield target, f"{weight / total:.0%}"
    elif step.escalate is not None:
        yield from _told(following, step.escalate.until, other, "ignored")
    else:
        yield END, ""


def _told(one: str, why: str, other: str, why_not: str) -> Iterator[tuple[str, str]]:
    """Two ways, or one when both lead to the same step."""
    if one == other:
        yield one, ""
    else:
        yield one, why
        yield other, why_not


def reached(journey: Journey) -> set[str]:
    """Steps that some way from the first one leads to."""
    ways: dict[str, list[str]] = {}
    for edge in edges(journey):
        ways.setdefault(edge.source, []).append(edge.target)
    found, to_see = set[str](), [step_names(journey)[0]]
    while to_see:
        name = to_see.pop()
        if name not in found:
            found.add(name)
            to_see += ways.get(name, [])
    return found


def round_without_wait(journey: Journey) -> list[str]:
    """Steps, in order, that lead back to the first of them in no time; empty when there are none.

    Only a wait for time or for an event always takes time: a message may be refused, a condition hold at once.
    """
    names = step_names(journey)
    takes_time = {
        name
        for name, step in zip(names, journey.steps, strict=True)
        if step.wait is not None or (step.wait_until is not None and step.wait_until.event is not None)
    }
    ways: dict[str, list[str]] = {}
    for edge in edges(journey):
        if edge.source not in takes_time and edge.target not in takes_time:
            ways.setdefault(edge.source, []).append(edge.target)
    done: set[str] = set()
    for name in names:
        if found := _circle(name, ways, [], done):
            return found
    return []


def _circle(name: str, ways: dict[str, list[str]], path: list[str], done: set[str]) -> list[str]:
    if name in path:
        return path[path.index(name) :]
    if name in done:
        return []
    for target in ways.get(name, ()):
        if found := _circle(target, ways, [*path, name], done):
            return found
    done.add(name)
    return []


def earliest(journey: Journey) -> dict[str, timedelta]:
    """Step -> how long after setting out one may come to it at the soonest: the waits for time on the shortest way."""
    steps = dict(zip(step_names(journey), journey.steps, strict=True))
    ways: dict[str, list[str]] = {}
    for edge in edges(journey):
        ways.setdefault(edge.source, []).append(edge.target)
    found: dict[str, timedelta] = {}
    to_see = [(timedelta(0), step_names(journey)[0])]
    while to_see:
        at, name = heapq.heappop(to_see)
        if name in steps and name not in found:
            found[name] = at
            wait = steps[name].wait
            after = at + (wait.for_ if wait is not None and wait.for_ is not None else timedelta(0))
            for target in ways.get(name, ()):
                heapq.heappush(to_see, (after, target))
    return found


def never_ends(journey: Journey) -> list[str]:
    """Steps in order from which no way leads to the end."""
    back: dict[str, list[str]] = {}
    for edge in edges(journey):
        back.setdefault(edge.target, []).append(edge.source)
    found, to_see = set[str](), [END]
    while to_see:
        name = to_see.pop()
        if name not in found:
            found.add(name)
            to_see += back.get(name, [])
    return [name for name in step_names(journey) if name not in found]
