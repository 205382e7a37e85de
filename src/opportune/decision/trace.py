"""The trace: what each stage kept, removed and drew, and the decision that comes of it."""

from collections.abc import Callable
from typing import NamedTuple

from opportune.decision.candidate import Candidate, Choice, Sifted
from opportune.decision.environment import environment
from opportune.decision.exposures import exposures_of
from opportune.decision.summary import summarise
from opportune.decision.worth import Scales
from opportune.domain import links
from opportune.domain.decisions import Case, Decision, Message, Mode, RankDraw, Removal
from opportune.domain.instants import from_us, to_us
from opportune.playbook.load import Playbook


class Step(NamedTuple):
    """One stage at one rank (0: before ranks): what went on, what did not, and when it ended by the trace's watch."""

    stage: str
    rank: int
    kept: list[Candidate]
    removed: list[Removal]
    ended_ns: int


def _no_watch() -> int:
    return 0


class Trace:
    """Collects what happened, in the order it happened. `watch`: nanoseconds on any clock that goes forward; without
    one nothing is timed (deciding needs no clock, looking closely at a decision does)."""

    __slots__ = ("draws", "removed", "steps", "watch")

    def __init__(self, watch: Callable[[], int] = _no_watch) -> None:
        self.watch = watch
        self.removed: list[Removal] = []
        self.draws: list[RankDraw] = []
        self.steps: list[Step] = []

    def keep(self, stage: str, sifted: Sifted, rank: int = 0) -> list[Candidate]:
        """Note what a stage removed and drew; the candidates that go on."""
        self.removed += sifted.removed
        self.draws += sifted.draws
        self.steps.append(Step(stage, rank, sifted.kept, sifted.removed, self.watch()))
        return sifted.kept

    def decision(self, withheld: tuple[list[Choice], list[Removal]], case: Case, playbook: Playbook) -> Decision:
        """The finished decision. `nothing_probability` is that of rank 1: that no message at all goes."""
        chosen, held = withheld
        self.steps.append(Step("withhold", 0, [c.candidate for c in chosen if not c.is_virtual], held, self.watch()))
        messages = tuple([message_of(c, case, Scales(case, playbook, chosen[:i])) for i, c in enumerate(chosen)])
        removed = (*self.removed, *held)
        first = next((draw for draw in self.draws if draw.rank == 1), None)
        return Decision(
            decision_id=case.decision_id,
            customer_id=case.customer.customer_id,
            decided_at=case.now,
            playbook_hash=case.playbook_hash,
            code_version=case.code_version,
            mode=Mode.FULL if case.scores else Mode.RULES_ONLY,
            degraded=case.degraded,
            currency=playbook.spec.currency,
            summary=summarise(messages, removed, case, *_beginning(case, playbook)),
            scores=case.scores,
            messages=messages,
            removed=removed,
            nothing_probability=1.0 if first is None else first.probabilities.get("nothing", 0.0),
            draws=tuple(self.draws),
            exposures=exposures_of(self.steps, chosen, case, playbook) if case.assignments else (),
        )


def message_of(choice: Choice, case: Case, scales: Scales) -> Message:
    """The message of a choice, worth what it is budgets apart. Its id is a function of decision and rank: deciding
    again gives the same one."""
    candidate, option, firing = choice.candidate, choice.candidate.option, case.ask.firing
    worth = scales.worth(option)
    return Message(
        message_id=f"{case.decision_id}-{choice.rank}",
        rank=choice.rank,
        campaign=option.campaign,
        trigger=firing.trigger if firing is not None else option.trigger,
        step=firing.step if firing is not None else None,
        channel=option.channel,
        variant=candidate.variant,
        topic=option.topic,
        purpose=option.purpose,
        tags=option.tags,
        send_at=from_us(choice.slot.at_us),
        expires_at=from_us(candidate.expires_us),
        value_minor=None if worth is None else scales.net_minor(worth, choice.slot),
        action_probability=choice.probability,
        content=candidate.content or {},
        headers={} if option.is_transactional else links.headers(option.channel, case.public_url),
        reasons=_reasons(choice, case, scales),
        obeys_caps=option.obeys_caps,
        counts=option.counts,
        is_virtual=choice.is_virtual,
        slot_probability=choice.slot_probability,
    )


def _reasons(choice: Choice, case: Case, scales: Scales) -> tuple[str, ...]:
    """Why this one, in words: what started it, what it is worth, what it waited for."""
    option = choice.candidate.option
    firing = case.ask.firing
    if firing is not None and firing.step is not None:
        started = f"step {firing.step} of {firing.trigger.replace(':', ' ')}"
    else:
        started = f"{option.trigger} was triggered" if firing is not None else f"{option.trigger} was asked for"
    if option.is_transactional:
        worth = "transactional: it goes before everything else"
    else:
        worth = scales.in_words(option, choice.slot) or f"no value or no score: priority {option.spec.priority}"
    if choice.slot.at_us == to_us(case.now):
        return started, worth
    if choice.slot_probability is not None:
        return started, worth, f"its hour was drawn with probability {choice.slot_probability:.4f}"
    if choice.slot.at_us != choice.candidate.slots[0].at_us:
        return started, worth, "placed at the best hour that quiet hours and caps leave open"
    return started, worth, "placed at the first slot that quiet hours and caps leave open"


def _beginning(case: Case, playbook: Playbook) -> tuple[tuple[str, ...], bool]:
    """Journeys that begin with the trigger, and whether its own condition holds."""
    begins = playbook.journeys_of(case.ask.trigger or "")
    trigger = playbook.spec.triggers.get(case.ask.trigger or "")
    is_meant = not begins or trigger is None or playbook.holds(trigger.when, environment(case))
    return begins, is_meant
