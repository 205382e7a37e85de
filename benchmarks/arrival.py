"""The same envelopes in whatever order: `python -m benchmarks.arrival [envelopes] [orders] [a shop] [on SQLite]`.

Envelopes with their four times kept come duplicated, shuffled and up to 48 hours late; features, identity and
eligibility must come out the same, byte for byte. Shops are independent of each other, each a ledger of its own: in
memory, and as many envelopes as the last argument says once more on SQLite, in shops ten times as large.
Prints one line per order of delivery, all shops together; exit 1 when they differ.
"""

import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import FixedClock
from opportune.decision.consent import Standing
from opportune.domain.customers import Consent
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.instants import to_us
from opportune.domain.timers import Timer
from opportune.flows.arm import WAITING, patience
from opportune.flows.ingest import ingest
from opportune.playbook.load import Playbook, load_files
from opportune.playbook.reach import ConsentPolicy
from opportune.ports import Ledger

END = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = timedelta(days=21)
LATEST = timedelta(hours=48)
BATCHES = (2, 40, 400)
#: Long waits, so that at the end, when the last envelope is in, many timers are still worth firing.
PLAYBOOK = b"""
topics: {carts: {}, orders: {purpose: transactional}}
consent: {default: {"*": in}}
triggers:
  cart_abandoned:
    on: {event: Product Added, key: properties.cart_id, when: event.price >= 5}
    unless: [{event: Order Completed}, {event: Cart Emptied, key: properties.cart_id}]
    wait: 4d
    expires_after: 10d
  quiet_after_views:
    on: {event: Product Viewed}
    unless: {event: Order Completed}
    wait: 2d
    expires_after: 9d
  order_confirmed:
    kind: transactional
    on: {event: Order Completed, key: properties.order_id}
    expires_after: 12d
  welcome: {on: {event: Signed Up}, delay: 6h, expires_after: 12d}
  keen: {on: {event: Product Viewed, key: properties.product_id}, at_least: 2, in: 10d, expires_after: 9d}
  busy: {on: [{event: Product Viewed}, {event: Product Added}], at_least: 3, in: 3d, expires_after: 9d}
  bought_what_they_saw:
    steps: [{event: Product Viewed}, {event: Product Added}, {event: Order Completed}]
    in: 6d
    expires_after: 12d
  silent: {inactive_for: 2d, on: [{event: Product Viewed}, {event: Product Added}], expires_after: 9d}
  no_sign_of_life: {inactive_for: 4d, expires_after: 9d}
campaigns:
  cart: {trigger: cart_abandoned, topic: carts, channels: [email], content: {email: {subject: A, body: B}}}
  view: {trigger: quiet_after_views, topic: carts, channels: [push], content: {push: {body: B}}}
  order: {trigger: order_confirmed, topic: orders, channels: [inapp], content: {inapp: {body: B}}}
  hello: {trigger: welcome, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
  like: {trigger: keen, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
  help: {trigger: busy, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
  thanks: {trigger: bought_what_they_saw, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
  miss: {trigger: silent, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
  gone: {trigger: no_sign_of_life, topic: carts, channels: [inapp], content: {inapp: {body: B}}}
"""
#: Event name -> how often.
_TRACKED = {
    "Product Viewed": 30, "Product Added": 22, "Product Removed": 6, "Order Completed": 8, "Order Refunded": 3,
    "Cart Emptied": 2, "Signed Up": 2, "Email Opened": 6, "Email Delivered": 5, "Unsubscribed": 3,
    "Email Marked as Spam": 1, "Segment Consent Preference Updated": 4,
}  # fmt: skip


def playbook() -> Playbook:
    """Every kind of trigger that events set off: absence, event, transactional, sequence, threshold, inactivity."""
    return load_files({"playbook.yaml": PLAYBOOK})


