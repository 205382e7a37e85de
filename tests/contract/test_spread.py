"""News of the catalogue on every ledger: told page by page, to everybody once, whatever happens in between."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from tests.unit.flows.ingesting import T0, at, event

from opportune.adapters.system_clock import FixedClock
from opportune.domain.events import EventKind
from opportune.domain.items import ItemUpdate
from opportune.domain.timers import Timer, TimerFate
from opportune.flows import spread as spreading
from opportune.flows.ingest import ingest
from opportune.flows.note import note_interest
from opportune.flows.spread import spread, spread_all
from opportune.flows.update_items import NEWS, put_items
from opportune.playbook.load import load_files
from opportune.ports import Ledger
from opportune.triggers.interest import all_signals, noted

PLAYBOOK = load_files(
    {
        "p.yaml": b"""
topics: {offers: {}}
triggers:
  cheaper: {change: price_drop}
  cheaper_too: {change: price_drop, cooldown: 7d}
campaigns:
  a: {trigger: cheaper, topic: offers, channels: [inapp], content: {inapp: {body: A}}}
  b: {trigger: cheaper_too, topic: offers, channels: [inapp], content: {inapp: {body: B}}}
"""
    }
)


def put(ledger: Ledger, clock: FixedClock, **fields: object) -> None:
    put_items([ItemUpdate(item_id="p1", at=clock.now(), fields=fields)], ledger, clock)


def look(ledger: Ledger, clock: FixedClock, *people: tuple[str | None, str | None]) -> None:
    events = [
        event("Product Viewed", 0, user, anonymous, properties={"product_id": "p1"}) for user, anonymous in people
    ]
    ingest(events, (), ledger, PLAYBOOK, clock)


def drop(ledger: Ledger, n: int) -> FixedClock:
    """A shop whose item got cheaper after `n` people had looked at it."""
    clock = FixedClock(at(1))
    look(ledger, clock, *((f"c{i:02}", None) for i in range(n)))
    put(ledger, clock, price_minor=100)
    put(ledger, clock, price_minor=80)
    return clock


def armed(ledger: Ledger) -> Counter[tuple[str, str]]:
    """(rule, customer) of every pending timer."""
    with ledger.read() as uow:
        everybody = uow.customers.all_ids("", 1000)
        return Counter((t.rule, t.customer_id) for timers in uow.timers.of(everybody).values() for t in timers)


def test_everybody_hears_once_of_each_trigger_page_by_page(ledger: Ledger) -> None:
    """Also when the last page is full, and when news is asked for again."""
    clock = drop(ledger, 20)
    assert spread_all(ledger, PLAYBOOK, clock, limit=5) > 8
    assert armed(ledger) == {(rule, f"c{i:02}"): 1 for rule in ("cheaper", "cheaper_too") for i in range(20)}
    with ledger.read() as uow:
        assert uow.outbox.depth(NEWS) == 0
        timer = uow.timers.of(["c00"])["c00"][0]
    assert (timer.key, timer.payload["old_price_minor"], timer.payload["item"]["price_minor"]) == ("p1", 100, 80)
    assert spread(ledger, PLAYBOOK, clock) == 0


def test_a_worker_that_dies_between_pages_loses_and_doubles_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim runs out and another goes on; one that comes back late with an old claim tells nobody again."""
    clock = drop(ledger, 12)
    while spread(ledger, PLAYBOOK, clock, 5):
        with ledger.begin() as uow:  # the next claims, and dies
            uow.outbox.claim(NEWS, clock.now(), 9, clock.now() + timedelta(seconds=60))
        clock.advance(clock.now() + timedelta(seconds=61))
    assert set(armed(ledger).values()) == {1}
    assert len(armed(ledger)) == 24

    put(ledger, clock, price_minor=70)
    with ledger.begin() as uow:
        (stale,) = uow.outbox.claim(NEWS, clock.now(), 1, clock.now() + timedelta(seconds=60))
    clock.advance(clock.now() + timedelta(seconds=61))
    spread_all(ledger, PLAYBOOK, clock, limit=5)
    versions = {t.version for t in _timers(ledger)}
    spreading._tell(stale, ledger, PLAYBOOK, clock.now(), 5)
    assert {t.version for t in _timers(ledger)} == versions


