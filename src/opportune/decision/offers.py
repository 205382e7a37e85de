"""Offers: what a decision could have said, budgets apart, as the linear programme of prices reads it."""

from dataclasses import replace

from opportune.decision.appraise import appraise
from opportune.decision.hours import hour_weights
from opportune.decision.nominate import nominate
from opportune.decision.pipeline import respect_profiling
from opportune.decision.place import place
from opportune.decision.prices import Item, Offer
from opportune.decision.qualify import qualify
from opportune.decision.rules import ranks
from opportune.domain.decisions import Case
from opportune.playbook.load import Playbook
from opportune.playbook.vary import overridden


def offer_of(case: Case, playbook: Playbook) -> Offer:
    """The candidates of a case with what each is worth at its best slot, and how many of them may go.

    Transactional messages go anyway and take their ranks first; candidates without a value have no price to pay.
    """
    playbook = overridden(playbook, case.assignments)
    case = respect_profiling(replace(case, budgets=()), playbook)
    candidates = qualify(nominate(case, playbook).kept, case, playbook).kept
    candidates = place(candidates, case, playbook, [], hour_weights(case, playbook)).kept
    items: list[Item] = []
    urgent: set[str] = set()
    for candidate in appraise(candidates, case, playbook).kept:
        option = candidate.option
        values = [value for value in candidate.values if value is not None]
        if option.is_transactional:
            urgent.add(option.campaign)
        elif values:
            items.append(Item(option.campaign, max(values), {rule.name: amount for rule, amount in option.uses}))
    most = max(0, len(ranks(case, playbook)) - len(urgent))
    return Offer(items=tuple(items), most=most, hour=case.now.hour)
