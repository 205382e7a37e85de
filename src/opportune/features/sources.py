"""Where a value comes from: the events that count in each feature at an instant. Pure, for people to read."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from opportune.domain.events import Event
from opportune.domain.instants import to_us
from opportune.features.catalog import BY_NAME, FEATURES
from opportune.features.declare import OF_OPS, Feature, Stat, Tap
from opportune.features.measures import Measures, extract
from opportune.features.taps import SESSION_GAP, TAP_BY_NAME, TAPS
from opportune.features.windows import old_edge, width_us

#: An event and what was measured on it.
Heard = tuple[Event, Measures]


def hears(tap: Tap, measures: Measures) -> bool:
    """Whether an event counts in a tap."""
    return (
        (tap.events is None or measures.name in tap.events)
        and measures.name not in tap.but_not
        and (tap.origins is None or measures.origin in tap.origins)
        and all(getattr(measures, name) == wanted for name, wanted in tap.where)
        and (not tap.needs or any(getattr(measures, name) is not None for name in tap.needs))
    )


def sources(events: Iterable[Event], at: datetime) -> dict[str, list[Event]]:
    """Feature name -> the events its value at `at` was made from, newest first.

    Ages come from one event, the first or the last; derived features from the events of all they are derived from.
    Events that had not happened, or were not known, are left out.
    """
    at_us = to_us(at)
    heard = [(e, extract(e)) for e in events if e.event_at <= at and e.known_at <= at]
    heard.sort(key=_age, reverse=True)
    by_tap = {tap.name: [(e, m) for e, m in heard if hears(tap, m)] for tap in TAPS}
    found: dict[str, list[Event]] = {}
    for feature in FEATURES:
        if feature.tap:
            pairs = _of(feature, by_tap, at_us)
        else:  # of whatever it is derived from, each event once
            named = {e.message_id for name in feature.inputs for e in found[name]}
            pairs = [(e, m) for e, m in heard if e.message_id in named]
        found[feature.name] = [event for event, _ in pairs]
    return found


def _age(pair: Heard) -> tuple[int, str]:
    return pair[1].us, pair[0].message_id


def _of(feature: Feature, by_tap: Mapping[str, list[Heard]], at_us: int) -> list[Heard]:
    """The events of one feature that is no derived one, newest first."""
    mine = _inside(feature, feature.tap, by_tap, at_us)
    match feature.stat:
        case Stat.LAST_AGE:
            return mine[:1]
        case Stat.FIRST_AGE:
            return mine[-1:]
        case Stat.NEWEST | Stat.NEWEST_AGE:
            return (mine or (_inside(feature, feature.than, by_tap, at_us) if feature.than else []))[:1]
        case Stat.IS_OUT:
            other = _inside(feature, feature.than, by_tap, at_us) if feature.than else []
            return sorted(mine[:1] + other[:1], key=_age, reverse=True)
        case Stat.AFTER:
            return sorted(mine[:1] + by_tap[str(feature.than)][:1], key=_age, reverse=True)
        case Stat.SHARE:
            joined = {e.message_id: (e, m) for e, m in mine + _inside(feature, str(feature.than), by_tap, at_us)}
            return sorted(joined.values(), key=_age, reverse=True)
        case Stat.SESSION_EVENTS | Stat.SESSION_MINUTES | Stat.SESSION_DEPTH:
            return _session(mine, at_us)
        case _:
            return mine


def _inside(feature: Feature, tap: str, by_tap: Mapping[str, list[Heard]], at_us: int) -> list[Heard]:
    """Events of a tap inside the feature's window; of operations no more than are kept."""
    window = feature.against or feature.window
    edge = old_edge(at_us, width_us(window)) if window else -1
    keeps = TAP_BY_NAME[tap].keeps if feature.stat in OF_OPS else None
    if keeps and keeps.since_last:
        edge = max([edge, *(m.us for _, m in by_tap[keeps.since_last][:1])])
    inside = [(e, m) for e, m in by_tap[tap] if m.us > edge]
    return inside[: keeps.at_most] if keeps else inside


def _session(visits: list[Heard], at_us: int) -> list[Heard]:
    """The visits, newest first, that are at most the gap of a session from the next, and the newest from now."""
    n, after = 0, at_us
    for _, measures in visits:
        if after - measures.us > width_us(SESSION_GAP):
            break
        n, after = n + 1, measures.us
    return visits[:n]


def described(name: str) -> str:
    """What a feature is, in the catalogue's words."""
    feature = BY_NAME[name]
    return f"{feature.description} {feature.unit}; null: {feature.null_meaning}."
