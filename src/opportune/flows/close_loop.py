"""The closed loop: Opportune on a replay clock speaks to a world that answers, and is compared with other policies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zlib import crc32

import numpy as np

from opportune.domain.decisions import Ask, Decision
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Deliver, Send
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.replay import Passage, advance
from opportune.playbook.load import Playbook
from opportune.playbook.schema import PlaybookSpec
from opportune.ports import MovableClock
from opportune.world import Delivery, World
from opportune.world.envelopes import Envelope
from opportune.world.policies import Speech

#: Customers asked about in one go.
PAGE = 200


class WorldCourier:
    """Hands messages over to a world: remembers them until the next step, each message id once."""

    def __init__(self, playbook: Playbook) -> None:
        self._spec = playbook.spec
        self._waiting: list[Delivery] = []
        self._known: set[str] = set()

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        """Take all of them, with the flags that the playbook gives their campaign."""
        for send in sends:
            if send.message_id not in self._known:
                self._known.add(send.message_id)
                self._waiting.append(self._delivery(send, at))

    def _delivery(self, send: Send, at: datetime) -> Delivery:
        campaign = self._spec.campaigns[send.campaign]
        return Delivery(
            message_id=send.message_id,
            customer_id=send.customer_id,
            campaign=send.campaign,
            channel=send.channel,
            at=at,
            purpose=self._spec.topics[campaign.topic].purpose,
            topic=campaign.topic,
            tags=campaign.tags,
            obeys_caps=campaign.obeys_caps,
            obeys_quiet_hours=campaign.obeys_quiet_hours,
            counts=campaign.counts_toward_caps,
        )

    def hold(self, deliveries: Sequence[Delivery]) -> None:
        """Take over what another courier of the same world still held when its process ended."""
        self._waiting += deliveries
        self._known.update(d.message_id for d in deliveries)

    def take(self, until: datetime) -> list[Delivery]:
        """What was handed over before `until`; the rest waits for the next step."""
        now = [d for d in self._waiting if d.at < until]
        self._waiting = [d for d in self._waiting if d.at >= until]
        return now


@dataclass(slots=True)
class Opportune:
    """Opportune as a policy of the world. Events of a step come in at its end; due timers and messages are
    looked at every `grain`. A customer with a userId is asked about every `ask_every_days` days at `ask_hour` UTC,
    spread over the days (campaigns of kind request): the service delivers."""

    desk: Desk
    clock: MovableClock
    courier: WorldCourier
    owner: str = "world"
    grain: timedelta = timedelta(minutes=15)
    ask_every_days: int = 7
    ask_hour: int = 6
    passage: Passage = field(default_factory=Passage)
    n_events: int = 0
    n_asked: int = 0

    def speak(self, world: World, events: Sequence[Envelope], until: datetime) -> list[Delivery]:
        """Take in what happened, decide what is due until `until`. Raises ValueError when the clocks disagree."""
        now = self.clock.now()
        if now != world.now:
            raise ValueError(f"the world stands at {world.now.isoformat()}, the replay clock at {now.isoformat()}")
        if events:
            taken = ingest(received(events, now), (), self.desk.ledger, self.desk.playbook, self.clock)
            self.n_events += taken.n_accepted
        asked_at = now.astimezone(UTC)
        if asked_at.hour == self.ask_hour and asked_at.minute == 0:
            self._ask(now)
        self.passage.add(advance(until, self.desk, self.courier, self.clock, self.owner, grain=self.grain))
        return self.courier.take(until)

    def _ask(self, now: datetime) -> None:
        today = now.toordinal() % self.ask_every_days
        after = ""
        while True:
            with self.desk.ledger.read() as uow:
                page = uow.customers.all_ids(after, 5_000)
            if not page:
                return
            after = page[-1]
            mine = [c for c in page if not c.startswith("anon:") and crc32(c.encode()) % self.ask_every_days == today]
            for start in range(0, len(mine), PAGE):
                asks = [Ask(customer_id=c, deliver=Deliver.SERVICE) for c in mine[start : start + PAGE]]
                self.n_asked += sum(isinstance(d, Decision) for d in decide(asks, self.desk))


def received(envelopes: Iterable[Envelope], at: datetime) -> list[Event]:
    """Envelopes as the HTTP door would read them at `at`. Raises Refused when one is not valid."""
    reading = Reading(received_at=at, origin=Origin.LIVE, new_id=lambda: "", retention=None, is_text_clean=True)
    return [read_envelope(e, reading) for e in envelopes]


def speeches_of(spec: PlaybookSpec) -> list[Speech]:
    """What an oracle may say: a playbook's marketing campaigns that obey caps and quiet hours, on their channels."""
    return [
        Speech(campaign=name, channel=channel, topic=c.topic, tags=c.tags, cost_minor=c.cost_minor)
        for name, c in spec.campaigns.items()
        if spec.topics[c.topic].purpose == "marketing" and c.obeys_caps and c.obeys_quiet_hours
        for channel in c.channels
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What one policy brought in one world. Money in minor units. `violations`: rule -> count, as the world saw."""

    policy: str
    seed: int
    n_customers: int
    revenue_minor: int
    n_marketing: int
    n_transactional: int
    n_unsubscribes: int
    violations: Mapping[str, int]
    campaigns: Mapping[str, int]
    seconds: float


def played(policy: str, seed: int, world: World, sent: Sequence[Delivery], seconds: float) -> Played:
    """The account of one run, read off the world."""
    accounts = world.accounts()
    return Played(
        policy=policy,
        seed=seed,
        n_customers=len(accounts),
        revenue_minor=int(accounts["revenue_minor"].sum()),
        n_marketing=sum(d.purpose != "transactional" for d in sent),
        n_transactional=sum(d.purpose == "transactional" for d in sent),
        n_unsubscribes=int(accounts["n_unsubscribes"].sum()),
        violations=dict(Counter(v.rule for v in world.violations)),
        campaigns=dict(Counter(d.campaign for d in sent)),
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over seeds and the half-width of its 95 % t-interval; null with one seed."""

    mean: float
    half: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One policy over all seeds. `value_minor`, `n_marketing`: per customer of the world (new ones included);
    `n_unsubscribes` per 1,000. `value_minor` is revenue less that of `nothing` in the same world."""

    policy: str
    n_seeds: int
    value_minor: Estimate
    n_marketing: Estimate
    n_unsubscribes: Estimate
    n_transactional: float
    violations: Mapping[str, int]
    campaigns: Mapping[str, int]


def compare(runs: Sequence[Played]) -> list[Line]:
    """One line per policy, in the order in which they were played. Raises ValueError without `nothing` for a seed."""
    silent = {r.seed: r for r in runs if r.policy == "nothing"}
    missing = sorted({r.seed for r in runs} - set(silent))
    if missing:
        raise ValueError(f"no run of the policy `nothing` for seed {missing[0]}: values are measured against it")
    lines = []
    for policy in dict.fromkeys(r.policy for r in runs):
        mine = [r for r in runs if r.policy == policy]
        lines.append(
            Line(
                policy=policy,
                n_seeds=len(mine),
                value_minor=estimate([(r.revenue_minor - silent[r.seed].revenue_minor) / r.n_customers for r in mine]),
                n_marketing=estimate([r.n_marketing / r.n_customers for r in mine]),
                n_unsubscribes=estimate([1000 * r.n_unsubscribes / r.n_customers for r in mine]),
                n_transactional=float(np.mean([r.n_transactional / r.n_customers for r in mine])),
                violations=dict(sum((Counter(r.violations) for r in mine), Counter())),
                campaigns=dict(sum((Counter(r.campaigns) for r in mine), Counter())),
            )
        )
    return lines


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and the half-width of its 95 % t-interval (seeds are independent worlds)."""
    if len(values) < 2:
        return Estimate(float(np.mean(values)), None)
    from scipy.special import stdtrit

    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Estimate(float(np.mean(values)), float(stdtrit(len(values) - 1, 0.975)) * error)
