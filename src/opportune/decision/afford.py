"""Afford: leave each candidate the slots at which its budgets still have room."""

from collections.abc import Sequence

from opportune.decision.budgets import BudgetRule, Purse
from opportune.decision.candidate import Candidate, Choice, Sifted
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.domain.instants import from_us


def afford(candidates: Sequence[Candidate], case: Case, chosen: Sequence[Choice] = ()) -> Sifted:
    """Candidates with the slots they can pay for, after what is `chosen`. Without budgets nothing changes.

    Removes BUDGET: the budget without room at the first slot, limit, what is spent, when its next period begins.
    """
    kept: list[Candidate] = []
    removed: list[Removal] = []
    purse: Purse | None = None
    for candidate in candidates:
        uses = candidate.option.uses
        if not uses:
            kept.append(candidate)
            continue
        purse = purse or Purse(case.budgets, [(c.slot.at_us, c.candidate.option.uses) for c in chosen])
        paid = [s for s in candidate.slots if all(purse.has_room(rule, n, s.at_us) for rule, n in uses)]
        if len(paid) == len(candidate.slots):
            kept.append(candidate)
        elif paid:
            kept.append(candidate.placed(tuple(paid), candidate.expires_us))
        else:
            at_us = candidate.slots[0].at_us
            rule = next(rule for rule, n in uses if not purse.has_room(rule, n, at_us))
            removed.append(_too_dear(candidate, rule, purse.spent(rule, at_us), at_us))
    return Sifted(kept, removed)


def _too_dear(candidate: Candidate, rule: BudgetRule, spent: int, at_us: int) -> Removal:
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.AFFORD,
        reason=Reason.BUDGET,
        rule=rule.name,
        detail={"limit": rule.limit, "found": spent, "unit": "minor" if rule.is_money else "messages"},
        would_pass_at=from_us(rule.period(at_us)[1]),
    )
