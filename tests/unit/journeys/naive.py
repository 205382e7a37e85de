"""Journeys as a child would play them: every instance a generator that lives in memory, polled after every move.

An oracle for the real ones: no timers, no listening, no ledger, no versions; a generator simply goes on as it began.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

H = timedelta(hours=1)
CUTTING = ("goal", "exit", "opted_out")


@dataclass
class Said:
    """A message of an instance."""

    at: datetime
    campaign: str
    is_opened: bool = False
    is_released: bool = False


@dataclass
class Walker:
    """One instance. `lines`: (step, result, go, at). `opener`: event id it set out with."""

    journey: str
    customer: str
    key: str
    started_at: datetime
    opener: str
    serial: int
    max_length: timedelta
    again_after: timedelta | None  # null: never
    goal: str | None
    leave: str | None
    program: Callable[["Walker", "Town"], Iterator[datetime | None]]
    lines: list[tuple[str, str, str | None, datetime]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    ended_at: datetime | None = None
    ending: str | None = None
    step: str = ""
    running: Iterator[datetime | None] | None = None
    #: when it looks again at the latest, and what it waits for
    due: datetime | None = None
    awaits: str | None = None

    def note(self, result: str, go: str | None, town: "Town") -> None:
        self.lines.append((self.step, result, go, town.now))

    def stop(self, ending: str, town: "Town") -> None:
        self.lines.append((self.step, ending, None, town.now))
        self.ended_at, self.ending = town.now, ending
        if ending in CUTTING:
            for said in self.said:
                said.is_released = True


@dataclass
class Happened:
    """An event of a customer."""

    at: datetime
    id: str
    name: str
    key: str | None


@dataclass
class Town:
    """Everybody, and what they did. `homes`: id -> whose it is now."""

    now: datetime
    homes: dict[str, str] = field(default_factory=dict)
    events: dict[str, list[Happened]] = field(default_factory=dict)
    opt_outs: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)  # (at, heard at)
    pending: dict[tuple[str, str, str], tuple[datetime, datetime, str]] = field(default_factory=dict)
    walkers: list[Walker] = field(default_factory=list)
    #: trigger -> the journey it starts now, or null
    declared: dict[str, Callable[[str, str, datetime, str, int], Walker] | None] = field(default_factory=dict)
    delays: dict[str, timedelta] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def home(self, who: str) -> str:
        return self.homes.get(who, who)

    # -- what happens ------------------------------------------------------------------------------------------------

    def hears(self, who: str, name: str, at: datetime, id: str, key: str | None, trigger: str | None) -> None:
        """An event arrives. One that is known already changes nothing."""
        if id in self.seen:
            return
        self.seen.add(id)
        home = self.home(who)
        self.events.setdefault(home, []).append(Happened(at, id, name, key))
        if name == "Unsubscribed":
            self.opt_outs.setdefault(home, []).append((at, self.now))
        for walker in self.walkers:
            mine = (walker.goal, walker.leave, walker.awaits, "Unsubscribed")
            if walker.customer == home and walker.due is not None and name in mine:
                walker.due = min(walker.due, self.now)
        if trigger is not None and at + self.delays[trigger] + timedelta(days=1) > self.now:
            place = (trigger, home, key or "")
            due, set_at, by = self.now + self.delays[trigger], at, id
            if place in self.pending:
                old_due, old_at, old_by = self.pending[place]
                if (old_at, old_by) >= (set_at, by):
                    return
                due = min(due, old_due)
            self.pending[place] = (due, set_at, by)

    def opens(self, walker: Walker, n: int) -> None:
        walker.said[n].is_opened = True
        for other in self.walkers:
            if other.customer == walker.customer and other.due is not None:
                other.due = min(other.due, self.now)

    def merges(self, nobody: str, somebody: str, serial_of: Callable[[Walker], str]) -> None:
        """`nobody` turns out to be `somebody`."""
        if self.home(nobody) != nobody:
            return
        self.homes[nobody] = somebody
        self.events.setdefault(somebody, []).extend(self.events.pop(nobody, []))
        moved = [(at, self.now) for at, _ in self.opt_outs.pop(nobody, [])]
        self.opt_outs.setdefault(somebody, []).extend(moved)
        for trigger, who, key in [p for p in self.pending if p[1] == nobody]:
            mine = self.pending.pop((trigger, who, key))
            theirs = self.pending.get((trigger, somebody, key))
            if theirs is None or mine[0] > theirs[0]:
                self.pending[trigger, somebody, key] = mine
        old = [w for w in self.walkers if w.customer == nobody]
        new = [w for w in self.walkers if w.customer == somebody]
        beaten = [w for w in new if _is_beaten(w, old, serial_of)] + [w for w in old if _is_beaten(w, new, serial_of)]
        for walker in beaten:
            walker.stop("merged", self)
        for walker in old:
            walker.customer = somebody
        for walker in old + new:
            walker.due = None if walker.ended_at is not None else self.now

    # -- what follows --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything that is due, in the order in which it was; then everybody is asked, due or not."""
        while True:
            starts = [
                (due, 0, n, place) for n, (place, (due, _, _)) in enumerate(self.pending.items()) if due <= self.now
            ]
            looks = [(w.due, 1, w.serial, w) for w in self.walkers if w.due is not None and w.due <= self.now]
            if not starts and not looks:
                break
            _, kind, _, what = min([*starts, *looks], key=lambda found: found[:3])
            if kind == 0:
                due, _, by = self.pending.pop(what)
                if due + timedelta(days=1) >= self.now:
                    self._set_out(what, due, by)
            else:
                self._poll(what)
        for walker in self.walkers:
            while walker.ended_at is None:
                before = (len(walker.lines), walker.step)
                self._poll(walker)
                if (len(walker.lines), walker.step) == before:
                    break

    def _set_out(self, place: tuple[str, str, str], due: datetime, by: str) -> None:
        trigger, who, key = place
        make = self.declared.get(trigger)
        if make is None:
            return
        one = make(who, key, min(due, self.now), by, len(self.walkers))
        for other in self.walkers:
            if (other.journey, other.customer, other.key) != (one.journey, who, key) or other.ending == "merged":
                continue
            if other.ended_at is None or one.again_after is None or self.now < other.ended_at + one.again_after:
                return
        one.used = {by}
        one.running, one.due = one.program(one, self), self.now
        self.walkers.append(one)

    def _poll(self, walker: Walker) -> None:
        over = self._over(walker)
        if over is not None:
            walker.step = walker.step or "hello"
            walker.stop(over, self)
        else:
            assert walker.running is not None
            try:
                until = next(walker.running)
                limit = walker.started_at + walker.max_length
                walker.due = limit if until is None else min(until, limit)
            except StopIteration:
                walker.stop("completed", self)
        if walker.ended_at is not None:
            walker.due = None

    def _over(self, walker: Walker) -> str | None:
        limit = walker.started_at + walker.max_length
        found = []
        for rank, (name, ending) in enumerate(((walker.goal, "goal"), (walker.leave, "exit"))):
            event = self.first(walker, name, walker.started_at, limit, {walker.opener}) if name else None
            if event is not None:
                found.append((event.at, rank, ending))
        for at, heard_at in self.opt_outs.get(walker.customer, []):
            if heard_at >= walker.started_at:
                found.append((at, 2, "opted_out"))
        if found:
            return min(found)[2]
        return "too_long" if self.now >= limit else None

    def first(
        self, walker: Walker, name: str, since: datetime, before: datetime | None, without: set[str]
    ) -> Happened | None:
        fits = [
            e
            for e in self.events.get(walker.customer, [])
            if e.name == name
            and e.at >= since
            and (before is None or e.at < before)
            and e.id not in without
            and e.key in (None, walker.key)
        ]
        return min(fits, key=lambda e: (e.at, e.id), default=None)

    def says(self, walker: Walker, campaign: str, channel: str = "email") -> bool:
        """Anonymous visitors have no address; an opt-out closes e-mail; `rare` goes once per customer."""
        can = walker.customer.startswith("u")
        can &= channel != "email" or not self.opt_outs.get(walker.customer)
        if campaign == "rare":
            mine = [w for w in self.walkers if w.customer == walker.customer]
            can &= not any(s.campaign == "rare" and not s.is_released for w in mine for s in w.said)
        if can:
            walker.said.append(Said(self.now, campaign))
        return can


