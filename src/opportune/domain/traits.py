"""Traits of a customer: a fold over envelopes that gives the same values in any order.

Each trait keeps the stamp (event_at in microseconds, message id) of the envelope that set it; the newest stamp wins.
A trait set to null is removed, its stamp stays. `identify` sets traits; `group` sets one, `account_id`, to its group id
(the traits it carries belong to the group).

The zone: a `timezone` trait wins over anything else for good; while there is none, the newest `context.timezone` that
names an IANA zone serves as `timezone`, under a stamp of its own (`FALLBACK_ZONE`).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from opportune.domain.customers import ACCOUNT, Customer
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import to_us

ZONE = "timezone"
FALLBACK_ZONE = "context.timezone"

Stamp = tuple[int, str]


def fold(customer: Customer, events: Iterable[Event]) -> Customer:
    """The customer after these events, in any order; each event may come again. Our own events leave no trace."""
    traits: dict[str, Any] = dict(customer.traits)
    stamps: dict[str, Stamp] = dict(customer.trait_stamps)
    first, last = customer.first_seen_at, customer.last_seen_at
    for event in events:
        if event.origin is Origin.OWN:
            continue
        at = event.event_at
        if first is None or at < first:
            first = at
        if last is None or at > last:
            last = at
        zone = event.context.get(ZONE)
        said = _said(event)
        if zone is None and not said:
            continue
        stamp = (to_us(at), event.message_id)
        if said:
            for name, value in said.items():
                if name != FALLBACK_ZONE and (name not in stamps or stamps[name] < stamp):
                    stamps[name] = stamp
                    _set(traits, name, value)
        if is_zone(zone) and (FALLBACK_ZONE not in stamps or stamps[FALLBACK_ZONE] < stamp):
            stamps[FALLBACK_ZONE] = stamp
            if ZONE not in stamps:
                traits[ZONE] = zone
    return Customer(
        customer_id=customer.customer_id, traits=traits, trait_stamps=stamps, first_seen_at=first, last_seen_at=last
    )


def _said(event: Event) -> Mapping[str, Any] | None:
    """The traits an event sets."""
    if event.kind is EventKind.IDENTIFY:
        return event.traits
    if event.kind is EventKind.GROUP and event.group_id is not None:
        return {ACCOUNT: event.group_id}
    return None


def join(into: Customer, other: Customer) -> Customer:
    """One customer of two, under the id of `into`: per trait the newer stamp wins, whichever side it is on."""
    traits, stamps = dict(into.traits), dict(into.trait_stamps)
    for name, value in other.traits.items():
        if name not in stamps and name not in other.trait_stamps and name != ZONE:
            traits.setdefault(name, value)
    for name, stamp in other.trait_stamps.items():
        if name != FALLBACK_ZONE and (name not in stamps or stamps[name] < stamp):
            stamps[name] = stamp
            _set(traits, name, other.traits.get(name))
    fallback = other.trait_stamps.get(FALLBACK_ZONE)
    if fallback is not None and (FALLBACK_ZONE not in stamps or stamps[FALLBACK_ZONE] < fallback):
        stamps[FALLBACK_ZONE] = fallback
        if ZONE not in stamps:
            _set(traits, ZONE, other.traits.get(ZONE))
    return Customer(
        customer_id=into.customer_id,
        traits=traits,
        trait_stamps=stamps,
        first_seen_at=_pick(min, into.first_seen_at, other.first_seen_at),
        last_seen_at=_pick(max, into.last_seen_at, other.last_seen_at),
    )


#: Files that lie among the zones and stand for whatever one machine is set to.
_LOCAL = frozenset({"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=4096)
def _names_a_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError below
        return False
    except KeyError:
        return False
    return True


def is_zone(value: Any) -> bool:
    """True for the name of a zone this machine knows, and that means the same on others."""
    return isinstance(value, str) and 0 < len(value) <= 64 and value not in _LOCAL and _names_a_zone(value)


def _set(traits: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        traits.pop(name, None)
    else:
        traits[name] = value


def _pick(choose: Any, a: datetime | None, b: datetime | None) -> datetime | None:
    found: datetime | None = choose(a, b) if a is not None and b is not None else a or b
    return found
