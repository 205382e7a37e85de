"""Withhold: holdouts act last. What would have gone is decided, logged and counted, and not sent."""

from collections.abc import Mapping, Sequence

from opportune.decision.candidate import Choice
from opportune.domain.decisions import Case, Reason, Removal, Stage

#: experiment -> the variation whose customers hear nothing; assignments come from experiments/assign.
WITHHOLDING: Mapping[str, str] = {"global_holdout": "holdout"}


def withhold(chosen: Sequence[Choice], case: Case) -> tuple[list[Choice], list[Removal]]:
    """The choices, those of a customer in a holdout marked virtual, each with a HOLDOUT removal beside it.

    Transactional messages go to everyone, and a test customer is in no holdout.
    """
    held = [name for name, variation in WITHHOLDING.items() if case.assignments.get(name) == variation]
    if not held or case.customer.is_test:
        return list(chosen), []
    choices: list[Choice] = []
    removed: list[Removal] = []
    for c in chosen:
        if c.candidate.option.is_transactional:
            choices.append(c)
            continue
        choices.append(Choice(c.rank, c.candidate, c.slot, c.value_minor, c.probability, is_virtual=True))
        removed.append(c.candidate.removal(Stage.WITHHOLD, Reason.HOLDOUT, rule=held[0]))
    return choices, removed
