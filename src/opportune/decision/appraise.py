"""Appraise: what each candidate is worth at each of its slots, and the order that follows."""

from collections.abc import Sequence

from opportune.decision.candidate import Candidate, Option, Sifted, Slot
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.playbook.load import Playbook


def appraise(candidates: Sequence[Candidate], case: Case, playbook: Playbook) -> Sifted:
    """The candidates with their values, best first.

    Value in minor units = round(p(goal) x lift x value of the goal x weight of the slot) - cost; null without a value
    or a score. Sending nothing is worth 0: what is worth no more is BELOW_NOTHING (transactional messages and
    those without a value are not compared). Order: transactional; then by value; then, without a value, by priority;
    ties in the order of the playbook.
    """
    kept: list[Candidate] = []
    removed: list[Removal] = []
    for candidate in candidates:
        option = candidate.option
        values = tuple([value_minor(option, slot, case) for slot in candidate.slots])
        if not option.is_transactional and values[0] is not None:
            worth = [(s, v) for s, v in zip(candidate.slots, values, strict=True) if v is not None and v > 0]
            if not worth:
                removed.append(_below(candidate, max(v for v in values if v is not None)))
                continue
            if len(worth) < len(values):
                candidate = candidate.placed(tuple(s for s, _ in worth), candidate.expires_us)
                values = tuple(v for _, v in worth)
        kept.append(candidate.valued(values))
    if len(kept) > 1:
        kept.sort(key=_standing)
    return Sifted(kept, removed)


def value_minor(option: Option, slot: Slot, case: Case) -> int | None:
    """Incremental value of the candidate at this slot; null when it ranks by priority."""
    if option.goal_minor is None or option.score is None:
        return None
    score = case.scores.get(option.score)
    if score is None:
        return None
    return round(score.p * option.spec.lift * option.goal_minor * slot.weight) - option.spec.cost_minor


def _standing(candidate: Candidate) -> tuple[int, int, int]:
    """Sorts best first."""
    option = candidate.option
    if option.is_transactional:
        return (0, -option.spec.priority, option.index)
    best = max((v for v in candidate.values if v is not None), default=None)
    return (2, -option.spec.priority, option.index) if best is None else (1, -best, option.index)


def _below(candidate: Candidate, best: int) -> Removal:
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.CHOOSE,
        reason=Reason.BELOW_NOTHING,
        detail={"limit": 0, "found": best},
    )
