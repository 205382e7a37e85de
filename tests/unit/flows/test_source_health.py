"""Absence waits for its sources, and for nothing else."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.desks import NOON, desk_of, playbook_of
from tests.unit.flows.ingesting import event

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Send
from opportune.domain.timers import Timer
from opportune.flows.desk import Desk
from opportune.flows.fire import fire, fire_all
from opportune.flows.health import (
    INGESTION,
    MINUTE,
    beat_ingestion,
    health,
    minute_of,
    note_signs,
    sources_of,
)
from opportune.flows.ingest import ingest
from opportune.flows.replay import advance
from opportune.ports import Ledger

PLAYBOOK = """
topics: {carts: {}, orders: {purpose: transactional}}
consent: {default: {"*": in}}
triggers:
  left: {on: {event: Product Added}, unless: {event: Order Completed}, wait: 1h}
  quick: {on: {event: Product Added}, unless: {event: Store Visited}, wait: 10s, when: "1 > 2"}
  greeted: {on: {event: Signed Up}, delay: 30m}
campaigns:
  cart: {trigger: left, topic: carts, channels: [inapp], content: {inapp: {body: "Left something?"}}}
  hello: {trigger: greeted, topic: carts, channels: [inapp], content: {inapp: {body: Hello}}}
"""
DECLARED = """
sources:
  shop: {events: [Order Completed], heartbeat: {event: Shop Alive, every: 5m}, grace: 20m}
  tills: {events: [Store Visited], min_rate: {at_least: 3, in: 30m}}
