"""Policies to compare Opportune with: silence, a blast that asks for consent only, an oracle that knows the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from opportune.world.draws import Floats
from opportune.world.envelopes import Envelope
from opportune.world.referee import Delivery
from opportune.world.world import World

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Policy(Protocol):
    """Speaks to a world, step by step."""

    def speak(self, world: World, events: Sequence[Envelope], until: datetime) -> list[Delivery]:
        """The messages of [world.now, until). `events`: those of the step before, received at `world.now`."""
        ...


def play(world: World, policy: Policy, until: datetime, step: timedelta = _HOUR) -> list[Delivery]:
    """Let a policy and a world answer each other from `world.now` to `until`; returns everything that was sent."""
    sent: list[Delivery] = []
    events: list[Envelope] = []
    while world.now < until:
        to = min(world.now + step, until)
        spoken = policy.speak(world, events, to)
        events = world.step(to, spoken)
        sent += spoken
    return sent


class Nothing:
    """Says nothing."""

    def speak(self, world: World, events: Sequence[Envelope], until: datetime) -> list[Delivery]:
        """No message."""
        return []


@dataclass(frozen=True, slots=True)
class WeeklyBlast:
    """The same message to everybody who agreed, on one weekday (Monday 0) and hour UTC; no caps, no quiet hours."""

    campaign: str
    channel: str = "email"
    weekday: int = 1
    hour: int = 10

    def speak(self, world: World, events: Sequence[Envelope], until: datetime) -> list[Delivery]:
        """One message each when its hour falls into this step."""
        day = world.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        at = next(d for d in (day + i * _DAY + self.hour * _HOUR for i in range(8)) if self._is_mine(d, world.now))
        if at >= until:
            return []
        return [
            Delivery(
                message_id=f"{self.campaign}-{at:%Y%m%d}-{c}",
                customer_id=c,
                campaign=self.campaign,
                channel=self.channel,
                at=at,
            )
            for c in world.reachable(self.channel)
        ]

    def _is_mine(self, at: datetime, now: datetime) -> bool:
        return at >= now and at.weekday() == self.weekday


@dataclass(frozen=True, slots=True)
class Speech:
    """What the oracle may say: a campaign on a channel, with the flags its playbook entry has."""

    campaign: str
    channel: str
    topic: str = ""
    tags: tuple[str, ...] = ()
    cost_minor: int = 0


@dataclass(slots=True)
class Oracle:
    """Knows what each message would truly do and sends the best one at its best hour, within the world's rules.

    Greedy: every midnight UTC, and for whoever has just done something, it plans each customer's most valuable
    message of the coming 24 hours, and sends it when its hour comes if no rule forbids it. A message must be worth
    more than its cost, `reach_minor` x the probability that the customer leaves, and `price_minor`, the price of a slot
    under the caps. It looks no further ahead than a day, so a better policy may exist: try several prices.
    """

    speeches: Sequence[Speech]
    price_minor: float = 0.0
    reach_minor: float = 300.0
    _plan: dict[str, tuple[datetime, Speech]] = field(default_factory=dict)
    _n: int = 0

    def speak(self, world: World, events: Sequence[Envelope], until: datetime) -> list[Delivery]:
        """Whatever is planned for this step and breaks no rule."""
        reachable = {c: set(world.reachable(c)) for c in {s.channel for s in self.speeches}}
        now = world.now
        if now.astimezone(UTC).hour == 0 or not self._plan:
            self._think(sorted(set().union(*reachable.values())), reachable, world)
        else:
            self._think(sorted({str(e["userId"]) for e in events if "userId" in e}), reachable, world)
        sent = []
        for customer_id, (at, speech) in list(self._plan.items()):
            if at >= until:
                continue
            del self._plan[customer_id]
            self._n += 1
            message = Delivery(
                message_id=f"oracle-{self._n}",
                customer_id=customer_id,
                campaign=speech.campaign,
                channel=speech.channel,
                at=max(at, now),
                topic=speech.topic,
                tags=speech.tags,
            )
            if not world.would_break(message):
                sent.append(message)
        return sent

    def _think(self, ids: Sequence[str], reachable: Mapping[str, set[str]], world: World) -> None:
        now = world.now
        instants = [now + i * _HOUR for i in range(24)]
        best: dict[str, tuple[float, datetime, Speech]] = {}
        for speech in self.speeches:
            mine = [c for c in ids if c in reachable[speech.channel]]
            if not mine:
                continue
            truth = world.incremental(mine, speech.campaign, speech.channel, instants)
            net: Floats = (
                truth["value_minor"] - truth["p_unsubscribe"] * self.reach_minor - speech.cost_minor - self.price_minor
            )
            net = np.where(world.quiet(mine, speech.channel, instants), -np.inf, net)
            hour = net.argmax(axis=1)
            for i, customer_id in enumerate(mine):
                worth = float(net[i, hour[i]])
                if worth > 0 and (customer_id not in best or worth > best[customer_id][0]):
                    best[customer_id] = (worth, instants[hour[i]], speech)
        for customer_id in ids:
            self._plan.pop(customer_id, None)
        self._plan.update({c: (at, speech) for c, (_, at, speech) in best.items()})
