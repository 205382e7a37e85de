"""Caps under any story: grants, confirmations, releases, hand-offs, failures, merges, accounts and the clock at random.

Every grant and every hand-off is checked against a model that recounts all windows by hand, every refusal against the
first instant it finds free. `make bench-caps` runs 2,000 stories of 50 steps in memory and 100 on each database.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.desks import NOON, desk_of, playbook_of
from tests.machines.caps_model import Model, Row
from tests.unit.flows.ingesting import event

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import FixedClock
from opportune.decision import record
from opportune.decision.zones import zone_of
from opportune.domain.decisions import Ask, Decision, Reason
from opportune.domain.events import EventKind
from opportune.domain.messages import Deliver, Send, SendState
from opportune.flows.decide import decide
from opportune.flows.deliver import deliver, report_status
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.playbook.load import Playbook
from opportune.ports import Ledger, Unavailable

IS_PROOF = bool(os.environ.get("OPPORTUNE_CAPS_PROOF"))
N_MEMORY, N_SQL, N_STEPS = (2000, 100, 50) if IS_PROOF else (100, 8, 50)
PLAYBOOK = """
topics: {offers: {}, news: {}}
consent: {default: {"*": in}}
caps:
  weekly: {counts: {purpose: marketing}, at_most: 4, in: 7d}
  careful: {counts: {topic: offers}, at_most: 3, in: 2d,
            adapt: {by: features.views_n_7d, from: 3, to: 1, between: [0, 3]}}
  daily: {counts: {channel: email}, at_most: 1, in: calendar day}
  spaced: {counts: {tag: promo}, at_least_apart: 5h}
  company: {per: account, at_most: 3, in: 3d, at_least_apart: 1h}
triggers: {one: {kind: request}, two: {kind: request}, three: {kind: request}, four: {kind: request}}
campaigns:
  promo: {trigger: one, topic: offers, channels: [inapp, email], tags: [promo], expires_after: 3d, priority: 3,
          tolerance: 2h, content: {email: {subject: A, body: A}, inapp: {body: A}}}
  news: {trigger: two, topic: news, channels: [inapp], expires_after: 20h, priority: 2, content: {inapp: {body: B}}}
  patient: {trigger: three, topic: offers, channels: [email], expires_after: 9d, priority: 1,
            content: {email: {subject: C, body: C}}}
  held: {trigger: three, topic: news, channels: [inapp], tags: [promo], expires_after: 4d, holdout: 0.5,
         content: {inapp: {body: D}}}
  free: {trigger: four, topic: news, channels: [inapp], obeys_caps: false, tags: [promo], content: {inapp: {body: E}}}
  uncounted: {trigger: four, topic: offers, channels: [inapp], counts_toward_caps: false, expires_after: 2d,
              content: {inapp: {body: F}}}