"""


class Sink:
    """Remembers when which customer was spoken to."""

    def __init__(self) -> None:
        self.at: dict[str, datetime] = {}

    def deliver(self, sends: list[Send], at: datetime) -> None:
        for send in sends:
            assert send.customer_id not in self.at
            self.at[send.customer_id] = at


def watching(folder: Path, ledger: Ledger | None = None, text: str = PLAYBOOK) -> tuple[Desk, FixedClock]:
    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(folder, text), ledger=ledger, clock=clock)
    return replace(desk, is_watching=True), clock


def beats(ledger: Ledger, start: datetime, end: datetime, source: str = INGESTION) -> None:
    """A sign of life in every minute from start to before end."""
    n = (minute_of(end) - minute_of(start)) // MINUTE
    with ledger.begin() as uow:
        uow.sources.count(source, [(minute_of(start) + i * MINUTE, 4) for i in range(n)])


def waiting(rule: str, customer: str, due_at: datetime, set_at: datetime = NOON) -> Timer:
    return Timer(
        rule=rule, customer_id=customer, key="", due_at=due_at, set_at=set_at, set_by=customer,
        expires_at=due_at + timedelta(hours=24),
    )  # fmt: skip


def test_after_an_outage_of_ours_nothing_false_is_said_and_all_fire_within_a_minute(tmp_path: Path) -> None:
    """10,000 carts due in 30 minutes of outage; 500 of them were ordered meanwhile, and we hear of it afterwards."""
    ledger = MemoryLedger()
    desk, clock = watching(tmp_path, ledger)
    due_at, down_at, up_at = NOON + 60 * MINUTE, NOON + 40 * MINUTE, NOON + 70 * MINUTE
    everybody = [f"c{i:05}" for i in range(10_000)]
    with ledger.begin() as uow:
        uow.timers.arm([waiting("left", customer, due_at) for customer in everybody])
    beats(ledger, NOON - 60 * MINUTE, down_at)

    def fired_by(at: datetime) -> dict[str, datetime]:
        clock.advance(at)
        fire_all(desk, "w", limit=5000)
        with ledger.read() as uow:
            return {customer: lines[0][2] for customer, lines in uow.timers.fired(everybody, NOON).items()}

    for minutes in (0, 5, 6, 9):
        assert fired_by(due_at + minutes * MINUTE) == {}
    beats(ledger, up_at, up_at + 180 * MINUTE)
    assert fired_by(up_at + 5 * MINUTE) == {}
    ordered = everybody[::20]  # in the outage; their clients send it again when we are back
    late = [_at(event("Order Completed", 0, c, mid=c), NOON + 50 * MINUTE, clock.now()) for c in ordered]
    ingest(late, (), ledger, desk.playbook, clock)
    settled_at = up_at + 10 * MINUTE
    assert fired_by(settled_at - timedelta(seconds=1)) == {}
    assert fired_by(settled_at + MINUTE) == dict.fromkeys(set(everybody) - set(ordered), settled_at + MINUTE)


def _at(one: Event, happened_at: datetime, came_at: datetime) -> Event:
    return replace(one, event_at=happened_at, received_at=came_at, known_at=came_at, ingested_at=came_at)


def test_a_quiet_shop_fires_on_time(tmp_path: Path) -> None:
    """A day without a single event, our ingestion up: due, plus the allowed lateness; a short wait is not stretched."""
    ledger = MemoryLedger()
    desk, clock = watching(tmp_path, ledger)
    due_at = NOON + timedelta(hours=23)
    with ledger.begin() as uow:
        uow.timers.arm([waiting("left", "c1", due_at), waiting("quick", "c2", due_at)])
    beats(ledger, NOON, NOON + timedelta(days=2))
    sink = Sink()
    advance(due_at + timedelta(seconds=9), desk, sink, clock, "w")
    with ledger.read() as uow:
        assert uow.timers.pending() == 2
    advance(due_at + timedelta(seconds=10), desk, sink, clock, "w")
    with ledger.read() as uow:
        assert uow.timers.pending() == 1
    advance(NOON + timedelta(days=2), desk, sink, clock, "w")
    assert sink.at == {"c1": due_at + timedelta(minutes=5)}


def test_other_kinds_never_wait(tmp_path: Path) -> None:
    """In the middle of an outage an event trigger fires to the minute."""
    ledger = MemoryLedger()
    desk, clock = watching(tmp_path, ledger)
    beats(ledger, NOON - timedelta(hours=1), NOON)
    due_at = NOON + timedelta(minutes=30)
    with ledger.begin() as uow:
        uow.timers.arm([waiting("greeted", "c1", due_at), waiting("left", "c2", due_at)])
    sink = Sink()
    advance(due_at + timedelta(minutes=10), desk, sink, clock, "w")
    assert sink.at == {"c1": due_at}


def test_without_any_sign_ever_and_on_the_replay_clock_nothing_waits(tmp_path: Path) -> None:
    """There is nothing to judge by, or history is complete; only the allowed lateness is kept, in real time."""
    for is_watching, late in ((True, timedelta(minutes=5)), (False, timedelta(0))):
        desk, clock = watching(tmp_path / str(is_watching))
        desk = replace(desk, is_watching=is_watching)
        with desk.ledger.begin() as uow:
            uow.timers.arm([waiting("left", "c1", NOON)])
        sink = Sink()
        advance(NOON + timedelta(hours=1), desk, sink, clock, "w")
        assert sink.at == {"c1": NOON + late}


@pytest.mark.parametrize(
    ("down", "now", "is_well", "settled"),
    [
        (None, 60, True, None),
        ((10, 20), 60, True, None),
        ((48, 52), 60, True, 62),
        ((49, 50), 60, True, None),  # a restart: less than two minutes
        ((50, 70), 51.5, True, None),
        ((50, 70), 52, False, None),
        ((50, 70), 69, False, None),
        ((50, 70), 70.5, True, 80),
    ],
)
def test_ours_is_well_while_a_sign_comes_every_minute(
    tmp_path: Path, down: tuple[int, int] | None, now: float, is_well: bool, settled: float | None
) -> None:
    """Two silent minutes are an outage; it is settled a grace of ten minutes after the first new sign."""
    desk, _ = watching(tmp_path)
    start, end = down or (0, 0)
    beats(desk.ledger, NOON, NOON + start * MINUTE)
    beats(desk.ledger, NOON + end * MINUTE, NOON + 300 * MINUTE)
    with desk.ledger.read() as uow:
        found = health(desk.playbook, NOON + now * MINUTE, uow)[INGESTION]
    # signs of the future are not there yet in life: look only at what is past
    assert (found.is_well, found.settled_at) == (is_well, None if settled is None else NOON + settled * MINUTE)


def test_declared_sources_hold_what_depends_on_them(tmp_path: Path) -> None:
    """A heartbeat that stops, a rate that is not met: only triggers whose `unless` may come from there wait."""
    ledger = MemoryLedger()
    desk, clock = watching(tmp_path, ledger, PLAYBOOK + DECLARED)
    beats(ledger, NOON - timedelta(hours=1), NOON + timedelta(days=1))

    def alive(minute: int, name: str, mid: str, origin: Origin = Origin.LIVE) -> Event:
        at = NOON + minute * MINUTE
        return _at(event(name, 0, "till", mid=mid, origin=origin), at, at)

    came = [alive(m, "Shop Alive", f"a{m}") for m in (*range(0, 30, 5), *range(60, 120, 5))]
    came += [alive(m, "Store Visited", f"v{m}") for m in range(0, 120, 10)]
    came += [alive(m, "Shop Alive", f"i{m}", Origin.IMPORT) for m in range(30, 60)]
    ingest(came, (), ledger, desk.playbook, clock)
    while note_signs(ledger, desk.playbook, limit=7):
        continue

    def state(minute: int) -> dict[str, tuple[bool, datetime | None]]:
        with ledger.read() as uow:
            found = health(desk.playbook, NOON + minute * MINUTE, uow)
        return {name: (one.is_well, one.settled_at) for name, one in found.items()}

    assert state(29) == {"ingestion": (True, None), "shop": (True, None), "tills": (True, NOON + 30 * MINUTE)}
    assert state(40)["shop"] == (False, None)
    assert state(61)["shop"] == (True, NOON + 80 * MINUTE)
    assert state(81)["shop"] == (True, None)
    assert state(90)["tills"] == (True, None)
    assert state(150)["tills"] == (False, None)

    with ledger.begin() as uow:
        uow.timers.arm([waiting("left", "c1", NOON + 35 * MINUTE), waiting("quick", "c2", NOON + 35 * MINUTE)])
    sink = Sink()
    advance(NOON + 79 * MINUTE, desk, sink, clock, "w")
    with ledger.read() as uow:
        assert set(uow.timers.of(["c1", "c2"])) == {"c1"}
    advance(NOON + 81 * MINUTE, desk, sink, clock, "w")
    assert sink.at == {"c1": NOON + 80 * MINUTE}


def test_a_beat_is_one_line_a_minute(tmp_path: Path) -> None:
    """However often it beats."""
    desk, clock = watching(tmp_path)
    for _ in range(5):
        beat_ingestion(desk.ledger, clock)
        clock.advance(clock.now() + timedelta(seconds=15))
    with desk.ledger.read() as uow:
        assert uow.sources.minutes(INGESTION, NOON) == [(NOON, 4), (NOON + MINUTE, 1)]
    assert set(sources_of(desk.playbook)) == {INGESTION}


def test_a_held_timer_is_claimed_but_neither_fired_nor_dropped(tmp_path: Path) -> None:
    """It stays pending as it was."""
    desk, clock = watching(tmp_path)
    timer = waiting("left", "c1", NOON)
    with desk.ledger.begin() as uow:
        uow.timers.arm([timer])
    report = fire(desk, "w")
    assert (report.n_claimed, report.n_fired, report.n_dropped) == (1, 0, 0)
    with desk.ledger.read() as uow:
        assert uow.timers.of(["c1"])["c1"] == [timer]
        assert uow.timers.next_at(clock.now()) == NOON + timedelta(minutes=5)
