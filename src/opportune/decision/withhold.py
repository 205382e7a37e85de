"""Withhold: holdouts act last. What would have gone is decided, logged and counted, and not sent."""

from collections.abc import Sequence

from opportune.decision.candidate import Choice
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.domain.experiments import GLOBAL_HOLDOUT, HELD, campaign_holdout


def withhold(chosen: Sequence[Choice], case: Case) -> tuple[list[Choice], list[Removal]]:
    """The choices, those a holdout keeps back marked virtual, each with a HOLDOUT removal that names it.

    The global holdout keeps back everything, a campaign's own only that campaign. Transactional messages go to
    everyone, and a test customer is in no holdout.
    """
    if not case.assignments or case.customer.is_test:
        return list(chosen), []
    choices: list[Choice] = []
    removed: list[Removal] = []
    for c in chosen:
        named = (GLOBAL_HOLDOUT, campaign_holdout(c.candidate.option.campaign))
        rule = next((name for name in named if case.assignments.get(name) == HELD), None)
        if rule is None or c.candidate.option.is_transactional:
            choices.append(c)
            continue
        choices.append(Choice(c.rank, c.candidate, c.slot, c.value_minor, c.probability, is_virtual=True))
        removed.append(c.candidate.removal(Stage.WITHHOLD, Reason.HOLDOUT, rule=rule))
    return choices, removed
