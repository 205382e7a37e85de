"""Time that passes: due instants in order, one jump like many steps, history as if live."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.desks import desk_of, playbook_of
from tests.unit.flows.ingesting import added, event, identify, ordered

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock, ReplayClock
from opportune.domain.events import Origin
from opportune.domain.messages import Send
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.replay import TurnTaken, advance, replay, turn
from opportune.ports import Unavailable

T0 = datetime(2026, 3, 1, tzinfo=UTC)
PLAYBOOK = """
topics: {carts: {}, orders: {purpose: transactional}}
consent: {default: {"*": in}}
quiet_hours: {start: "21:00", end: "08:00"}
caps: {daily: {counts: {purpose: marketing}, at_most: 1, in: 20h}}
triggers:
  cart_abandoned:
    on: {event: Product Added, key: properties.cart_id}
    unless: {event: Order Completed}
    wait: 1h
    expires_after: 3d
  thanks:
    kind: transactional
    on: {event: Order Completed, key: properties.order_id}
  seen: {on: {event: Cart Seen}, delay: 30h, when: features.orders_n_30d >= 1, expires_after: 3d}
campaigns:
  cart: {trigger: cart_abandoned, topic: carts, channels: [inapp], expires_after: 3d, content: {inapp: {body: Hello}}}
  thanks: {trigger: thanks, topic: orders, channels: [inapp], obeys_quiet_hours: false, content: {inapp: {body: Ta}}}
  seen: {trigger: seen, topic: carts, channels: [inapp], expires_after: 3d, content: {inapp: {body: Seen}}}