"""
ZONES = ("Europe/London", "America/Havana", None, "Asia/Kathmandu")
MINUTES = st.sampled_from([1, 7, 30, 61, 300, 1440, 2880]) | st.integers(0, 3000)
stories = itertools.count()
LATE = st.sampled_from([timedelta(seconds=s) for s in (0, 0, 5, 1800, 3 * 3600, 40 * 3600)])
people, any_time = st.integers(0, 3), st.integers(0, 10_000)


def loaded(extra: str = "") -> Playbook:
    """The playbook, once."""
    with TemporaryDirectory() as folder:
        return playbook_of(Path(folder), PLAYBOOK + extra)


#: Everything as early as it may go; and waiting for an hour, so that bookings lie ahead in any order.
EARLY, WAITING = loaded(), loaded("send_time: {default_hour: 15}\n")
CAMPAIGNS = EARLY.spec.campaigns


class StoryDesk(Desk):
    """A desk at which the same story comes out the same, whatever its number."""

    def unit(self, customer_id: str) -> str:
        """Holdouts draw by it."""
        return super().unit(customer_id.partition("c")[2])


class CapsMachine(RuleBasedStateMachine):
    """Four customers, two accounts, one ledger; ids are of one story only, so that stories may share a database."""

    opened: Ledger | None = None

    def __init__(self) -> None:
        super().__init__()
        story = next(stories)
        self.ledger = self.opened or MemoryLedger()
        self.clock, self.book = FixedClock(NOON), EARLY
        numbers = itertools.count()
        self.new_id = lambda: f"s{story}d{next(numbers)}"
        self.open_desk(EARLY)
        self.model = Model(EARLY.spec.caps)
        self.ids = [f"s{story}c{i}" for i in range(4)]
        self.home = {c: c for c in self.ids}
        self.accounts = [f"s{story}a{i}" for i in range(2)]
        self.in_account: dict[str, tuple[datetime, str]] = {}
        self.n_events = itertools.count()
        self.is_down = False
        self.asks_meanwhile: list[Ask] = []
        for customer_id, zone in zip(self.ids, ZONES, strict=True):
            traits = {"email": "a@example.org", **({"timezone": zone} if zone else {})}
            self.tell(EventKind.IDENTIFY, customer_id, traits=traits)

    def open_desk(self, book: Playbook) -> None:
        """Decide by this playbook from now on."""
        made, self.book = desk_of(book, self.ledger, self.clock), book
        self.desk = StoryDesk(**{f.name: getattr(made, f.name) for f in fields(made)} | {"new_id": self.new_id})

    @initialize(waits=st.booleans())
    def choose_book(self, waits: bool) -> None:
        """Which of the two playbooks this story has."""
        self.open_desk(WAITING if waits else EARLY)

    def teardown(self) -> None:
        """Leave no delivery for the next story."""
        with self.ledger.begin() as uow:
            far = datetime(9000, 1, 1, tzinfo=UTC)
            uow.outbox.done(uow.outbox.claim("deliver", far, 10_000, far))

    def tell(self, kind: EventKind | str, customer_id: str, **more: object) -> dict[str, str]:
        """One event now; who was merged into whom."""
        hours = (self.clock.now() - datetime(2026, 3, 1, tzinfo=UTC)) / timedelta(hours=1)
        given = {k: v for k, v in more.items() if k in ("traits", "previous")}
        made = event(kind, hours, customer_id, mid=f"{customer_id}-{next(self.n_events)}", **given)  # type: ignore[arg-type]
        made = replace(made, event_at=self.clock.now(), group_id=more.get("group"))
        return ingest([made], [], self.ledger, self.book, self.clock).merged

    def zone(self, customer_id: str) -> tzinfo:
        """Where the customer's calendar is cut."""
        with self.ledger.read() as uow:
            found = uow.customers.get([customer_id]).get(customer_id)
        return (zone_of(found.zone) if found else None) or UTC

    # what happens

    @rule(
        who=people,
        trigger=st.sampled_from(["one", "two", "three", "four", None]),
        n=st.integers(1, 3),
        is_ours=st.booleans(),
        others=st.lists(people, max_size=2),
    )
    def grant(self, who: int, trigger: str | None, n: int, is_ours: bool, others: list[int]) -> None:
        """Decisions are asked for, perhaps several at once."""
        by = Deliver.SERVICE if is_ours else Deliver.CALLER
        self.ask([Ask(customer_id=self.ids[c], trigger=trigger, max_messages=n, deliver=by) for c in (who, *others)])

    @rule(pick=any_time, late=MINUTES)
    @precondition(lambda self: self.model.rows)
    def confirm(self, pick: int, late: int) -> None:
        """A caller says it was sent, some time ago perhaps, and perhaps long after it was released."""
        row = self.picked(pick, lambda r: r.deliver is Deliver.CALLER and not r.is_virtual)
        if row is None:
            return
        said_at = self.clock.now() - timedelta(minutes=late)
        report_status(row.message_id, "sent", said_at, None, self.ledger, self.clock)
        if row.state is not SendState.SENT:
            row.at = max(said_at, row.reserved_at)
            row.state = SendState.SENT

    @rule(pick=any_time)
    @precondition(lambda self: self.model.rows)
    def release(self, pick: int) -> None:
        """A caller says it was not sent."""
        row = self.picked(pick, lambda r: r.state is SendState.RESERVED and r.deliver is Deliver.CALLER)
        if row is not None:
            report_status(row.message_id, "not_sent", None, None, self.ledger, self.clock)
            row.state = SendState.RELEASED

    @rule(late=LATE, is_down=st.booleans(), who=people, meanwhile=st.sampled_from([None, "one", "two", "three"]))
    def hand_off(self, late: timedelta, is_down: bool, who: int, meanwhile: str | None) -> None:
        """The worker delivers what is due, late perhaps; the courier may be down; somebody may ask meanwhile."""
        due = sorted((r.at, r.customer) for r in self.model.rows.values() if r.gives_way and not r.is_virtual)
        self.clock.advance(max(self.clock.now(), (due[0][0] if due else NOON) + late))
        self.is_down, now = is_down, self.clock.now()
        asking = due[0][1] if due and who else self.ids[who]  # mostly who is just being written to
        self.asks_meanwhile = [Ask(customer_id=asking, trigger=meanwhile)] if meanwhile else []
        before = {m: r.state for m, r in self.model.rows.items()}
        deliver(self.ledger, self.book, self._Courier(self), self.clock)
        self.note_hand_offs(before)
        newer = self.model.rows.keys() - before.keys()
        for message_id, state in before.items():
            row = self.model.rows[message_id]
            has_left = row.state is SendState.SENT and state is SendState.RESERVED and row.at == now
            if has_left and row.obeys:
                assert not self.model.late_breaks(row, self.zone(row.customer), newer), row

    @rule(minutes=MINUTES)
    def wait(self, minutes: int) -> None:
        """Time passes."""
        self.clock.advance(self.clock.now() + timedelta(minutes=minutes))

    @rule(who=people)
    def look_round(self, who: int) -> None:
        """A view, which makes the careful cap stricter for this customer."""
        self.tell("Product Viewed", self.ids[who])

    @rule(who=people, account=st.integers(0, 1))
    def join_account(self, who: int, account: int) -> None:
        """The customer joins an account, or moves to another one."""
        self.clock.advance(self.clock.now() + timedelta(seconds=1))  # of one instant, the message id would decide
        self.tell(EventKind.GROUP, self.ids[who], group=self.accounts[account])
        self.in_account[self.home[self.ids[who]]] = (self.clock.now(), self.accounts[account])

    @rule(one=people, other=people)
    def merge(self, one: int, other: int) -> None:
        """Two customers turn out to be one."""
        if one == other:
            return
        self.clock.advance(self.clock.now() + timedelta(seconds=1))
        gone = self.tell(EventKind.ALIAS, self.ids[other], previous=self.ids[one])
        for old, new in gone.items():
            self.home = {c: new if h == old else h for c, h in self.home.items()}
            stamps = [self.in_account[c] for c in (old, new) if c in self.in_account]
            if stamps:
                self.in_account[new] = max(stamps)
            for row in self.model.rows.values():
                row.customer = new if row.customer == old else row.customer

    # what must hold

    def ask(self, asks: Sequence[Ask]) -> None:
        """Decide; every grant keeps every cap in every window, every refusal by caps is right and exact."""
        answers = decide(asks, self.desk)
        # Who was asked for under a merged id is decided after the others.
        moved = [self.home.get(a.customer_id, a.customer_id) != a.customer_id for a in asks]
        for _, ask, answer in sorted(zip(moved, asks, answers, strict=True), key=lambda row: row[0]):
            assert isinstance(answer, Decision)
            self.check_answer(ask, answer)

    def check_answer(self, ask: Ask, answer: Decision) -> None:
        """One answer, after all before it."""
        with self.ledger.read() as uow:
            stored = uow.decisions.get(answer.decision_id)
            sends = uow.sends.get([m.message_id for m in answer.messages])
        assert stored is not None
        case = record.case_from_json(stored.case)
        views = case.features["views_n_7d"]
        assert isinstance(views, int)
        limits = {"careful": max(1, int(3 - 2 * min(views, 3) / 3 + 1e-9))}
        customer = self.home.get(ask.customer_id, ask.customer_id)
        assert answer.customer_id == customer
        zone, account = self.zone(customer), self.in_account.get(customer, (None, None))[1]
        if not answer.messages or ask.max_messages == 1:  # else what went before took room
            self.check_refusals(answer, customer, account, zone, limits)
        for message in sorted(answer.messages, key=lambda m: m.rank):
            row = self.row(sends[message.message_id], account, limits)
            assert row.customer == customer
            if row.obeys:
                assert not self.model.broken(row, row.at, zone), row
                if self.book is EARLY:
                    assert row.at == self.model.opening(row, answer.decided_at, zone), row
            self.model.rows[row.message_id] = row

    def row(self, send: Send, account: str | None, limits: dict[str, int]) -> Row:
        """A fresh reservation as the model keeps it: the account is the model's own knowledge."""
        return Row(
            message_id=send.message_id, customer=send.customer_id, account=account, at=send.send_at, state=send.state,
            deliver=send.deliver, channel=send.channel, topic=send.topic, purpose=send.purpose, campaign=send.campaign,
            tags=send.tags, obeys=send.obeys_caps, counts=send.counts, limits=limits, is_virtual=send.is_virtual,
            reserved_at=send.reserved_at,
        )  # fmt: skip

    def check_refusals(
        self, answer: Decision, customer: str, account: str | None, zone: tzinfo, limits: dict[str, int]
    ) -> None:
        """What caps removed could go at no instant before it expires, and opens exactly when it is said to."""
        now = answer.decided_at
        for removal in answer.removed:
            if removal.reason not in (Reason.FREQUENCY_CAP, Reason.SPACING):
                continue
            spec = CAMPAIGNS[removal.campaign]
            what = Row(
                message_id="", customer=customer, account=account, at=now, state=SendState.RESERVED,
                deliver=Deliver.CALLER, channel=str(removal.channel), topic=spec.topic, purpose="marketing",
                campaign=removal.campaign, tags=spec.tags, obeys=True, counts=True, limits=limits, is_virtual=False,
                reserved_at=now,
            )  # fmt: skip
            opens = self.model.opening(what, now, zone)
            assert opens == removal.would_pass_at, removal
            assert opens is None or opens >= now + spec.expires_after, removal

    def note_hand_offs(self, before: dict[str, SendState]) -> None:
        """Take over what the worker did: which went, which were moved, which were released. Caps alone may move."""
        with self.ledger.read() as uow:
            now_stored = uow.sends.get(list(self.model.rows))
        for message_id, send in now_stored.items():
            row = self.model.rows[message_id]
            if row.state is SendState.RESERVED and row.deliver is Deliver.SERVICE:
                assert not (send.is_virtual and send.state is not SendState.RESERVED)
                row.state, row.at = send.state, send.counts_at
            assert (row.state, row.at, row.customer, row.account) == (
                send.state, send.counts_at, send.customer_id, send.account_id,
            )  # fmt: skip

    def picked(self, pick: int, test: object) -> Row | None:
        """One of the rows that fit."""
        fitting = [r for r in self.model.rows.values() if test(r)]  # type: ignore[operator]
        return fitting[pick % len(fitting)] if fitting else None

    class _Courier:
        """Hands over, unless it is down; while it is at work, somebody asks."""

        def __init__(self, machine: "CapsMachine") -> None:
            self.machine = machine

        def deliver(self, sends: Sequence[Send], now: datetime) -> None:
            """Note where these are now, then let the others ask."""
            machine = self.machine
            machine.note_hand_offs({})
            machine.ask(machine.asks_meanwhile)
            if machine.is_down:
                raise Unavailable("the courier is down")


