"""A stage for triggers on the replay clock: one playbook of them, events that come in, what was said and when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.desks import EmptyShelf, desk_of, playbook_of

from opportune.adapters.system_clock import FixedClock
from opportune.domain.decisions import Score
from opportune.domain.events import NAMES_BY_KIND, Event, EventKind, Origin
from opportune.domain.messages import Send
from opportune.flows.ingest import ingest
from opportune.flows.replay import advance
from opportune.flows.scoring import Scorer

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD = """
topics: {news: {}, orders: {purpose: transactional}}
consent: {default: {"*": in}}
caps: {daily: {counts: {purpose: marketing}, at_most: 1, in: 1h}}
activity: [Page Viewed]
audiences: {vip: features.orders_n_all >= 2 and not (traits.plan == "trial"), recent: features.orders_n_30d >= 1}
occasions: {christmas: {on: 12-25, countries: {NO: 12-24}}}
triggers:
"""


class Postbox:
    """Remembers when what went to whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[datetime, str, str]] = []

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        self.sent += [(at, s.customer_id, str(s.payload["content"]["body"])) for s in sends]


class FakeScorer(Scorer):
    """Churn is what the test says."""

    def __init__(self) -> None:
        super().__init__(EmptyShelf(), ())
        self.churn: dict[int, float] = {}

    def score(
        self, customers: Sequence[Mapping[str, Any]], only: Sequence[str] | None = None, explain: Sequence[int] = ()
    ) -> list[dict[str, Score]]:
        scores = [self.churn.get(c["orders_n_all"]) for c in customers]
        return [
            {"churn": Score(name="churn", p=p, model="churn/1", target="t")} if p is not None else {} for p in scores
        ]


class Stage:
    """One playbook with the named triggers, each with a campaign that says its name and what the event carries."""

    def __init__(self, folder: Path, triggers: str, body: str = "", start: datetime = T0, rules: str = "") -> None:
        campaigns = [
            f"  {n}: {{trigger: {n}, topic: {'orders' if 'kind: transactional' in line else 'news'},"
            f" channels: [inapp], expires_after: 3d, content: {{inapp: {{body: '{n}{body}'}}}}}}"
            for line in triggers.splitlines()
            if line.startswith("  ") and (n := line.strip().partition(":")[0])
        ]
        self.scorer = FakeScorer()
        self.clock = FixedClock(start)
        playbook = playbook_of(folder, rules + HEAD + triggers + "\ncampaigns:\n" + "\n".join(campaigns) + "\n")
        self.desk = desk_of(playbook, clock=self.clock, scorer=self.scorer)
        self.post = Postbox()
        self._n = 0

    def go(self, to: datetime) -> None:
        advance(to, self.desk, self.post, self.clock, "w")

    def take(
        self, at: datetime, name: str | EventKind, user: str = "c1", origin: Origin = Origin.LIVE, **properties: Any
    ) -> Event:
        """Time passes until `at`, then this comes in."""
        if at > self.clock.now():
            self.go(at)
        self._n += 1
        kind = name if isinstance(name, EventKind) else EventKind.TRACK
        traits = properties if kind is EventKind.IDENTIFY else {}
        event = Event(
            message_id=f"m{self._n}", kind=kind, name=NAMES_BY_KIND.get(kind, str(name)), user_id=user,
            anonymous_id=None, original_at=at, sent_at=None, received_at=max(at, self.clock.now()), event_at=at,
            known_at=at, ingested_at=at, origin=origin, properties={} if traits else properties, traits=traits,
        )  # fmt: skip
        ingest([event], (), self.desk.ledger, self.desk.playbook, self.clock)
        self.go(self.clock.now())
        return event

    def again(self, *events: Event) -> None:
        ingest(events, (), self.desk.ledger, self.desk.playbook, self.clock)
        self.go(self.clock.now())

    def who(self, **traits: Any) -> None:
        self.take(self.clock.now(), EventKind.IDENTIFY, **traits)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(f"{at:%m-%d %H:%M}", body) for at, _, body in self.post.sent]


def day(n: float) -> datetime:
    return T0 + timedelta(days=n)
