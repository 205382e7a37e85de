"""Sequences and thresholds: which of a customer's events completes one. Pure; the same for every order of arrival.

A firing is set off by the newest event that completes it, and spends everything up to that event: `spent` is its place.
Until it fires, what is pending is a function of the events alone. A completion needs a live event that is new, or comes
after one that is; so events that arrive late can only take the place of a firing, never add a second one for what has
fired already.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from opportune.domain.events import Event, Origin
from opportune.playbook.triggers import Trigger

#: Where an event stands among a customer's: its time, then its message id.
Place = tuple[datetime, str]
#: One event that counts: the instance it belongs to, and the steps (or 0) it can be.
Marked = tuple[Event, str, Collection[int]]


def place_of(event: Event) -> Place:
    """The order of events."""
    return event.event_at, event.message_id


def completed(
    trigger: Trigger,
    marked: Sequence[Marked],
    fresh: Collection[str],
    spent: Mapping[str, Place],
    may: Callable[[Event], bool] = lambda _: True,
) -> dict[str, Event]:
    """Instance -> the newest event that completes the trigger.

    `marked`: events that count, in their order, back to `in` before the oldest new one. `fresh`: message ids of the
    new ones. `spent`: instance -> up to where events were counted towards what has fired. `may`: whether an event may
    be the one that completes it (they count all the same).
    """
    by_key: dict[str, list[tuple[Event, Collection[int]]]] = {}
    for event, key, steps in marked:
        by_key.setdefault(key, []).append((event, steps))
    found = {}
    for key, events in by_key.items():
        new_from = min((place_of(e) for e, _ in events if e.message_id in fresh), default=None)
        if new_from is None:
            continue
        rest = [(e, steps) for e, steps in events if key not in spent or place_of(e) > spent[key]]
        ends = _sequence if trigger.kind == "sequence" else _threshold
        completing = [e for e in ends(trigger, rest) if place_of(e) >= new_from and e.origin is Origin.LIVE and may(e)]
        if completing:
            found[key] = completing[-1]
    return found


def _threshold(trigger: Trigger, events: Sequence[tuple[Event, Collection[int]]]) -> Iterator[Event]:
    """Every event with enough of them in the window that ends at it."""
    span, needed = trigger.in_ or timedelta(0), int(trigger.at_least or 1)
    counted: deque[Event] = deque()
    for event, _ in events:
        counted.append(event)
        while event.event_at - counted[0].event_at > span:
            counted.popleft()
        if len(counted) >= needed:
            yield event


def _sequence(trigger: Trigger, events: Sequence[tuple[Event, Collection[int]]]) -> Iterator[Event]:
    """Every event that is the last step of a chain within the window."""
    span, n_steps = trigger.in_ or timedelta(0), len(trigger.steps)
    begun: list[datetime | None] = [None] * n_steps  # per step reached: the latest first event that leads there
    for event, steps in events:
        for step in sorted(steps, reverse=True):  # one event is never two steps of one chain
            first = event.event_at if step == 0 else begun[step - 1]
            if first is None or event.event_at - first > span:
                continue
            if step == n_steps - 1:
                yield event
            else:
                begun[step] = first
