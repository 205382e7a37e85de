"""A small shop floor for ingestion tests: events by hand, a playbook, a ledger in memory, a clock that stands still."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.domain.customers import Customer
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.messages import Deliver, Send, SendState
from opportune.domain.timers import Timer
from opportune.flows.ingest import IngestReport, ingest
from opportune.playbook.load import Playbook, load_files

T0 = datetime(2026, 3, 1, tzinfo=UTC)
PLAYBOOK = load_files(
    {
        "playbook.yaml": b"""
topics: {carts: {}, orders: {purpose: transactional}}
triggers:
  cart_abandoned:
    on: {event: Product Added, key: properties.cart_id, when: event.price >= 5}
    unless: {event: Order Completed}
    wait: 1h
    cooldown: 1d
  order_confirmed:
    kind: transactional
    on: {event: Order Completed, key: properties.order_id}
  welcome:
    on: {event: Signed Up}
    delay: 10m
    cooldown: 30d
  season:
    on: {event: Season Opened}
    starts_at: 2026-03-01T06:00:00Z
    ends_at: 2026-03-02T00:00:00Z
campaigns:
  cart: {trigger: cart_abandoned, topic: carts, channels: [inapp], content: {inapp: {body: Hello}}}
  order: {trigger: order_confirmed, topic: orders, channels: [inapp], content: {inapp: {body: Thanks}}}
  hello: {trigger: welcome, topic: carts, channels: [inapp], content: {inapp: {body: Welcome}}}
  spring: {trigger: season, topic: carts, channels: [inapp], content: {inapp: {body: Spring}}}
"""
    }
)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def event(
    name: str | EventKind,
    hour: float,
    user: str | None = "c1",
    anonymous: str | None = None,
    *,
    mid: str | None = None,
    origin: Origin = Origin.LIVE,
    properties: Mapping[str, Any] | None = None,
    traits: Mapping[str, Any] | None = None,
    previous: str | None = None,
    received: float | None = None,
) -> Event:
    kind = name if isinstance(name, EventKind) else EventKind.TRACK
    when = at(hour)
    came = when if received is None else at(received)
    return Event(
        message_id=mid or f"{name}|{hour}|{user}|{anonymous}|{sorted((properties or {}).items())}",
        kind=kind,
        name=NAMES_BY_KIND.get(kind, str(name)),
        user_id=user,
        anonymous_id=anonymous,
        original_at=when,
        sent_at=None,
        received_at=came,
        event_at=when,
        known_at=came if origin is Origin.LIVE else when,
        ingested_at=came,
        origin=origin,
        properties=properties or {},
        traits=traits or {},
        previous_id=previous,
    )


def added(hour: float, cart: str | None = "k1", price: float = 10, **more: Any) -> Event:
    properties = {"price": price, **({"cart_id": cart} if cart else {})}
    return event("Product Added", hour, properties=properties, **more)


def ordered(hour: float, cart: str | None = None, order: str = "o1", **more: Any) -> Event:
    properties = {"order_id": order, "revenue": 20, **({"cart_id": cart} if cart else {})}
    return event("Order Completed", hour, properties=properties, **more)


def identify(hour: float, user: str, anonymous: str | None = None, **traits: Any) -> Event:
    return event(EventKind.IDENTIFY, hour, user, anonymous, traits=traits)


def send(customer_id: str, message_id: str = "s1", trigger: str = "cart_abandoned", key: str | None = "k1") -> Send:
    return Send(
        message_id=message_id,
        customer_id=customer_id,
        decision_id="d1",
        rank=1,
        campaign="cart",
        trigger=trigger,
        channel="email",
        topic="carts",
        purpose="marketing",
        variant=None,
        tags=(),
        state=SendState.RESERVED,
        deliver=Deliver.SERVICE,
        send_at=at(3),
        expires_at=at(20),
        reserved_at=at(2),
        trigger_key=key,
    )


@dataclass
class Shop:
    """A ledger and what can be asked of it. `now` in hours after T0; the clock stands still until it is set."""

    now_hours: float = 5
    playbook: Playbook = PLAYBOOK
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def now(self) -> datetime:
        return at(self.now_hours)

    def take(self, *events: Event) -> IngestReport:
        return ingest(events, [], self.ledger, self.playbook, self)

    def customer(self, customer_id: str) -> Customer | None:
        with self.ledger.read() as uow:
            return uow.customers.get([customer_id]).get(customer_id)

    def timers(self, customer_id: str = "c1") -> dict[tuple[str, str], Timer]:
        with self.ledger.read() as uow:
            return {(t.rule, t.key): t for t in uow.timers.of([customer_id]).get(customer_id, [])}

    def carts(self, customer_id: str = "c1") -> dict[str, Timer]:
        return {key: t for (rule, key), t in self.timers(customer_id).items() if rule == "cart_abandoned"}

    def picture(self, keys: Sequence[str]) -> dict[str, Any]:
        """All that must not depend on order: who is who, events, state bytes, traits."""
        with self.ledger.read() as uow:
            whose = uow.identities.canonical(keys)
            ids = sorted(set(whose.values()))
            people, states, events = uow.customers.get(ids), uow.states.get(ids), uow.events.of(ids)
        return {
            "whose": whose,
            "states": {c: states[c].state for c in ids if events.get(c)},
            "traits": {c: (people[c].traits, people[c].trait_stamps) for c in ids if events.get(c)},
            "seen": {c: (people[c].first_seen_at, people[c].last_seen_at) for c in ids if events.get(c)},
            "events": {c: [e.message_id for e in found] for c, found in events.items() if found},
        }
