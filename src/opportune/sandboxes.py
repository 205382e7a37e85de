"""A sandbox for your own tests: a playbook, a ledger in memory, and a clock that only you move.

    with opportune.sandbox(playbook="my-playbook/") as o:
        o.identify("c1", email="ada@example.org", timezone="Europe/London")
        o.track("c1", "Product Added", cart_id="k1", price=40, quantity=1)
        o.advance("1h")
        assert [m.campaign for m in o.messages] == ["cart_reminder"]

No server and no disk; nothing outlives the block. There are no models: scores are those a test gives (`o.score`),
else missing. Timers fire and messages leave at their own instants while the clock passes them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from opportune import __version__
from opportune.adapters.memory_features import MemoryFeatures
from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.decision import record
from opportune.decision.hours import SEND_TIME
from opportune.domain.decisions import Ask, Decision
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import EventKind, Origin
from opportune.domain.instants import format_instant, parse_instant
from opportune.domain.item_updates import read_update
from opportune.domain.messages import Deliver, Send
from opportune.domain.refusals import Refused
from opportune.flows import consent as consents
from opportune.flows.decide import AskRefused, decide
from opportune.flows.deliver import report_status
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.lookup import stored
from opportune.flows.people import canonical_ids
from opportune.flows.profile import profile
from opportune.flows.project import project
from opportune.flows.replay import advance
from opportune.flows.scoring import GivenScores
from opportune.flows.update_items import put_items
from opportune.playbook.load import SCORES, Playbook, load, load_files
from opportune.playbook.values import parse_duration

#: Where the clock of a sandbox stands at first: a Monday, noon UTC.
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
_OWNER = "sandbox"
_ALL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message the service handed over. `content` holds subject, body, cta; `reasons` why it was chosen; `step` of a
    journey, else null."""

    customer_id: str
    campaign: str
    trigger: str
    channel: str
    variant: str | None
    at: datetime
    content: Mapping[str, Any]
    reasons: tuple[str, ...]
    message_id: str
    decision_id: str
    step: str | None = None