"""


class Postbox:
    """A courier that remembers, and knows a message again by its id. `is_down`: nobody takes anything; `n_left`: dies,
    mid-work, after that many."""

    def __init__(self) -> None:
        self.sent: list[tuple[datetime, str, str]] = []
        self.is_down = False
        self.n_left: int | None = None
        self._ids: set[str] = set()

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        if self.is_down:
            raise Unavailable("nobody is there")
        for send in sends:
            if self.n_left == 0:
                raise KeyboardInterrupt
            if self.n_left is not None:
                self.n_left -= 1
            if send.message_id not in self._ids:
                self.sent.append((at, send.customer_id, send.campaign))
            self._ids.add(send.message_id)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return fresh(tmp_path)


def fresh(folder: Path) -> Desk:
    desk = desk_of(playbook_of(folder, PLAYBOOK), ledger=MemoryLedger(), clock=FixedClock(T0))
    ingest(
        [
            identify(-1, c, timezone=zone)
            for c, zone in [("c1", "Europe/London"), ("c2", "Asia/Kolkata"), ("c3", "America/New_York")]
        ],
        (), desk.ledger, desk.playbook, desk.clock,
    )  # fmt: skip
    return desk


HISTORY = [
    added(9, "k1"), added(9.5, "k1"), added(9.2, "k2", user="c2"), added(10, "k3", user="c3"), ordered(10.2, "k1"),
    added(22, "k4", user="c2"), added(23, "k5"), event("Cart Seen", 11), event("Cart Seen", 11, "c3"),
    added(40, "k6"), added(40.5, "k7", user="c3"), ordered(41.2, "k7", "o2", user="c3"),
]  # fmt: skip


def log_of(desk: Desk) -> list[tuple[datetime, str, str | None, int]]:
    """Every decision: when, whose, why, how many messages."""
    with desk.ledger.read() as uow:
        found, _ = uow.decisions.after("", 1000)
    return sorted((d.decided_at, d.customer_id, d.trigger, d.n_messages) for d in found)


def run(desk: Desk, steps: Sequence[datetime], grain: timedelta = timedelta(0)) -> Postbox:
    post = Postbox()
    known = [e for e in HISTORY if e.event_at <= steps[0]]
    replay(known, steps[0], desk, post, desk.clock, "w", every=grain)  # type: ignore[arg-type]
    for to in steps[1:]:
        advance(to, desk, post, desk.clock, "w", grain=grain)  # type: ignore[arg-type]
    return post


@pytest.mark.parametrize("hours", [1, 7, 24])
def test_one_jump_decides_as_many_steps_do(tmp_path: Path, hours: int) -> None:
    """A month at once, or by the hour: the same decisions and messages at the same instants."""
    end = T0 + timedelta(days=31)
    jumped, stepped = fresh(tmp_path / "a"), fresh(tmp_path / "b")
    start = T0 + timedelta(hours=23)
    at_once = run(jumped, [start, end])
    n = int((end - start) / timedelta(hours=hours))
    by_steps = run(stepped, [start, *(start + timedelta(hours=hours) * i for i in range(1, n)), end])
    assert log_of(jumped) == log_of(stepped)
    assert at_once.sent == by_steps.sent
    assert jumped.clock.now() == stepped.clock.now() == end
    assert sum(at > start for at, _, _ in at_once.sent) >= 3


def test_a_timer_sees_what_was_so_when_it_was_due(desk: Desk) -> None:
    """Timers fire at their own instants, in order, and what waits for the morning leaves in the morning."""
    post = Postbox()
    done = replay(HISTORY, T0 + timedelta(days=5), desk, post, desk.clock, "w")  # type: ignore[arg-type]
    assert (done.n_events, done.n_known) == (len(HISTORY), 0)
    hours = [((at - T0) / timedelta(hours=1), who, campaign) for at, who, campaign in post.sent]
    assert hours == [
        (10.2, "c2", "cart"),  # 15:42 in Kolkata
        (10.2, "c1", "thanks"),  # the cart was bought before its reminder was due
        (13.0, "c3", "cart"),  # due at 06:00 in New York, where the night ends at 08:00
        (30.2, "c2", "cart"),  # due at night; in the morning the cap of 20 hours asks for more
        (32.0, "c1", "cart"),  # due at midnight
        (41.2, "c3", "thanks"),  # the order came after `seen` had asked for one: c3 hears nothing of that
        (56.0, "c1", "cart"),  # due at 41, capped until 52, which is night
        (80.0, "c1", "seen"),  # due at 41 as well, and next in line
    ]


def test_events_of_the_past_are_as_live(desk: Desk) -> None:
    """Received when they happened, and not imported: they may start triggers."""
    replay(HISTORY[:3], T0 + timedelta(days=1), desk, Postbox(), desk.clock, "w")  # type: ignore[arg-type]
    with desk.ledger.read() as uow:
        mine = [e for e in uow.events.of(["c1"])["c1"] if e.name == "Product Added"]
    assert {e.origin for e in mine} == {Origin.LIVE}
    assert all(e.received_at == e.event_at == e.known_at == e.ingested_at for e in mine)


def test_a_courier_that_is_down_is_asked_again_in_replayed_time(desk: Desk) -> None:
    """The retry is a due instant like any other."""
    post = Postbox()
    post.is_down = True
    ingest([ordered(0)], (), desk.ledger, desk.playbook, desk.clock)
    first = advance(T0 + timedelta(seconds=4), desk, post, desk.clock, "w")  # type: ignore[arg-type]
    assert (first.n_retried, post.sent) == (1, [])
    post.is_down = False
    advance(T0 + timedelta(hours=1), desk, post, desk.clock, "w")  # type: ignore[arg-type]
    assert post.sent == [(T0 + timedelta(seconds=5), "c1", "thanks")]


def test_a_death_in_the_middle_loses_nothing_and_decides_nothing_twice(tmp_path: Path) -> None:
    """Killed while handing over, time goes on under another worker: the same decisions, each message once by its id."""
    whole = fresh(tmp_path / "a")
    end = T0 + timedelta(days=4)
    start = T0 + timedelta(hours=9.5)
    known = [e for e in HISTORY if e.event_at <= T0 + timedelta(hours=11)]

    def set_up(desk: Desk) -> None:
        desk.clock.advance(start + timedelta(hours=2))  # type: ignore[attr-defined]
        ingest(known, (), desk.ledger, desk.playbook, desk.clock)

    good = Postbox()
    set_up(whole)
    advance(end, whole, good, whole.clock, "w")  # type: ignore[arg-type]
    assert len(good.sent) >= 4
    for n in range(len(good.sent)):
        cut = fresh(tmp_path / f"b{n}")
        post = Postbox()
        post.n_left = n
        set_up(cut)
        with pytest.raises(KeyboardInterrupt):
            advance(end, cut, post, cut.clock, "w1")  # type: ignore[arg-type]
        post.n_left = None
        advance(end, cut, post, cut.clock, "w2")  # type: ignore[arg-type]
        assert sorted((who, campaign) for _, who, campaign in post.sent) == sorted((w, c) for _, w, c in good.sent)
        assert [row[1:] for row in log_of(cut)] == [row[1:] for row in log_of(whole)]


def test_with_a_grain_time_stops_only_at_its_multiples(desk: Desk) -> None:
    """As a worker that looks every quarter of an hour; never past the instant asked for."""
    post = run(desk, [T0 + timedelta(hours=41), T0 + timedelta(hours=41, minutes=20)], timedelta(minutes=15))
    assert post.sent
    assert {at.minute % 15 for at, _, _ in post.sent} == {0}
    assert desk.clock.now() == T0 + timedelta(hours=41, minutes=20)


def test_time_never_goes_back(desk: Desk) -> None:
    """And says where it stands."""
    with pytest.raises(ValueError, match="2026-03-01T00:00:00"):
        advance(T0 - timedelta(hours=1), desk, Postbox(), desk.clock, "w")  # type: ignore[arg-type]


def test_a_replay_clock_never_set_starts_anywhere(tmp_path: Path) -> None:
    """Also in the past; from then on it only goes forward, and is the same for all who read it."""
    ledger = MemoryLedger()
    clock = ReplayClock(ledger)
    desk = desk_of(playbook_of(tmp_path, PLAYBOOK), ledger=ledger, clock=clock)
    advance(T0, desk, Postbox(), clock, "w")
    assert ReplayClock(ledger).now() == T0
    with pytest.raises(ValueError, match="forward"):
        advance(T0 - timedelta(seconds=1), desk, Postbox(), clock, "w")


def test_two_never_make_time_pass_at_once() -> None:
    """The second is told so; after the first is done, or dead for the length of its lease, it may."""
    ledger, wall = MemoryLedger(), FixedClock(T0)
    with turn(ledger, "a", wall):
        with pytest.raises(TurnTaken), turn(ledger, "b", wall):
            pass
        wall.advance(T0 + timedelta(seconds=31))
        with turn(ledger, "b", wall):
            pass
    with turn(ledger, "b", wall) as renew:
        wall.advance(T0 + timedelta(seconds=50))
        renew()
        with pytest.raises(TurnTaken), turn(ledger, "a", FixedClock(T0 + timedelta(seconds=70))):
            pass