def _is_beaten(one: Walker, others: list[Walker], serial_of: Callable[[Walker], str]) -> bool:
    if one.ended_at is not None:
        return False
    for other in others:
        if (other.journey, other.key) != (one.journey, one.key) or other.ending == "merged":
            continue
        if other.ended_at is None or other.ended_at > one.started_at:
            if _far(one, serial_of) < _far(other, serial_of):
                return True
        elif one.again_after is None or one.started_at < other.ended_at + one.again_after:
            return True
    return False


def _far(one: Walker, serial_of: Callable[[Walker], str]) -> tuple[int, int, float, str]:
    return len(one.said), len(one.lines), -one.started_at.timestamp(), serial_of(one)


# -- the programs, said as plainly as they can be ----------------------------------------------------------------------


def message(w: Walker, t: Town, step: str, campaign: str, go: str, other: str) -> bool:
    w.step = step
    ok = t.says(w, campaign)
    w.note("booked" if ok else "refused", None if ok else other, t)
    return ok


def wait(w: Walker, t: Town, step: str, span: timedelta, go: str) -> Iterator[datetime | None]:
    w.step, until = step, t.now + span
    while t.now < until:
        yield until
    w.note("waited", go, t)


def wait_event(
    w: Walker, t: Town, step: str, name: str, span: timedelta, go: str, other: str
) -> Iterator[datetime | None]:
    """Sets `w.came`."""
    w.step, since, until, w.awaits = step, t.now, t.now + span, name
    while True:
        event = t.first(w, name, since, until, w.used)
        if event is not None:
            w.used.add(event.id)
            w.note("happened", go, t)
            break
        if t.now >= until:
            w.note("timed_out", other, t)
            break
        yield until
    w.awaits = None


