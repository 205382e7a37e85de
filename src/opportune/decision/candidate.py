"""The nouns the stages share: option of the playbook, candidate made of it, choice, and what a stage gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from opportune.decision.caps import CapRule
from opportune.decision.zones import QuietRule
from opportune.domain.decisions import RankDraw, Reason, Removal, Stage
from opportune.playbook.schema import Campaign, Content
from opportune.playbook.triggers import Trigger


@dataclass(frozen=True, slots=True)
class Asked:
    """One condition to ask. `rule` names it in removals; `scores`: names of the scores it reads."""

    rule: str
    text: str
    scores: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """One campaign on one channel, compiled once per playbook: all that no customer changes. In a step of a journey
    `trigger` is empty and `trigger_spec` null.

    `index` is its place in the playbook, the last tie-break. `caps` are the rules that would count it, none
    when it does not obey caps; `quiet` is null when quiet hours do not bind it. `goal_minor`: value of one
    success in minor units, null when undeclared; `score`: the score that stands for its goal, null without one.
    """

    index: int
    campaign: str
    spec: Campaign
    trigger: str
    trigger_spec: Trigger | None
    channel: str
    topic: str
    purpose: str
    tags: tuple[str, ...]
    is_transactional: bool
    obeys_caps: bool
    counts: bool
    conditions: tuple[Asked, ...]
    caps: tuple[CapRule, ...]
    quiet: QuietRule | None
    goal_minor: int | None
    score: str | None
    variants: tuple[str, ...]
    weights: tuple[float, ...]
    contents: Mapping[str | None, Content]


class Slot(NamedTuple):
    """One instant at which a candidate may go, in microseconds. `weight`: its hour's chance relative to the mean."""

    at_us: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A campaign on a channel in one wording, proposed now. Stages give back new ones.

    `expires_us`: instant from which it is too late. `slots`: feasible, earliest first. `values`: minor units of
    currency at each slot, null when it ranks by priority. `content`: the rendered body, null until rendered.
    """

    option: Option
    variant: str | None
    expires_us: int = 0
    slots: tuple[Slot, ...] = ()
    values: tuple[int | None, ...] = ()
    content: Mapping[str, str] | None = None

    def placed(self, slots: tuple[Slot, ...], expires_us: int) -> "Candidate":
        """The same, at these slots."""
        return Candidate(self.option, self.variant, expires_us, slots, (), self.content)

    def valued(self, values: tuple[int | None, ...]) -> "Candidate":
        """The same, worth this much at each of its slots."""
        return Candidate(self.option, self.variant, self.expires_us, self.slots, values, self.content)

    def written(self, content: Mapping[str, str]) -> "Candidate":
        """The same, with its body."""
        return Candidate(self.option, self.variant, self.expires_us, self.slots, self.values, content)

    def removal(
        self,
        stage: Stage,
        reason: Reason,
        rule: str | None = None,
    ) -> Removal:
        """Why it is out, without numbers."""
        return Removal(
            campaign=self.option.campaign,
            channel=self.option.channel,
            variant=self.variant,
            stage=stage,
            reason=reason,
            rule=rule,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One action taken: a candidate at a slot, at a rank, with the probability it was drawn with.

    `slot_probability`: of this slot given the candidate; null when chance had no part in the slot.
    """

    rank: int
    candidate: Candidate
    slot: Slot
    value_minor: int | None
    probability: float
    is_virtual: bool = False
    slot_probability: float | None = None


class Sifted(NamedTuple):
    """What a stage gives back: those that go on, those that do not and why, and the draws it made."""

    kept: list[Candidate]
    removed: list[Removal]
    draws: tuple[RankDraw, ...] = ()
