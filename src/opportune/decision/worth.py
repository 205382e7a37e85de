"""What a message is worth, in minor units of currency: the sum that ranking stands on, kept in its parts to be told.

Each declared number is a prior: evidence corrects it as it comes, x = prior x E0 / (E0 + E) + seen x E / (E0 + E), with
E the number of messages seen and E0 the declared `prior_weight`.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from opportune.decision.budgets import Purse
from opportune.decision.candidate import Choice, Option, Slot
from opportune.decision.environment import environment
from opportune.domain.decisions import Case
from opportune.domain.evidence import CampaignRecord
from opportune.domain.instants import to_us
from opportune.domain.messages import SendState
from opportune.playbook.load import Playbook
from opportune.playbook.worth import ChannelTerms, Fatigue

_WEEK_US = timedelta(days=7) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Worth:
    """One candidate's value but for its slot. `p` of the goal; `lift`: the share of it credited to the message;
    `engages`: how much likelier it is to be noticed on this channel than on the campaign's first; `levers`: declared
    factor."""

    p: float
    lift: float
    goal_minor: int
    engages: float
    cost_minor: int
    levers: float
    p_lost: float = 0.0
    reach_minor: int = 0
    growth: float = 0.0

    def fatigue_minor(self, n_sends_7d: int) -> float:
        """What the chance to lose the customer costs after so many messages in 7 days."""
        return min(1.0, self.p_lost * (1.0 + self.growth * n_sends_7d)) * self.reach_minor

    def net_minor(self, hour_weight: float, n_sends_7d: int) -> int:
        """(Incremental probability x value - cost - fatigue) x levers, in whole minor units."""
        gain = round(self.p * self.lift * self.goal_minor * self.engages * hour_weight)
        return round((gain - self.cost_minor - self.fatigue_minor(n_sends_7d)) * self.levers)


class Scales:
    """What ranking weighs candidates with in one decision, after what it has chosen already; parts are worked out when
    they are first asked for."""

    def __init__(self, case: Case, playbook: Playbook, chosen: Sequence[Choice] = ()) -> None:
        self._case, self._playbook, self._chosen = case, playbook, chosen
        self._worths: dict[int, Worth | None] = {}
        self._env: Mapping[str, Any] | None = None
        self._instants: list[int] | None = None
        self._purse: Purse | None = None

    def worth(self, option: Option) -> Worth | None:
        """The parts of an option's value; null when it has none, or nothing tells its goal's probability."""
        if option.index not in self._worths:
            if option.levers and self._env is None:
                self._env = environment(self._case)
            self._worths[option.index] = worth_of(option, self._case, self._playbook, self._env or {})
        return self._worths[option.index]

    def n_sends_7d(self, worth: Worth, at_us: int) -> int:
        """Marketing messages sent or booked in the 7 days up to this instant, where they matter; else 0."""
        if not worth.growth:
            return 0
        if self._instants is None:
            said = [(to_us(s.send_at), s.purpose) for s in self._case.sends if s.state is not SendState.RELEASED]
            said += [(c.slot.at_us, c.candidate.option.purpose) for c in self._chosen]
            self._instants = sorted(us for us, purpose in said if purpose == "marketing")
        return bisect_right(self._instants, at_us) - bisect_right(self._instants, at_us - _WEEK_US)

    def net_minor(self, worth: Worth, slot: Slot) -> int:
        """What going at this slot is worth, budgets apart."""
        return worth.net_minor(slot.weight, self.n_sends_7d(worth, slot.at_us))

    def nets_minor(self, worth: Worth, slots: Sequence[Slot]) -> list[int]:
        """The same for several slots; nearly all decisions need no more than the first lines."""
        if not worth.reach_minor and worth.levers == 1.0:
            gain, cost = worth.p * worth.lift * worth.goal_minor * worth.engages, worth.cost_minor
            return [round(gain * slot.weight) - cost for slot in slots]
        return [self.net_minor(worth, slot) for slot in slots]

    def price_minor(self, option: Option, slot: Slot) -> float:
        """What the room that going at this slot takes from budgets is worth elsewhere."""
        if not option.uses:
            return 0.0
        if self._purse is None:
            self._purse = Purse(self._case.budgets)
        return self._purse.price_minor(option.uses, slot.at_us)

    def in_words(self, option: Option, slot: Slot) -> str | None:
        """The sum behind a value, in one line, what is not declared left out; null without a value."""
        worth = self.worth(option)
        if worth is None:
            return None
        text = f"worth {self.net_minor(worth, slot)} = {worth.p:.4f} x {worth.lift:g} x {worth.goal_minor}"
        if worth.engages != 1.0:
            text += f" x {worth.engages:.3g} (channel)"
        text += f" - {worth.cost_minor}"
        if worth.reach_minor:
            text += f" - {worth.fatigue_minor(self.n_sends_7d(worth, slot.at_us)):.3g} (fatigue)"
        if worth.levers != 1.0:
            text += f", times {worth.levers:g} (levers)"
        if price := self.price_minor(option, slot):
            text += f"; its room in the budget is worth {price:.4g}"
        return text


def worth_of(option: Option, case: Case, playbook: Playbook, env: Mapping[str, Any]) -> Worth | None:
    """The parts of a candidate's value; null when it has none, or nothing tells its goal's probability.

    `env`: what the conditions of levers may read.
    """
    if option.goal_minor is None or option.score is None:
        return None
    score = case.scores.get(option.score)
    p = option.spec.p_goal if score is None else score.p
    if p is None:
        return None
    record = next((it for it in case.records if it.campaign == option.campaign), None)
    worth = Worth(
        p=p,
        lift=lift_of(option.spec.lift, option.spec.prior_weight, record),
        goal_minor=option.goal_minor,
        engages=engagement(option, case),
        cost_minor=option.cost_minor,
        levers=levers_of(option, playbook, env),
    )
    fatigue = playbook.spec.fatigue
    if fatigue is None or option.purpose != "marketing":
        return worth
    return replace(
        worth,
        p_lost=p_lost(fatigue, record),
        reach_minor=fatigue.value_of_reach_minor,
        growth=fatigue.per_send_7d,
    )


def weighed(prior: float, prior_weight: float | None, seen: float, n_seen: float) -> float:
    """prior x E0 / (E0 + E) + seen x E / (E0 + E); the prior itself without a weight."""
    if prior_weight is None or n_seen <= 0:
        return prior
    return (prior * prior_weight + seen * n_seen) / (prior_weight + n_seen)


def lift_of(declared: float, prior_weight: float | None, record: CampaignRecord | None) -> float:
    """The share of the goal's probability credited to the message: what is declared, corrected by how much likelier
    the goal followed when the message went than when a holdout kept it back. Without a holdout nothing shows that."""
    if record is None or not (record.n_sent and record.n_held):
        return declared
    went, kept = record.n_reached / record.n_sent, record.n_held_reached / record.n_held
    seen = min(1.0, max(0.0, 1.0 - kept / went)) if went else 0.0
    # two groups tell as much as this many messages in two equal ones would
    n_seen = 4.0 * record.n_sent * record.n_held / (record.n_sent + record.n_held)
    return weighed(declared, prior_weight, seen, n_seen)


def p_lost(fatigue: Fatigue, record: CampaignRecord | None) -> float:
    """The chance that one message of the campaign makes a customer unsubscribe, before recent messages are counted."""
    if record is None or not record.n_sent:
        return fatigue.p_unsubscribe
    return weighed(fatigue.p_unsubscribe, fatigue.prior_weight, record.n_lost / record.n_sent, record.n_sent)


def engagement(option: Option, case: Case) -> float:
    """How likely this customer engages on the channel, relative to what is declared of the campaign's first channel;
    1 where either is not declared. The customer's own messages count beside the declared chance (a Beta prior)."""
    first = option.reference
    if option.terms is None or option.terms.p_engage is None or first is None or first.p_engage is None:
        return 1.0
    return p_engage(option.terms, case) / first.p_engage


def p_engage(terms: ChannelTerms, case: Case) -> float:
    """The chance that this customer engages with a message on the channel; the declared one without features."""
    assert terms.p_engage is not None
    if terms.sent is None or terms.engaged is None:
        return terms.p_engage
    sent, engaged = (_number(case, name.removeprefix("features.")) for name in (terms.sent, terms.engaged))
    if sent <= 0:
        return terms.p_engage
    return weighed(terms.p_engage, terms.prior_weight, min(1.0, engaged / sent), sent)


def _number(case: Case, name: str) -> float:
    value = case.features.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def levers_of(option: Option, playbook: Playbook, env: Mapping[str, Any]) -> float:
    """The product of the declared levers that hold."""
    factor = 1.0
    for lever in option.levers:
        if playbook.holds(lever.when, env):
            factor *= lever.times
    return factor
