"""A door with fakes behind it: real ledger twin, real playbook, flows that answer at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.api.app import create_app
from opportune.api.parts import Flows, Parts
from opportune.domain.decisions import Ask, Decision, Message, Mode, Reason, Removal, Score, Stage
from opportune.domain.events import DeadLetter, Event
from opportune.flows.decide import AskRefused
from opportune.flows.desk import Desk
from opportune.flows.replay import Passage
from opportune.playbook.load import load_files
from opportune.ports import Unavailable
from opportune.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

PLAYBOOK = b"""
topics: {offers: {purpose: marketing}}
consent: {default: {"*": in}}
triggers:
  asked: {kind: request}
  cart_abandoned: {on: {event: Product Added}, unless: {event: Order Completed}, wait: 1h}
campaigns:
  hello:
    trigger: asked
    topic: offers
    channels: [email]
    content: {email: {subject: Hi, body: Hello there, cta: Go, url: "https://shop.example"}}
  cart_reminder:
    trigger: cart_abandoned
    topic: offers
    channels: [email]
    content: {email: {subject: Still there, body: It waits, cta: Go, url: "https://shop.example"}}
"""


def decision_of(ask: Ask) -> Decision:
    """A decision with one of everything in it."""
    message = Message(
        message_id=f"m-{ask.customer_id[:20]}", rank=1, campaign="hello", trigger="asked", step=None, channel="email",
        variant=None, topic="offers", purpose="marketing", tags=(), send_at=NOW, expires_at=NOW + timedelta(hours=1),
        value_minor=None, action_probability=1.0, content={"body": "Hello"}, headers={}, reasons=("asked for",),
        obeys_caps=True, counts=True,
    )  # fmt: skip
    removal = Removal(
        campaign="other", channel="sms", variant=None, stage=Stage.PLACE, reason=Reason.FREQUENCY_CAP,
        rule="weekly", detail={"limit": 3, "found": 3}, would_pass_at=NOW + timedelta(days=1),
    )  # fmt: skip
    return Decision(
        decision_id=f"d-{ask.customer_id[:20]}", customer_id=ask.customer_id, decided_at=NOW,
        playbook_hash="sha256:0", code_version="0", mode=Mode.FULL, degraded=False, currency="GBP",
        summary="Send hello by e-mail now.",
        scores={"purchase": Score(name="purchase", p=0.1, model="purchase/1", target="t")},
        messages=(message,), removed=(removal,), nothing_probability=0.0, draws=(),
    )  # fmt: skip


@dataclass
class FakeFlows:
    """Flows that remember what they were called with. Some customers are trouble: boom, refused, down."""

    calls: list[list[Ask]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    is_down: bool = False
    scores_asked: list[tuple[Any, ...]] = field(default_factory=list)

    def decide(self, asks: Sequence[Ask], desk: Desk) -> list[Decision | AskRefused]:
        self.calls.append(list(asks))
        if self.is_down or any(a.customer_id == "down" for a in asks):
            raise Unavailable("the ledger is locked; try again")
        if any(a.customer_id == "boom" for a in asks):
            raise ZeroDivisionError("a bug that only this customer meets")
        refused = AskRefused("no_such_thing", "context.x", "say it otherwise")
        return [refused if a.customer_id == "refused" else decision_of(a) for a in asks]

    def ingest(self, events: Sequence[Event], letters: Sequence[DeadLetter], *parts: object) -> None:
        if self.is_down:
            raise Unavailable("the ledger cannot be written; try again")
        if any(e.user_id == "boom" for e in events):
            raise ZeroDivisionError("a bug that only this customer meets")
        self.events += events
        self.letters += letters

    def score(self, customer_ids: Sequence[str], *asked: Any) -> list[dict[str, Any]]:
        self.scores_asked.append((customer_ids, *asked))
        return [{"customer_id": c} for c in customer_ids]

    def explain(self, customer_id: str, campaign: str, at: datetime, desk: object, **more: Any) -> dict[str, Any]:
        return {"customer_id": customer_id, "campaign": campaign, "decided_at": at.isoformat(), "given": repr(more)}

    def stored(
        self, decision_id: str, ledger: object, explain: bool = False, *, secret: bytes | None = None
    ) -> dict[str, Any] | None:
        return {"decision_id": decision_id, "explained": explain} if decision_id.startswith("d-") else None


@dataclass
class House:
    """One door under test and what is behind it."""

    client: TestClient
    flows: FakeFlows
    ledger: MemoryLedger
    clock: FixedClock
    parts: Parts


@pytest.fixture
def open_door() -> Iterator[Callable[..., House]]:
    """Opens doors with the given settings; closes them all at the end."""
    with ExitStack() as stack:

        def build(**settings: Any) -> House:
            flows, ledger, clock = FakeFlows(), MemoryLedger(), FixedClock(NOW)
            desk = Desk(
                ledger=ledger, features=None, scorer=None, playbook=load_files({"p.yaml": PLAYBOOK}), clock=clock,  # type: ignore[arg-type]
                secret=b"s", code_version="0", new_id=lambda: "d",
            )  # fmt: skip
            parts = Parts(
                settings=Settings(**{"api_key": None, "write_key": None, "decide_key": None, **settings}),
                desk=desk,
                flows=Flows(
                    decide=flows.decide,
                    ingest=flows.ingest,
                    score=flows.score,
                    stored=flows.stored,
                    explain=flows.explain,
                ),  # type: ignore[arg-type]
                freeze=False,
                advance=lambda to: Passage(n_timers=int(clock.advance(to) == to)),
            )
            client = stack.enter_context(TestClient(create_app(parts), raise_server_exceptions=True))
            return House(client, flows, ledger, clock, parts)

        yield build


@pytest.fixture
def house(open_door: Callable[..., House]) -> House:
    """A door without keys."""
    return open_door()
