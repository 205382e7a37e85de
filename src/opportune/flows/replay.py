"""Time passes: the replay clock goes from one due instant to the next, and what is due then happens, in order.

What is decided at an instant sees exactly what was so at that instant. So one jump over a month gives the same
decisions as going hour by hour, and history replayed from a file gives those it would have given live.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from opportune.domain.events import Event, Origin
from opportune.domain.instants import from_us, to_us
from opportune.flows.deliver import deliver
from opportune.flows.desk import Desk
from opportune.flows.fire import fire
from opportune.flows.ingest import ingest
from opportune.flows.nightly import next_night_at, pass_night
from opportune.flows.spread import spread
from opportune.flows.sweep import look_round, next_look_at
from opportune.flows.update_items import NEWS
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Courier, Ledger, MovableClock, Unavailable

#: The lease of whoever makes time pass: no two at once, and no worker beside it.
TURN = "time_passes"
HOLD = timedelta(seconds=30)
_US = timedelta(microseconds=1)


class TurnTaken(Unavailable):
    """Another process makes time pass."""


@dataclass(slots=True)
class Passage:
    """What happened while time passed. Counts of timers, of messages, and of the instants at which anything was due."""

    n_instants: int = 0
    n_timers: int = 0
    n_fired: int = 0
    n_dropped: int = 0
    n_messages: int = 0
    n_sent: int = 0
    n_released: int = 0
    n_moved: int = 0
    n_retried: int = 0

    def add(self, other: "Passage") -> None:
        """Count another passage in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def advance(
    to: datetime,
    desk: Desk,
    courier: Courier,
    clock: MovableClock,
    owner: str,
    *,
    grain: timedelta = timedelta(0),
    meanwhile: Callable[[], None] | None = None,
) -> Passage:
    """Move `clock` (the desk's own) to `to`, stopping at every instant at which a timer or a message is due, and at
    midnight where budgets are priced. A clock never set before starts at `to`.

    At each: budgets are priced (nightly.py), customers are looked at (sweep.py), timers fire, then messages are handed
    over, until nothing is due any more. `grain` > 0 gathers what is due up to the next multiple of it (counted from the
    epoch, at most `to`), as a worker does that looks only that often.
    `meanwhile` is called after every instant. Raises ValueError when `to` is earlier than now, Unavailable when the
    ledger is down; what was done until then is done, and calling again goes on.
    """
    clock.start(to)
    if to < clock.now():
        raise ValueError(f"time only moves forward: now is {clock.now().isoformat()}")
    passage = Passage()
    while True:
        now = clock.now()
        night_at = next_night_at(desk.ledger, desk.playbook, now)
        look_at = next_look_at(desk.ledger, desk.playbook, now)
        news_at, timers_at, messages_at = _next_due(desk.ledger, now)
        if night_at is not None and night_at <= now:
            pass_night(desk.ledger, desk.playbook, clock, owner)
            continue
        if news_at is not None and news_at <= now:
            spread(desk.ledger, desk.playbook, clock)
            continue
        if look_at is not None and look_at <= now and look_round(desk, owner):
            continue
        if timers_at is not None and timers_at <= now:
            _fire(desk, owner, passage)
        elif messages_at is not None and messages_at <= now:
            _deliver(desk, courier, clock, passage)
        else:
            waits = (night_at, look_at, news_at, timers_at, messages_at)
            following = min((at for at in waits if at is not None and at > now), default=None)
            if meanwhile is not None:
                meanwhile()
            if following is None or following > to:
                break
            passage.n_instants += 1
            clock.advance(min(to, _rounded_up(following, grain)))
    clock.advance(to)
    return passage


def _fire(desk: Desk, owner: str, passage: Passage) -> None:
    fired = fire(desk, owner)
    passage.n_timers += fired.n_claimed
    passage.n_fired += fired.n_fired
    passage.n_dropped += fired.n_dropped
    passage.n_messages += fired.n_messages


def _deliver(desk: Desk, courier: Courier, clock: Clock, passage: Passage) -> None:
    handed = deliver(desk.ledger, desk.playbook, courier, clock, secret=desk.secret)
    passage.n_sent += handed.n_sent
    passage.n_released += handed.n_released
    passage.n_moved += handed.n_moved
    passage.n_retried += handed.n_retried


