"""Where a value comes from: the events that count in each feature at an instant. Pure, for people to read."""

from collections.abc import Iterable
from datetime import datetime

from opportune.domain.events import Event
from opportune.domain.instants import to_us
from opportune.features.catalog import BY_NAME, FEATURES, TAPS, Feature, Stat, Tap
from opportune.features.measures import Measures, extract
from opportune.features.windows import old_edge, width_us

_TAPS = {tap.name: tap for tap in TAPS}


def hears(tap: Tap, measures: Measures) -> bool:
    """Whether an event counts in a tap."""
    return (
        (tap.events is None or measures.name in tap.events)
        and measures.name not in tap.but_not
        and (tap.origins is None or measures.origin in tap.origins)
        and all(getattr(measures, name) == wanted for name, wanted in tap.where)
    )


def sources(events: Iterable[Event], at: datetime) -> dict[str, list[Event]]:
    """Feature name -> the events its value at `at` was made from, newest first.

    Ages come from one event, the first or the last. Events that had not happened, or were not known, are left out.
    """
    at_us = to_us(at)
    heard = [(e, extract(e)) for e in events if e.event_at <= at and e.known_at <= at]
    heard.sort(key=lambda pair: (pair[0].event_at, pair[0].message_id), reverse=True)
    by_tap = {name: [(e, m) for e, m in heard if hears(tap, m)] for name, tap in _TAPS.items()}
    ordered_us = max((m.us for _, m in by_tap["orders"]), default=-1)
    return {f.name: _of(f, by_tap[f.tap], at_us, ordered_us) for f in FEATURES}


def _of(feature: Feature, heard: list[tuple[Event, Measures]], at_us: int, ordered_us: int) -> list[Event]:
    edge = old_edge(at_us, width_us(feature.window)) if feature.window else -1
    if feature.stat in (Stat.CART_ITEMS, Stat.CART_VALUE):
        edge = max(edge, ordered_us)
    inside = [event for event, measures in heard if measures.us > edge]
    if feature.stat is Stat.LAST_AGE:
        return inside[:1]
    if feature.stat is Stat.FIRST_AGE:
        return inside[-1:]
    return inside


def described(name: str) -> str:
    """What a feature is, in the catalogue's words."""
    feature = BY_NAME[name]
    return f"{feature.description} {feature.unit}; null: {feature.null_meaning}."
