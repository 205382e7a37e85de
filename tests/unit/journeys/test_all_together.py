"""Journeys and timers against a naive model: late, shuffled and repeated events, clock jumps, workers killed between
transactions, playbook edits, merges.

`OPPORTUNE_JOURNEY_EXAMPLES` and `OPPORTUNE_JOURNEY_STEPS` set how much is tried on memory; the full proof is
`OPPORTUNE_JOURNEY_EXAMPLES=2000 pytest -n 0 tests/unit/journeys/test_all_together.py`.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import create_engine
from tests.desks import NOON, desk_of
from tests.unit.journeys.naive import H, Town, Walker, long_way, round_way, short_way
from tests.unit.journeys.on_the_way import BASE

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.sql_tables import metadata
from opportune.adapters.system_clock import FixedClock
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.journeys import PREFIX, Instance
from opportune.flows.fire import fire
from opportune.flows.ingest import ingest
from opportune.flows.walk import walk
from opportune.playbook.load import Playbook, load_files
from opportune.ports import Ledger, UnitOfWork

EXAMPLES = int(os.environ.get("OPPORTUNE_JOURNEY_EXAMPLES", "100"))
STEPS = int(os.environ.get("OPPORTUNE_JOURNEY_STEPS", "50"))
ON_SQL = max(6, EXAMPLES // 20)

SHOP = BASE.replace(
    "triggers:\n",
    "caps: {rare: {counts: {campaign: rare}, at_most: 1, in: 365d}}\n"
    "triggers:\n  browsed: {on: {event: Browsed}, delay: 1h}\n",
).replace(
    "campaigns:\n",
    "campaigns:\n  rare: {topic: news, channels: [email], content: {email: {subject: s, body: b}}}\n",
)
LONG = """
  long:
    start: cart
    goal: order
    exit: [{event: Left}]
    reentry: after 2d
    max_length: 5d
    steps:
      - {name: hello, message: hello}
      - {name: rest, wait: 6h}
      - {name: look, wait_until: {event: Viewed, for: 1d}, else: nudge}
      - {name: open, wait_until: {opened: 1, for: 12h}, go: end, else: nudge}
      - {name: nudge, escalate: {campaign: nudge, channels: [email, push], each: 3h}, go: end, else: fork}
      - {name: fork, branch: [{when: journey.opened_n > 0, go: end}]}
      - {name: last, wait: 1h}
"""
ROUND = """
  round:
    start: browsed
    exit: {event: Left}
    reentry: always
    max_length: 9d
    steps:
      - {name: hello, wait_until: {event: Viewed}}
      - {name: rare, message: rare, go: hello}
"""
SHORT = """
  long:
    start: cart
    reentry: never
    steps: [{name: hello, wait: 2h}, {name: say, message: hello}]