def wait_opened(
    w: Walker, t: Town, step: str, n: int, span: timedelta, go: str, other: str
) -> Iterator[datetime | None]:
    w.step, until = step, t.now + span
    while sum(s.is_opened for s in w.said) < n:
        if t.now >= until:
            w.note("timed_out", other, t)
            return
        yield until
    w.note("happened", go, t)


def escalate(
    w: Walker, t: Town, step: str, channels: list[str], each: timedelta, go: str, other: str
) -> Iterator[datetime | None]:
    w.step = step
    mine = len(w.said)
    for channel in channels:
        if not t.says(w, "nudge", channel):
            w.note("refused", None, t)
            continue
        w.note("booked", None, t)
        until = t.now + each
        while True:
            if any(s.is_opened for s in w.said[mine:]):
                w.note("engaged", go, t)
                return
            if t.now >= until:
                break
            yield until
    w.note("ignored", other, t)


def long_way(w: Walker, t: Town) -> Iterator[datetime | None]:
    """`LONG` in test_all_together.py."""
    message(w, t, "hello", "hello", "rest", "rest")
    yield from wait(w, t, "rest", 6 * H, "look")
    yield from wait_event(w, t, "look", "Viewed", 24 * H, "open", "nudge")
    if w.lines[-1][1] == "happened":
        yield from wait_opened(w, t, "open", 1, 12 * H, "end", "nudge")
        if w.lines[-1][1] == "happened":
            return
    yield from escalate(w, t, "nudge", ["email", "push"], 3 * H, "end", "fork")
    if w.lines[-1][1] == "engaged":
        return
    w.step = "fork"
    opened = any(s.is_opened for s in w.said)
    w.note("branched", "end" if opened else "last", t)
    if not opened:
        yield from wait(w, t, "last", H, "end")


def round_way(w: Walker, t: Town) -> Iterator[datetime | None]:
    """`ROUND`: says `rare` whenever something was viewed, until it is over."""
    while True:
        w.step, since, w.awaits = "hello", t.now, "Viewed"
        while (event := t.first(w, "Viewed", since, None, w.used)) is None:
            yield None
        w.awaits = None
        w.used.add(event.id)
        w.note("happened", "rare", t)
        message(w, t, "rare", "rare", "hello", "hello")


def short_way(w: Walker, t: Town) -> Iterator[datetime | None]:
    """`SHORT`."""
    yield from wait(w, t, "hello", 2 * H, "say")
    message(w, t, "say", "hello", "end", "end")