def _timers(ledger: Ledger) -> list[Timer]:
    with ledger.read() as uow:
        return [t for timers in uow.timers.of(uow.customers.all_ids("", 1000)).values() for t in timers]


@pytest.mark.parametrize("seed", range(4))
def test_merges_between_pages_lose_and_double_nobody(ledger: Ledger, seed: int) -> None:
    """Visitors sign in while the news spreads: each person hears once, told before or after."""
    draw = random.Random(seed)
    clock = FixedClock(at(1))
    look(ledger, clock, *((None, f"a{i}") for i in range(12)), *((f"c{i:02}", None) for i in range(12)))
    put(ledger, clock, price_minor=100)
    put(ledger, clock, price_minor=80)
    waiting = [(f"c{i:02}", f"a{i}") for i in range(12)]
    draw.shuffle(waiting)
    fired = Counter[tuple[str, str]]()
    while spread(ledger, PLAYBOOK, clock, 3):
        for user, anonymous in waiting[:2]:
            ingest([event("Signed In", 1, user, anonymous, mid=f"in-{user}")], (), ledger, PLAYBOOK, clock)
            ingest([event(EventKind.IDENTIFY, 1, user, anonymous)], (), ledger, PLAYBOOK, clock)
        waiting = waiting[2:]
        if draw.random() < 0.5:  # some fire at once
            with ledger.begin() as uow:
                due = uow.timers.claim(clock.now(), 4, clock.now() + timedelta(seconds=60), "w")
                uow.timers.finish(due, TimerFate.FIRED, clock.now())
                fired.update((t.rule, t.customer_id) for t in due)
    with ledger.read() as uow:
        now_is = uow.identities.canonical([f"a:a{i}" for i in range(12)])
    people = Counter[tuple[str, str]]()
    for (rule, customer), n in (armed(ledger) + fired).items():
        people[rule, now_is.get(f"a:{customer.removeprefix('anon:')}", customer)] += n
    assert {customer for _, customer in people} == {f"c{i:02}" for i in range(12)}
    assert len(people) == 24
    assert all(n <= 2 for n in people.values())  # two people told before they turned out to be one


def test_interest_is_a_function_of_the_events(ledger: Ledger) -> None:
    """Noted in any order and pages, with repeats, it is what the events say; no catalogue trigger, nothing is noted."""
    clock = FixedClock(at(9))
    events = [
        event(name, hour, user, properties={"product_id": item})
        for hour, (name, user, item) in enumerate(
            [("Product Viewed", "c1", "p1"), ("Product Added", "c1", "p1"), ("Product Viewed", "c2", "p2"),
             ("Order Completed", "c1", "p1"), ("Product Viewed", "c1", "p1"), ("Searched", "c2", "p1")]
        )
    ]  # fmt: skip
    for one in [*events[::-1], *events]:
        ingest([one], (), ledger, PLAYBOOK, clock)
    while note_interest(ledger, PLAYBOOK, limit=2):
        continue
    wanted: dict[tuple[str, str, str], object] = {}
    for row in noted(events, all_signals(PLAYBOOK), PLAYBOOK):
        place = (row.subject, row.id_key, row.name)
        wanted[place] = max(wanted.get(place, T0), row.last_at)  # type: ignore[type-var]
    with ledger.read() as uow:
        rows = [row for subject in ("i:p1", "i:p2") for row in uow.interests.of(subject, ["u:c1", "u:c2"])]
    assert {(r.subject, r.id_key, r.name): r.last_at for r in rows} == wanted
    assert note_interest(ledger, load_files({"p.yaml": b"topics: {}\n"})) == 0