"""


def _declare(text: str) -> Playbook:
    return load_files({"p": (SHOP + text).encode()})


def _long(who: str, key: str, at: datetime, by: str, n: int) -> Walker:
    return Walker("long", who, key, at, by, n, 120 * H, 48 * H, "Order Completed", "Left", long_way)


def _round(who: str, key: str, at: datetime, by: str, n: int) -> Walker:
    return Walker("round", who, key, at, by, n, 216 * H, timedelta(0), None, "Left", round_way)


def _short(who: str, key: str, at: datetime, by: str, n: int) -> Walker:
    return Walker("long", who, key, at, by, n, timedelta(days=90), None, None, None, short_way)


#: edits of the playbook, and what its triggers then start
EDITS = {
    "both": (_declare("journeys:" + LONG + ROUND), {"cart": _long, "browsed": _round}),
    "edited": (_declare("journeys:" + SHORT + ROUND), {"cart": _short, "browsed": _round}),
    "gone": (_declare(""), {"cart": None, "browsed": None}),
}
NAMES = {"add": "Product Added", "view": "Viewed", "order": "Order Completed", "leave": "Left", "browse": "Browsed"}
#: Beginnings and middles more often than ends.
WORDS = st.sampled_from(["add", "add", "add", "view", "view", "browse", "browse", "order", "leave"])
STARTS = {"add": "cart", "browse": "browsed"}
WHO = st.sampled_from(["u1", "u1", "u2", "anon:a1", "anon:a2"])
#: Who turns out to be whom.
PAIRS = st.sampled_from([("anon:a1", "u1"), ("anon:a2", "u2")])
KEYS = st.sampled_from(["k1", "k2"])
LAGS = st.sampled_from([0, 0, 0, 1, 30, 300, 1500]).map(lambda minutes: timedelta(minutes=minutes))
JUMPS = st.sampled_from([1, 30, 60, 121, 181, 361, 721, 1441, 3000, 8000]).map(lambda m: timedelta(minutes=m))


#: In which transaction from now, and when in it.
DOOMS = st.tuples(st.integers(0, 3), st.sampled_from(["before", "inside", "after"]))


class Killed(BaseException):
    """The worker is dead."""


class Mortal:
    """A ledger whose process dies in its n-th transaction: before it, in it, or just after its commit."""

    def __init__(self, inner: Ledger) -> None:
        self.inner = inner
        self.doom: tuple[int, str] | None = None

    @contextmanager
    def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
        left, moment = self.doom or (9, "")
        self.doom = None if self.doom is None else (left - 1, moment)
        if left == 0:
            self.doom = None
            if moment == "before":
                raise Killed
        with self.inner.begin(customer_ids) as uow:
            yield uow
            if left == 0 and moment == "inside":
                raise Killed
        if left == 0 and moment == "after":
            raise Killed

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        with self.inner.read() as uow:
            yield uow

    def close(self) -> None:
        self.inner.close()


class AllTogether(RuleBasedStateMachine):
    """Everything that may happen, in any order; after each settling the ledger says what the model says."""

    open_ledger: Callable[[], Ledger] = MemoryLedger

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(NOON)
        self.ledger = Mortal(type(self).open_ledger())
        self.desk = desk_of(EDITS["both"][0], self.ledger, self.clock)  # type: ignore[arg-type]
        self.town = Town(NOON, declared=dict(EDITS["both"][1]), delays={"cart": timedelta(0), "browsed": H})
        self.n_events = 0
        self.stored: list[Event] = []

    def teardown(self) -> None:
        self.settle(None, 7)
        self.ledger.close()

    @initialize()
    def people(self) -> None:
        for who in ("u1", "u2"):
            traits = {"email": f"{who}@example.org", "push_token": who}
            self.take(self.event(EventKind.IDENTIFY, "Identified", who, timedelta(0), traits=traits))

    def event(self, kind: EventKind, name: str, who: str, lag: timedelta, **fields: object) -> Event:
        self.n_events += 1
        now, nameless = self.clock.now(), who.startswith("anon:")
        given: dict[str, object] = {
            "user_id": None if nameless else who, "anonymous_id": who[5:] if nameless else None,
        }  # fmt: skip
        return Event(
            message_id=f"e{self.n_events:05}", kind=kind, name=name, original_at=None, sent_at=None, received_at=now,
            event_at=now - lag, known_at=now, ingested_at=now, origin=Origin.LIVE, **(given | fields),
        )  # type: ignore[arg-type]  # fmt: skip

    def take(self, *events: Event) -> None:
        ingest(list(events), (), self.ledger.inner, self.desk.playbook, self.clock)
        self.stored += events

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(what=st.lists(st.tuples(WORDS, WHO, KEYS, LAGS), min_size=1, max_size=4))
    def happens(self, what: list[tuple[str, str, str, timedelta]]) -> None:
        """Events in one batch, each as late as it likes: so they also come in any order."""
        events = []
        for word, who, key, lag in what:
            name, keyed = NAMES[word], word in ("add", "order")
            events.append(self.event(EventKind.TRACK, name, who, lag, properties={"cart_id": key} if keyed else {}))
        self.take(*events)
        for (word, who, key, _), event in zip(what, events, strict=True):
            keyed = key if word in ("add", "order") else None
            self.town.hears(who, event.name, event.event_at, event.message_id, keyed, STARTS.get(word))

    @precondition(lambda self: len(self.stored) > 2)
    @rule(data=st.data())
    def comes_again(self, data: st.DataObject) -> None:
        """A client repeats what it sent."""
        again = data.draw(st.lists(st.sampled_from(self.stored[2:]), min_size=1, max_size=4))
        ingest(again, (), self.ledger.inner, self.desk.playbook, self.clock)

    @rule(who=WHO, lag=LAGS)
    def opts_out(self, who: str, lag: timedelta) -> None:
        if self.n_events % 4:  # not all too often: it ends everything
            return
        event = self.event(EventKind.TRACK, "Unsubscribed", who, lag)
        self.take(event)
        self.town.hears(who, event.name, event.event_at, event.message_id, None, None)

    @rule(data=st.data())
    def opens(self, data: st.DataObject) -> None:
        spoken = [(w, n) for w in self.town.walkers for n, s in enumerate(w.said) if not s.is_released]
        real = self.instances()
        spoken = [(w, n) for w, n in spoken if n < len(real[w.serial].message_ids)]
        if not spoken:
            return
        walker, n = data.draw(st.sampled_from(spoken))
        message_id = real[walker.serial].message_ids[n]
        self.take(
            self.event(
                EventKind.TRACK, "Email Opened", walker.customer, timedelta(0), properties={"email_id": message_id}
            )
        )
        self.town.opens(walker, n)

    @rule(pair=PAIRS)
    def turns_out_to_be(self, pair: tuple[str, str]) -> None:
        nobody, somebody = pair
        real = self.instances()
        self.take(
            self.event(EventKind.IDENTIFY, "Identified", somebody, timedelta(0), anonymous_id=nobody[5:], traits={})
        )
        self.town.merges(nobody, somebody, lambda w: real[w.serial].instance_id)

    @rule(pair=PAIRS, key=KEYS, word=st.sampled_from(["add", "browse"]), by=JUMPS, merges=st.booleans())
    def two_begin(self, pair: tuple[str, str], key: str, word: str, by: timedelta, merges: bool) -> None:
        """A nameless visitor does as a customer does, a while later; perhaps they are one."""
        nobody, somebody = pair
        self.happens([(word, somebody, key, timedelta(0))])
        self.goes_on(by, None)
        self.happens([(word, nobody, key, timedelta(0))])
        self.goes_on(by, nobody)
        if merges:
            self.turns_out_to_be(pair)

    @rule(edit=st.sampled_from(sorted(EDITS)))
    def is_edited(self, edit: str) -> None:
        playbook, declared = EDITS[edit]
        object.__setattr__(self.desk, "playbook", playbook)
        self.town.declared = dict(declared)

    @rule(by=JUMPS)
    def time_jumps(self, by: timedelta) -> None:
        """Nobody works meanwhile."""
        self.clock.advance(self.clock.now() + by)
        self.town.now = self.clock.now()

    @rule(doom=st.none() | DOOMS, limit=st.integers(1, 5))
    def settle(self, doom: tuple[int, str] | None, limit: int) -> None:
        """Workers work until nothing is due; one of them may die on the way, another has claimed the same."""
        now = self.clock.now()
        with self.ledger.inner.begin() as uow:
            stale = uow.timers.claim(now, 50, now, "slow")
        self.ledger.doom = doom
        while True:
            try:
                if fire(self.desk, "w", limit, timedelta(0)).n_claimed == 0:
                    break
            except Killed:
                continue
        self.ledger.doom = None
        assert walk([t for t in stale if t.rule.startswith(PREFIX)], self.desk) == []
        self.town.settle()
        self.check()

    @rule(by=JUMPS, seen=st.none() | WHO)
    def goes_on(self, by: timedelta, seen: str | None) -> None:
        """A quiet while; at its end perhaps somebody looks at something, and everything due is done."""
        self.time_jumps(by)
        if seen is not None:
            self.happens([("view", seen, "k1", timedelta(0))])
        self.settle(None, 5)

    @rule(by=JUMPS, doom=DOOMS)
    def goes_on_badly(self, by: timedelta, doom: tuple[int, str]) -> None:
        """As well, and a worker dies."""
        self.time_jumps(by)
        self.settle(doom, 3)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def instances(self) -> dict[int, Instance]:
        """Serial number of the model -> the real instance: of one journey, key and opening event."""
        with self.ledger.read() as uow:
            found = uow.journeys.of({"u1", "u2", "anon:a1", "anon:a2"})
        real = {(i.journey, i.started_by, i.key): i for instances in found.values() for i in instances}
        return {w.serial: real[w.journey, w.opener, w.key] for w in self.town.walkers}

    def check(self) -> None:
        people = {"u1", "u2", "anon:a1", "anon:a2"}
        with self.ledger.read() as uow:
            found = [i for instances in uow.journeys.of(people).values() for i in instances]
            lines = uow.journeys.taken([i.instance_id for i in found])
            timers = [t for ts in uow.timers.of(people).values() for t in ts if t.rule.startswith(PREFIX)]
        assert len(found) == len(self.town.walkers)
        real = self.instances()
        for walker in self.town.walkers:
            one = real[walker.serial]
            took = [
                (t.step, str(t.detail.get("ending", t.result.value)), t.detail.get("go"), t.at)
                for t in lines.get(one.instance_id, [])
            ]
            assert took == walker.lines
            assert one.customer_id == walker.customer
            assert len(one.message_ids) == len(walker.said)
        going = sorted((i.rule, i.customer_id, i.key) for i in found if i.ended_at is None)
        assert sorted((t.rule, t.customer_id, t.key) for t in timers) == going


def _run(
    machine: type[AllTogether], n: int, steps: int, phases: Collection[Phase] = (Phase.generate, Phase.shrink)
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=n,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
            database=None,
        ),
    )


def test_in_memory_the_ledger_always_says_what_the_model_says() -> None:
    """Nothing lost, nothing doubled, whatever happens in whatever order."""
    _run(AllTogether, EXAMPLES, STEPS)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_on_sql_the_ledger_always_says_what_the_model_says(database: str, request: pytest.FixtureRequest) -> None:
    """The same on both databases, fewer times."""
    machine = type("OnSql", (AllTogether,), {"open_ledger": staticmethod(_opener(database, request))})
    _run(machine, ON_SQL, STEPS, (Phase.generate,))  # shrinking there takes minutes: do it in memory


def _opener(database: str, request: pytest.FixtureRequest) -> Callable[[], Ledger]:
    if database == "sqlite":
        migrated: Path = request.getfixturevalue("migrated_sqlite")

        def fresh() -> Ledger:
            path = Path(tempfile.mkdtemp(dir=migrated.parent)) / "ledger.db"
            shutil.copy(migrated, path)
            return SqlLedger(f"sqlite:///{path}", migrate=False)

        return fresh
    url: str = request.getfixturevalue("empty_postgres")

    def emptied() -> Ledger:
        engine = create_engine(url)
        with engine.begin() as connection:
            for name in metadata.tables:
                connection.exec_driver_sql(f"DELETE FROM {name}")
        engine.dispose()
        return SqlLedger(url, migrate=False)

    return emptied
