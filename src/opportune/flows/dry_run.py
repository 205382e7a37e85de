"""A dry run: history once more under a playbook, on a ledger to throw away. The installation itself is only read.

What happened before the period is history that fires nothing; what happened in it comes in live, each event at its
own instant, and callers ask when they asked. Messages that Opportune sent in the period are left out, for this
playbook sends its own; how people answered those stays, as everything people did.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from opportune.decision.record import case_from_json
from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.decisions import Ask
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Deliver, Send, SendState
from opportune.domain.suppressions import Suppression
from opportune.experiments.dry import DryTally
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.replay import advance, as_live
from opportune.flows.report import decisions_of, released_of
from opportune.flows.spend import take_late
from opportune.flows.withdraw import suppressions_of, withdraw
from opportune.ports import Courier, Ledger, MovableClock, UnitOfWork

PAGE = 2000
MESSAGE_SENT = "Message Sent"
_SHARES = 2**32
Thing = Event | Ask | Consent | Suppression


@dataclass(slots=True)
class Scene:
    """What a period is played from. `events`: those of the period, oldest first, held in memory (some 2 KB each)."""

    start: datetime
    end: datetime
    events: list[Event] = field(default_factory=list)
    asks: list[tuple[datetime, Ask]] = field(default_factory=list)
    consents: list[Consent] = field(default_factory=list)
    suppressions: list[Suppression] = field(default_factory=list)
    n_before: int = 0


def in_sample(customer_id: str, share: float) -> bool:
    """Whether a customer is among this share, the same ones every time."""
    return share >= 1 or int.from_bytes(hashlib.blake2b(customer_id.encode(), digest_size=4).digest()) < share * _SHARES


def history_of(ledger: Ledger, before: datetime, share: float = 1.0) -> Iterator[list[Event]]:
    """Pages of what was known before an instant, as imports: they fire nothing."""
    for page in _pages(ledger, share):
        found = [e if e.origin is Origin.OWN else replace(e, origin=Origin.IMPORT) for e in page if e.known_at < before]
        if found:
            yield found


def scene_of(ledger: Ledger, start: datetime, end: datetime, share: float = 1.0) -> Scene:
    """The events and the callers' requests of [start, end), of a share of the customers. Reads only."""
    scene = Scene(start, end)
    for page in _pages(ledger, share):
        scene.n_before += sum(e.known_at < start for e in page)
        scene.events += [e for e in page if start <= e.known_at < end and not _is_ours(e)]
    scene.events.sort(key=lambda e: (e.known_at, e.event_at, e.message_id))
    cursor = ""
    while True:
        with ledger.read() as uow:
            rows, cursor = uow.decisions.after(cursor, PAGE)
        if not rows:
            break
        for row in rows:
            if start <= row.decided_at < end and in_sample(row.customer_id, share):
                ask = case_from_json(row.case).ask
                if ask.firing is None:
                    scene.asks.append((row.decided_at, ask))
    scene.asks.sort(key=lambda pair: pair[0])
    for ids in _customers(ledger, share):
        with ledger.read() as uow:
            lines = [line for of in uow.consents.of(ids).values() for line in of]
            scene.suppressions += [entry for entry in _listed(ids, end, uow) if entry.at >= start]
        scene.consents += [line for line in lines if start <= line.recorded_at < end]
    return scene


def _listed(customer_ids: Sequence[str], at: datetime, uow: UnitOfWork) -> list[Suppression]:
    """The entries of suppression lists in force at an instant that name any of these."""
    people = uow.customers.get(customer_ids)
    found = suppressions_of([people.get(c) or Customer(customer_id=c) for c in customer_ids], uow, at)
    return list({entry.key: entry for entries in found.values() for entry in entries}.values())


def _is_ours(event: Event) -> bool:
    """A message Opportune sent; what people answered is theirs."""
    return event.origin is Origin.OWN and event.name == MESSAGE_SENT


def _customers(ledger: Ledger, share: float) -> Iterator[list[str]]:
    """Pages of customer ids."""
    after = ""
    while True:
        with ledger.read() as uow:
            ids = uow.customers.all_ids(after, PAGE)
        if not ids:
            return
        after = ids[-1]
        yield [c for c in ids if in_sample(c, share)]


def _pages(ledger: Ledger, share: float) -> Iterator[list[Event]]:
    cursor = ""
    while True:
        with ledger.read() as uow:
            page, cursor = uow.events.after(cursor, PAGE)
        if not page:
            return
        yield [event for event, customer in page if in_sample(customer, share)]