class Sandbox:
    """One small Opportune. Events count as live, at the sandbox's own now unless `at` says otherwise.

    Every method that takes an event raises ValueError, naming the field, for what the HTTP door would refuse.
    """

    def __init__(self, playbook: Playbook, at: datetime, scores: Mapping[str, float] = MappingProxyType({})) -> None:
        self._clock = FixedClock(at)
        self._numbers = itertools.count(1)
        self._scorer = GivenScores()
        self.score(**scores)
        self._messages: list[Message] = []
        self.playbook = playbook
        #: What every flow works with, for tests that want more than the methods here.
        self.desk = Desk(
            ledger=MemoryLedger(),
            features=MemoryFeatures(),
            scorer=self._scorer,
            playbook=playbook,
            clock=self._clock,
            secret=b"sandbox",
            code_version=__version__,
            new_id=lambda: f"d-{next(self._numbers)}",
        )
        with self.desk.ledger.begin() as uow:
            uow.playbooks.put(playbook.hash, playbook.source, at)

    @property
    def now(self) -> datetime:
        """Where the clock stands, aware UTC."""
        return self._clock.now()

    @property
    def messages(self) -> list[Message]:
        """What has been handed over so far, oldest first."""
        return list(self._messages)

    def identify(self, user_id: str, /, *, anonymous_id: str | None = None, at: Any = None, **traits: Any) -> None:
        """Set traits of a customer, `email`, `timezone`, `is_test` among them; with `anonymous_id`, join the two."""
        self._take({"userId": user_id, "anonymousId": anonymous_id, "traits": traits}, EventKind.IDENTIFY, at)

    def track(self, user_id: str | None, event: str, /, *, at: Any = None, **properties: Any) -> None:
        """An event of a customer, with its properties. `properties={...}` gives names that are no Python names."""
        self._take({"userId": user_id, "event": event, "properties": _spread(properties)}, EventKind.TRACK, at)

    def page(self, user_id: str, name: str | None = None, /, *, at: Any = None, **properties: Any) -> None:
        """A page view."""
        self._take({"userId": user_id, "name": name, "properties": _spread(properties)}, EventKind.PAGE, at)

    def alias(self, user_id: str, previous_id: str, /, *, at: Any = None) -> None:
        """Merge the history of `previous_id` into `user_id`."""
        self._take({"userId": user_id, "previousId": previous_id}, EventKind.ALIAS, at)

    def send(self, envelope: Mapping[str, Any]) -> None:
        """Any event in the shape of a batch item: `type`, `userId`, `event`, `properties`, `timestamp`..."""
        self._take(dict(envelope), None, None)

    def item(self, item_id: str, /, **fields: Any) -> None:
        """What is so of an item of the catalogue, as `PUT /v1/items/{id}`. Raises ValueError naming the field."""
        update = read_update(fields, self.now, item_id)
        put_items([update], self.desk.ledger, self._clock)
        self._settle()

    def consent(self, user_id: str, channel: str, state: str, *, topic: str = "*") -> None:
        """What a customer allows: `in` or `out`, on a channel (or `*`, or `profiling`) and topic."""
        if state not in ("in", "out"):
            raise ValueError(f"state is 'in' or 'out', not {state!r}")
        consents.put(
            customer_id=user_id,
            channel=channel,
            topic=topic,
            state=state,
            source="sandbox",
            at=None,
            ledger=self.desk.ledger,
            clock=self._clock,
        )

    def decide(
        self,
        customer_id: str,
        trigger: str | None = None,
        *,
        channels: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
        max_messages: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Ask for a decision, as `POST /v1/decisions` does; the answer has the same shape. Raises ValueError."""
        return self._decide(customer_id, trigger, channels, context, max_messages, dry_run)

    def ask(
        self,
        customer_id: str,
        trigger: str | None = None,
        *,
        channels: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
        max_messages: int | None = None,
    ) -> list[Message]:
        """As `decide`, but only the messages of the answer, `at` the instants at which they are to leave."""
        answer = self._decide(customer_id, trigger, channels, context, max_messages, False)
        with self.desk.ledger.read() as uow:
            sends = uow.sends.get([m["message_id"] for m in answer["messages"]])
        return [_message(send, send.send_at) for send in sends.values()]

    def score(self, **p: float) -> None:
        """What models say of everybody from now on, by name: `o.score(churn=0.8)`. Raises ValueError."""
        for name, value in p.items():
            if name not in SCORES or name == SEND_TIME:
                known = ", ".join(sorted(SCORES - {SEND_TIME}))
                raise ValueError(f"there is no probability called {name!r}; there are: {known}")
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], not {value!r}")
        self._scorer.given.update(p)

    def log(self) -> list[dict[str, Any]]:
        """Every decision so far, oldest first, in the shape of the HTTP answer."""
        with self.desk.ledger.read() as uow:
            rows, _ = uow.decisions.after("", _ALL)
        return [record.decision_to_dict(record.decision_from_json(row.decision)) for row in rows]

    def _decide(
        self,
        customer_id: str,
        trigger: str | None,
        channels: Sequence[str] | None,
        context: Mapping[str, Any] | None,
        max_messages: int | None,
        dry_run: bool,
    ) -> dict[str, Any]:
        ask = Ask(
            customer_id=customer_id,
            trigger=trigger,
            channels=tuple(channels) if channels is not None else None,
            context=dict(context or {}),
            max_messages=max_messages,
            deliver=Deliver.CALLER,
            dry_run=dry_run,
        )
        answer = decide([ask], self.desk)[0]
        if isinstance(answer, AskRefused):
            raise ValueError(answer.message)
        assert isinstance(answer, Decision)  # only a firing can be withdrawn
        return record.decision_to_dict(answer)

    def status(self, message_id: str, status: str, *, reason: str | None = None) -> None:
        """What became of a message: sent, not_sent, delivered, opened, clicked... KeyError: no such message."""
        report_status(message_id, status, None, reason, self.desk.ledger, self._clock)
        self._settle()

    def explain(self, decision_id: str) -> dict[str, Any]:
        """A past decision with its whole trace. Raises KeyError when there is none."""
        found = stored(decision_id, self.desk.ledger, explain=True)
        if found is None:
            raise KeyError(decision_id)
        return found

    def customer(self, customer_id: str) -> dict[str, Any]:
        """Traits, consent, features now, sends, timers, as `GET /v1/customers/{id}`. KeyError: nobody by that name."""
        found = profile(customer_id, self.desk)
        if found is None:
            raise KeyError(customer_id)
        return found

    def journeys(self, customer_id: str) -> list[dict[str, Any]]:
        """Journeys the customer is or was on, oldest first: name, key, step, and ending (null: still on the way)."""
        with self.desk.ledger.read() as uow:
            who = canonical_ids([customer_id], uow)[customer_id]
            found = uow.journeys.of([who]).get(who, [])
        return [{"name": i.journey, "key": i.key, "step": i.step, "ending": i.ending} for i in found]

    def decisions(self, customer_id: str | None = None) -> list[str]:
        """The newest decisions, at most 100, as sentences; their ids are in `explain` and `messages`."""
        with self.desk.ledger.read() as uow:
            rows = uow.decisions.newest(customer_id, 100)
        return [f"{r.decision_id} {r.customer_id}: {record.decision_from_json(r.decision).summary}" for r in rows]

    def advance(self, by: str | timedelta | datetime) -> datetime:
        """Move the clock by a duration (`"1h"`, a timedelta) or to an instant; what is due on the way happens on time.

        Returns the new now. Raises ValueError for a duration that cannot be read, or for going back.
        """
        target = by.astimezone(UTC) if isinstance(by, datetime) else self.now + _duration(by)
        if target < self.now:
            raise ValueError(f"the clock only moves forward: it stands at {format_instant(self.now)}")
        self._pass_time(target)
        return target

    def _take(self, item: dict[str, Any], kind: EventKind | None, at: Any) -> None:
        if at is not None:
            item["timestamp"] = at.isoformat() if isinstance(at, datetime) else at
        reading = Reading(
            received_at=self.now, origin=Origin.LIVE, new_id=lambda: f"e-{next(self._numbers)}", retention=None
        )
        try:
            event = read_envelope(item, reading, kind)
        except Refused as refused:
            raise ValueError(refused.message) from None
        ingest([event], (), self.desk.ledger, self.playbook, self._clock)
        self._settle()

    def _settle(self) -> None:
        """Everything that is due now, until nothing is."""
        self._pass_time(self.now)

    def _pass_time(self, to: datetime) -> None:
        advance(to, self.desk, self, self._clock, _OWNER, meanwhile=self._project)
        with self.desk.ledger.read() as uow:
            left = uow.timers.next_due()
        if left is not None and left <= self.now:
            raise RuntimeError(
                f"something due by {format_instant(self.now)} could not be decided: see the log of this test"
            )

    def _project(self) -> None:
        while project(self.desk.ledger, self.desk.features, self._clock, _OWNER):
            continue

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        """The sandbox is its own courier: handed-over messages join `messages`."""
        self._messages += [_message(s, at) for s in sends]


def _message(send: Send, at: datetime) -> Message:
    return Message(
        customer_id=send.customer_id,
        campaign=send.campaign,
        trigger=send.trigger,
        channel=send.channel,
        variant=send.variant,
        at=at,
        content=send.payload.get("content", {}),
        reasons=tuple(send.payload.get("reasons", ())),
        message_id=send.message_id,
        decision_id=send.decision_id,
        step=send.payload.get("step"),
    )


@contextmanager
def sandbox(playbook: str | Path | None = None, *, at: datetime | str = START) -> Iterator[Sandbox]:
    """A sandbox over a playbook: a folder or file, or the YAML itself (a text of several lines); null: the default one.

    `at`: where the clock stands at first. Raises PlaybookInvalid with every problem, ValueError for a naive `at`.
    """
    start = parse_instant(at) if isinstance(at, str) else at
    if start.tzinfo is None:
        raise ValueError(f"at {start!r} has no zone: give it one, like datetime(2026, 1, 5, 12, tzinfo=UTC)")
    yield Sandbox(_read(playbook), start.astimezone(UTC))


def _read(playbook: str | Path | None) -> Playbook:
    if isinstance(playbook, str) and "\n" in playbook:
        return load_files({"playbook": playbook.encode()})
    return load(None if playbook is None else Path(playbook))


def _duration(by: str | timedelta) -> timedelta:
    found = parse_duration(by)
    if not isinstance(found, timedelta):
        raise ValueError(f"{by!r} is no duration: write it like '1h', or give a timedelta")
    return found


def _spread(properties: dict[str, Any]) -> dict[str, Any]:
    """Keyword properties, with those of a `properties` dictionary among them."""
    named = properties.pop("properties", None)
    if named is None:
        return properties
    if not isinstance(named, Mapping):
        raise ValueError(f"properties must be a dictionary, not {type(named).__name__}")
    return {**named, **properties}
