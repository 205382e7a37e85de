"""One decision, from everything that could be said to what is said, in the order it happens."""

from dataclasses import replace

from opportune.decision.afford import afford
from opportune.decision.appraise import appraise
from opportune.decision.candidate import Choice
from opportune.decision.choose import choose
from opportune.decision.consent import Standing
from opportune.decision.foresee import foresee
from opportune.decision.hold import hold
from opportune.decision.hours import hour_weights
from opportune.decision.nominate import nominate
from opportune.decision.place import place
from opportune.decision.qualify import qualify
from opportune.decision.render import render
from opportune.decision.rules import policy_of, ranks
from opportune.decision.trace import Trace
from opportune.decision.withhold import withhold
from opportune.domain.decisions import Case, Decision
from opportune.playbook.load import Playbook
from opportune.playbook.vary import overridden


def decide(case: Case, playbook: Playbook, trace: Trace | None = None) -> Decision:
    """Choose what to say to one customer now, and say why not to all the rest.

    Pure: same case and playbook, same decision. The moment is `case.now`; the draw is `case.seed`. `playbook` is the
    base; what the customer's variations change is applied here. `trace`: one to look into afterwards.
    """
    playbook = overridden(playbook, case.assignments)
    case = respect_profiling(case, playbook)
    trace = Trace() if trace is None else trace
    keep = trace.keep
    chosen: list[Choice] = []
    hours = hour_weights(case, playbook)  # from the send-time score, if anything tells the hours apart
    better = foresee(case, playbook)  # of triggers that are due soon, where the playbook holds messages for them
    candidates = keep("nominate", nominate(case, playbook))
    candidates = keep("qualify", qualify(candidates, case, playbook))  # dates, conditions, cool-down, consent
    for rank in ranks(case, playbook):
        candidates = keep("place", place(candidates, case, playbook, chosen, hours), rank)  # quiet hours, expiry, caps
        candidates = keep("afford", afford(candidates, case, chosen), rank)  # slots at which budgets have room
        candidates = keep("appraise", appraise(candidates, case, playbook, chosen), rank)  # minor units; best first
        candidates = keep("hold", hold(candidates, better, case, playbook, chosen), rank)  # room for what is better
        candidates = keep("render", render(candidates, case, playbook), rank)  # a failing body is out, the next is up
        choice, left = choose(candidates, rank, case, playbook)  # one draw over feasible (candidate, slot) and nothing
        candidates = keep("choose", left, rank)
        if choice is None:
            break
        chosen.append(choice)
    return trace.decision(withhold(chosen, case), case, playbook)  # holdouts last: decided and logged, not sent


def respect_profiling(case: Case, playbook: Playbook) -> Case:
    """The case without scores when the customer does not consent to profiling, whoever computed them."""
    if not case.scores or Standing(case.consents).may_profile(policy_of(playbook, case.customer.traits)):
        return case
    return replace(case, scores={})