def envelopes(n: int, seed: int = 11, n_each: int = 20) -> list[Event]:
    """`n` envelopes of about n / n_each people, in order of receipt.

    Everybody has a browser of their own and every third shares one with the next; some users are renamed by `alias`.
    Orders, refunds, carts, opt-outs and preferences, under the user id and before it is known. Some arrive hours after
    they happened, and many happen at the very same instant.
    """
    draw = random.Random(seed)
    people = max(2, n // n_each)
    found = [_envelope(i, draw, draw.randrange(people), people) for i in range(n)]
    return sorted(found, key=lambda e: (e.received_at, e.message_id))


def _envelope(i: int, draw: random.Random, person: int, people: int) -> Event:
    happened_at = END - timedelta(minutes=draw.randrange(int(SPAN.total_seconds() // 60)))
    lag = timedelta(seconds=draw.choice((0, 0, 1, 30, draw.randrange(30 * 3600))))
    user: str | None = f"u{person}"
    browser = f"b{(person + 1) % people if person % 3 == 0 and draw.random() < 0.5 else person}"
    kind, name, previous = EventKind.TRACK, draw.choices(list(_TRACKED), list(_TRACKED.values()))[0], None
    properties, traits, context = _properties(draw, person), {}, {}
    dice = draw.random()
    if dice < 0.12:
        kind = EventKind.IDENTIFY
        traits = {draw.choice(("plan", "city", "email")): f"v{draw.randrange(9)}"}
    elif dice < 0.13:
        kind, previous = EventKind.ALIAS, f"u{(person + 1) % people}" if person % 7 == 0 else f"old{person}"
    elif dice < 0.16:
        kind = EventKind.PAGE
    elif dice < 0.55:
        user = None
    if kind is EventKind.IDENTIFY or name == "Segment Consent Preference Updated":
        said = {c: draw.random() < 0.5 for c in ("email", "push", "profiling") if draw.random() < 0.4}
        context = {"consent": {"categoryPreferences": said}}
    if kind is EventKind.TRACK and user is not None and draw.random() < 0.05:
        user = f"old{person}"
    return Event(
        message_id=f"m{i:07}",
        kind=kind,
        name=NAMES_BY_KIND.get(kind, name),
        user_id=user,
        anonymous_id=browser if user is None or kind is EventKind.IDENTIFY or draw.random() < 0.5 else None,
        original_at=happened_at,
        sent_at=happened_at + lag,
        received_at=happened_at + lag,
        event_at=happened_at,
        known_at=happened_at + lag,
        ingested_at=happened_at + lag,
        origin=Origin.LIVE,
        properties=properties if kind is EventKind.TRACK else {},
        traits=traits,
        context=context,
        previous_id=previous,
    )


def _properties(draw: random.Random, person: int) -> dict[str, Any]:
    return {
        "cart_id": f"k{person}-{draw.randrange(3)}",
        "order_id": f"o{draw.randrange(10**6)}",
        "product_id": f"p{draw.randrange(40)}",
        "price": draw.choice((2.5, 9.99, 20, 75.5)),
        "quantity": draw.choice((1, 1, 2)),
        "revenue": round(draw.random() * 90, 2),
        "email_id": f"l{person}-{draw.randrange(4)}",
        "channel": draw.choice(("email", "push")),
    }


def deliveries(log: Sequence[Event], seed: int) -> Iterator[tuple[datetime, list[Event]]]:
    """(now, batch) in order of delivery. Seed 0: once, as received. Else up to 48 h late, a tenth of them twice."""
    draw = random.Random(seed)
    late = LATEST.total_seconds()
    coming: list[tuple[datetime, float, Event]] = []
    for event in log:
        for _ in range(1 if not seed or draw.random() > 0.1 else 2):
            after_s = 0.0 if not seed or draw.random() < 0.2 else draw.random() * late
            coming.append((event.received_at + timedelta(seconds=after_s), draw.random() if seed else 0.0, event))
    coming.sort(key=lambda it: (it[0], it[1], it[2].message_id))
    start = 0
    while start < len(coming):
        batch = coming[start : start + draw.choice(BATCHES)]
        start += len(batch)
        events = [event for _, _, event in batch]
        if seed:
            draw.shuffle(events)
        yield batch[-1][0], events


@dataclass(frozen=True, slots=True)
class Picture:
    """What must not depend on the order of arrival: texts to compare, hashed, and how much there was to compare."""

    hashes: dict[str, str]
    sizes: dict[str, int]
    parts: dict[str, dict[str, Any]]


def picture(ledger: Ledger, log: Sequence[Event], book: Playbook, at: datetime) -> Picture:
    """Features, identity and eligibility as of `at`, after every envelope of the log.

    Eligibility: what a customer allows; every timer that waits for an absence and is still worth firing with its due
    instant; every other trigger started, with the envelope that started it. When such a one is due is a fact: its delay
    from when we knew.
    """
    keys = sorted({e.id_key for e in log})
    with ledger.read() as uow:
        whose = uow.identities.canonical(keys)
        ids = sorted(set(whose.values()))
        parts: dict[str, dict[str, Any]] = {"identity": dict(whose)}
        events, states, people = uow.events.of(ids), uow.states.get(ids), uow.customers.get(ids)
        parts["events"] = {c: [e.message_id for e in found] for c, found in events.items()}
        parts["features"] = {c: states[c].state.hex() for c in events}
        parts["traits"] = {
            c: [sorted(people[c].traits.items()), to_us(people[c].first_seen_at), to_us(people[c].last_seen_at)]  # type: ignore[arg-type]
            for c in events
        }
        consents, timers = uow.consents.of(ids), uow.timers.of(ids)
    parts["consents"] = {c: _said(consents[c]) for c in events if consents.get(c)}
    parts["timers"] = {c: found for c in ids if (found := _waiting(timers.get(c, ()), book, at))}
    return Picture(
        hashes={name: hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
                for name, part in parts.items()},
        sizes={name: len(part) for name, part in parts.items()},
        parts=parts,
    )  # fmt: skip


def _said(lines: Sequence[Consent]) -> list[Any]:
    standing, policy = Standing(lines), ConsentPolicy(default={"*": "in"})
    refused = [standing.refusal(channel, "carts", False, policy) for channel in ("email", "push", "inapp")]
    return [
        [None if r is None else r.reason.value for r in refused],
        standing.may_profile(policy),
        sorted([c.consent_id, c.channel, c.topic, c.state.value, to_us(c.at), c.source] for c in lines),
    ]


def _waiting(timers: Collection[Timer], book: Playbook, at: datetime) -> list[Any]:
    found = []
    for timer in timers:
        trigger = book.spec.triggers[timer.rule]
        if timer.set_at + patience(trigger) + trigger.expires_after <= at:
            continue  # too late to be fired
        due_us = to_us(timer.due_at) if trigger.kind in WAITING else None
        found.append([timer.rule, timer.key, to_us(timer.set_at), timer.set_by, due_us, sorted(timer.payload.items())])
    return sorted(found)


def deliver(ledger: Ledger, log: Sequence[Event], book: Playbook, seed: int) -> Picture:
    """Take in every envelope in the order of `seed`; the picture at the end."""
    for now, batch in deliveries(log, seed):
        ingest(batch, [], ledger, book, FixedClock(now))
    return picture(ledger, log, book, END + LATEST + timedelta(hours=30))


def main(n: int = 1_000_000, n_orders: int = 5, shop: int = 2_000, n_sql: int = 20_000) -> int:
    """Print both tables; 1 when an order of delivery differs from the first, which is that of receipt."""
    print("in memory")
    odd = compare(n, n_orders, shop, lambda folder: MemoryLedger())
    print("on SQLite")
    odd |= compare(n_sql, n_orders, 10 * shop, lambda folder: SqlLedger(f"sqlite:///{folder}/l.db", is_durable=False))
    return int(odd)


def compare(n: int, n_orders: int, shop: int, opened: Callable[[Path], Ledger]) -> bool:
    """Print one table; true when an order of delivery differs."""
    book = playbook()
    took, odd, sizes = [0.0] * n_orders, [set[str]() for _ in range(n_orders)], dict[str, int]()
    for number, start in enumerate(range(0, n, shop)):
        log = envelopes(min(shop, n - start), number)
        first: Picture | None = None
        for order in range(n_orders):
            with tempfile.TemporaryDirectory() as folder:
                ledger = opened(Path(folder))
                started = time.perf_counter()
                got = deliver(ledger, log, book, order)
                took[order] += time.perf_counter() - started
                ledger.close()
            first = first or got
            odd[order] |= {name for name in got.hashes if got.hashes[name] != first.hashes[name]}
        assert first is not None
        sizes = {name: sizes.get(name, 0) + size for name, size in first.sizes.items()}
        if number % 25 == 24:
            print(f"{min(start + shop, n):,} envelopes", file=sys.stderr)
    for order in range(n_orders):
        words = "as received" if not order else f"late, order {order}"
        verdict = "same" if not odd[order] else "DIFFERENT: " + ", ".join(sorted(odd[order]))
        print(f"{words:<16}{n / took[order]:>9,.0f} envelopes/s   {verdict}")
    print("compared: " + ", ".join(f"{name} of {size:,}" for name, size in sizes.items()))
    return any(odd)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