def run(ledger: Ledger | None, n_examples: int) -> None:
    """Tell this many stories on one ledger; a new one in memory for each when it is null."""
    machine = type("Machine", (CapsMachine,), {"opened": ledger})
    checked = settings(
        max_examples=n_examples,
        stateful_step_count=N_STEPS,
        deadline=None,
        database=None,
        derandomize=not IS_PROOF,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=checked)


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """A ledger closed afterwards."""
    ledger = SqlLedger(url, migrate=False, is_durable=False)
    try:
        yield ledger
    finally:
        ledger.close()


def test_no_story_breaks_a_cap_in_memory() -> None:
    """Random stories: nothing granted or handed off over any cap, nothing refused that could go."""
    run(None, N_MEMORY)


def test_no_story_breaks_a_cap_on_sqlite(sqlite_url: str) -> None:
    """The same on SQLite."""
    with opened(sqlite_url) as ledger:
        run(ledger, N_SQL)


@pytest.mark.service
def test_no_story_breaks_a_cap_on_postgresql(empty_postgres: str) -> None:
    """The same on PostgreSQL."""
    with opened(empty_postgres) as ledger:
        run(ledger, N_SQL)


def test_who_decides_while_the_courier_is_at_work_counts_the_message_where_it_is() -> None:
    """Seconds late at hand-off: what is granted in that very moment keeps its distance from now, not from the slot."""
    story = CapsMachine()
    story.grant(1, "one", 1, True, [])
    story.hand_off(timedelta(seconds=5), False, 1, "one")
    first, second = story.model.rows.values()
    assert (first.state, first.at, second.at) == (
        SendState.SENT, NOON + timedelta(seconds=5), NOON + timedelta(hours=5, seconds=5),
    )  # fmt: skip