def anything_due(ledger: Ledger, playbook: Playbook, now: datetime) -> bool:
    """True when news, a timer or a delivery can be claimed at `now`, somebody has to be looked at, a night is over."""
    waits = (*_next_due(ledger, now), next_look_at(ledger, playbook, now), next_night_at(ledger, playbook, now))
    return any(at is not None and at <= now for at in waits)


def _next_due(ledger: Ledger, now: datetime) -> tuple[datetime | None, datetime | None, datetime | None]:
    """When the next news of the catalogue, timer, and message can be claimed; null: there is none."""
    with ledger.read() as uow:
        return uow.outbox.next_at(NEWS, now), uow.timers.next_at(now), uow.outbox.next_at("deliver", now)


def _rounded_up(at: datetime, grain: timedelta) -> datetime:
    step = grain // _US
    return at if step <= 0 else from_us(-(-to_us(at) // step) * step)


def pass_time(
    to: datetime, desk: Desk, courier: Courier, clock: MovableClock, owner: str, wall: Clock, wait: Callable[[], bool]
) -> Passage:
    """`advance`, alone on the ledger: other processes that want to make time pass wait their turn."""
    with turn(desk.ledger, owner, wall, wait) as renew:
        return advance(to, desk, courier, clock, owner, meanwhile=renew)


@contextmanager
def turn(
    ledger: Ledger, owner: str, wall: Clock, wait: Callable[[], bool] | None = None
) -> Iterator[Callable[[], None]]:
    """Hold the right to make time pass; gives a function that renews it, to be called now and then.

    `wall`: real time, for the lease. `wait` is called while another holds it and says whether to go on waiting; null:
    give up at once. Raises TurnTaken when given up, or when the lease was lost in between.
    """
    held_until = wall.now()

    def renew() -> None:
        nonlocal held_until
        now = wall.now()
        if now < held_until - HOLD / 2:
            return
        if not _lease(ledger, owner, now, now + HOLD):
            raise TurnTaken("the replay clock is being moved by another process: try again")
        held_until = now + HOLD

    while True:
        try:
            renew()
            break
        except TurnTaken:
            if wait is None or not wait():
                raise
    try:
        yield renew
    finally:
        _lease(ledger, owner, wall.now(), wall.now())


def _lease(ledger: Ledger, owner: str, now: datetime, until: datetime) -> bool:
    with ledger.begin() as uow:
        return uow.cursors.lease(TURN, owner, now, until)


def as_live(event: Event, received_at: datetime | None = None) -> Event:
    """The event as if it had come in live: received when it happened, or at `received_at`."""
    at = received_at or event.event_at
    return replace(event, origin=Origin.LIVE, received_at=at, known_at=at, ingested_at=at)


@dataclass(slots=True)
class Replayed:
    """What a replay did: events taken in, events known before, and what happened while time passed."""

    n_events: int = 0
    n_known: int = 0
    passage: Passage = field(default_factory=Passage)


def replay(
    events: Sequence[Event],
    to: datetime,
    desk: Desk,
    courier: Courier,
    clock: MovableClock,
    owner: str,
    *,
    every: timedelta = timedelta(0),
    report: Callable[[datetime, Replayed], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Replayed:
    """History as if live: each event comes in at its own instant, timers fire and messages leave between, up to `to`.

    `every` > 0: events come in together at the next multiple of it, as from clients that send so often. Timers due at
    the very instant of an event go first. `report` is told after every group. Raises as `advance`.
    """
    done = Replayed()
    for at, group in _groups(events, every):
        done.passage.add(advance(max(at, clock.now()), desk, courier, clock, owner, grain=every, meanwhile=meanwhile))
        taken = ingest([as_live(e, at) if every else as_live(e) for e in group], (), desk.ledger, desk.playbook, clock)
        done.n_events += taken.n_accepted
        done.n_known += taken.n_duplicate
        if report is not None:
            report(at, done)
    done.passage.add(advance(max(to, clock.now()), desk, courier, clock, owner, grain=every, meanwhile=meanwhile))
    return done


def _groups(events: Iterable[Event], every: timedelta) -> Iterator[tuple[datetime, list[Event]]]:
    """Events in time order, those of one instant (or one multiple of `every`) together."""
    group: list[Event] = []
    at: datetime | None = None
    for event in sorted(events, key=lambda e: (e.event_at, e.message_id)):
        mine = _rounded_up(event.event_at, every)
        if at is not None and mine != at:
            yield at, group
            group = []
        at = mine
        group.append(event)
    if at is not None:
        yield at, group
