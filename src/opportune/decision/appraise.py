"""Appraise: what each candidate is worth at each of its slots, and the order that follows."""

from collections.abc import Sequence

from opportune.decision.candidate import Candidate, Choice, Sifted
from opportune.decision.worth import Scales
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.playbook.load import Playbook


def appraise(candidates: Sequence[Candidate], case: Case, playbook: Playbook, chosen: Sequence[Choice] = ()) -> Sifted:
    """The candidates with their values, best first.

    Value in minor units = (round(p(goal) x lift x value of the goal x channel x weight of the slot) - cost - fatigue)
    x levers - what its room in the budgets is worth; null without a value or a score. Sending nothing is worth 0: what
    is worth no more is BELOW_NOTHING, or BUDGET when only the room is worth too much (transactional messages and those
    without a value are not compared). Order: transactional; then by value; then, without a value, by priority; ties in
    the order of the playbook.
    """
    scales = Scales(case, playbook, chosen)
    kept: list[Candidate] = []
    removed: list[Removal] = []
    for candidate in candidates:
        option = candidate.option
        worth = scales.worth(option)
        if worth is None:
            kept.append(candidate.valued((None,) * len(candidate.slots)))
            continue
        nets = scales.nets_minor(worth, candidate.slots)
        values = nets
        if option.uses:
            values = [
                round(net - scales.price_minor(option, slot)) for net, slot in zip(nets, candidate.slots, strict=True)
            ]
        if not option.is_transactional and min(values) <= 0:
            gains = [i for i, value in enumerate(values) if value > 0]
            if not gains:
                removed.append(_below(candidate, max(nets), max(values)))
                continue
            candidate = candidate.placed(tuple([candidate.slots[i] for i in gains]), candidate.expires_us)
            values = [values[i] for i in gains]
        kept.append(candidate.valued(tuple(values)))
    if len(kept) > 1:
        kept.sort(key=_standing)
    return Sifted(kept, removed)


def _standing(candidate: Candidate) -> tuple[int, int, int]:
    """Sorts best first."""
    option = candidate.option
    if option.is_transactional:
        return (0, -option.spec.priority, option.index)
    best = max((v for v in candidate.values if v is not None), default=None)
    return (2, -option.spec.priority, option.index) if best is None else (1, -best, option.index)


def _below(candidate: Candidate, net: int, value: int) -> Removal:
    """Worth too little: by itself, or beside what its room in the budgets is worth."""
    option = candidate.option
    outpriced = net > 0
    return Removal(
        campaign=option.campaign,
        channel=option.channel,
        variant=candidate.variant,
        stage=Stage.CHOOSE,
        reason=Reason.BUDGET if outpriced else Reason.BELOW_NOTHING,
        rule=option.uses[0][0].name if outpriced else None,
        detail={"limit": net - value, "found": net, "unit": "worth"} if outpriced else {"limit": 0, "found": net},
    )