def regular_asks(
    ledger: Ledger, start: datetime, end: datetime, every: timedelta, share: float
) -> list[tuple[datetime, Ask]]:
    """Every known customer asked about once in `every`, spread evenly over it; the service delivers."""
    asks: list[tuple[datetime, Ask]] = []
    for ids in _customers(ledger, share):
        for customer_id in (c for c in ids if not c.startswith("anon:")):
            at = start + every * random.Random(customer_id).random()
            while at < end:
                asks.append((at, Ask(customer_id=customer_id, deliver=Deliver.SERVICE)))
                at += every
    return sorted(asks, key=lambda pair: pair[0])


def carry_over(ledger: Ledger, desk: Desk, start: datetime) -> None:
    """What people had told us by then other than through events (consent over HTTP, suppression lists), and what we had
    sent them, with what that took of budgets."""
    for ids in _customers(desk.ledger, 1.0):
        with ledger.read() as uow:
            lines: list[Consent] = [c for of in uow.consents.of(ids).values() for c in of if c.recorded_at < start]
            log = uow.sends.log(ids, start - timedelta(days=92))
            listed = _listed(ids, start, uow)
        sends: list[Send] = [
            s for of in log.values() for s in of if s.send_at < start and s.state is not SendState.RELEASED
        ]
        with desk.ledger.begin(sorted(ids)) as uow:
            known = {c.consent_id for of in uow.consents.of(ids).values() for c in of}
            uow.consents.add([c for c in lines if c.consent_id not in known])
            uow.suppressions.add(listed)
            uow.sends.reserve([replace(s, state=SendState.SENT) for s in sends])
            take_late(sends, None, uow)


def play(
    scene: Scene,
    desk: Desk,
    courier: Courier,
    clock: MovableClock,
    *,
    grain: timedelta,
    report: Callable[[datetime, int], None] | None = None,
) -> DryTally:
    """Play the period on the desk's ledger, which holds the history and whose clock stands at its start.

    Events and requests come in together at the next multiple of `grain` (zero: each at its own instant).
    """
    things: list[tuple[datetime, Thing]] = [(e.known_at, e) for e in scene.events]
    things += [(line.recorded_at, line) for line in scene.consents]
    things += [(entry.at, entry) for entry in scene.suppressions]
    things += scene.asks
    things.sort(key=lambda pair: pair[0])
    done = 0
    for at, group in _groups(things, scene.start, grain):
        advance(max(at, clock.now()), desk, courier, clock, "dry run", grain=grain)
        events = [_come_in(t, at) for t in group if isinstance(t, Event)]
        if events:
            ingest(events, (), desk.ledger, desk.playbook, clock)
        lines = [t for t in group if isinstance(t, Consent)]
        if lines:  # those that events stated are known by now, and ignored
            with desk.ledger.begin(sorted({line.customer_id for line in lines})) as uow:
                uow.consents.add(lines)
                withdraw({line.customer_id for line in lines if line.state is ConsentState.OUT}, at, uow)
        if entries := [t for t in group if isinstance(t, Suppression)]:
            with desk.ledger.begin() as uow:
                uow.suppressions.add(entries)
        asks = [t for t in group if isinstance(t, Ask)]
        for first in range(0, len(asks), 200):
            triggers = desk.playbook.spec.triggers
            known = [a for a in asks[first : first + 200] if a.trigger is None or a.trigger in triggers]
            decide([replace(a, at=None, dry_run=False) for a in known], desk)
        done += len(group)
        if report is not None:
            report(at, done)
    advance(max(scene.end, clock.now()), desk, courier, clock, "dry run", grain=grain)
    return tally_of(desk, scene.start)


def _come_in(event: Event, at: datetime) -> Event:
    """The event as it comes in at `at`; what we wrote ourselves stays ours."""
    live = as_live(event, at)
    return replace(live, origin=Origin.OWN) if event.origin is Origin.OWN else live


def _groups(
    things: Sequence[tuple[datetime, Thing]], start: datetime, grain: timedelta
) -> Iterator[tuple[datetime, list[Thing]]]:
    """Things of one instant, or of one step of `grain` since the start, together at its end."""
    group: list[Thing] = []
    at: datetime | None = None
    for when, thing in things:
        mine = when if not grain else start + grain * -(-(when - start) // grain)
        if at is not None and mine != at:
            yield at, group
            group = []
        at = mine
        group.append(thing)
    if at is not None:
        yield at, group


def tally_of(desk: Desk, start: datetime) -> DryTally:
    """What was decided on a ledger since an instant."""
    tally = DryTally()
    for uow, decisions in decisions_of(desk.ledger, start, None):
        sends = uow.sends.get([m.message_id for d in decisions for m in d.messages])
        states = {m: s.state for m, s in sends.items()}
        released = released_of(sends, uow)
        for decision in decisions:
            tally.add(decision, states, released)
    return tally
