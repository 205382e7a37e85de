"""Foresee: the messages that triggers already waiting would send soon, as far as that can be told today."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opportune.decision.appraise import appraise
from opportune.decision.candidate import Candidate, Slot
from opportune.decision.nominate import nominate
from opportune.decision.qualify import qualify
from opportune.domain.decisions import Ask, Case
from opportune.domain.instants import to_us
from opportune.domain.messages import Deliver
from opportune.playbook.load import Playbook


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A message expected at `due_us`, worth `value_minor` then; it can go until its own expiry."""

    candidate: Candidate
    due_us: int
    value_minor: int


def foresee(case: Case, playbook: Playbook) -> Sequence[Foreseen]:
    """What comes within `hold_for_better`, best first; empty when the playbook holds nothing.

    Each waiting trigger is asked as if it fired at its instant with what is known now: dates, conditions, cool-down,
    consent, value. What has no value is not compared.
    """
    span = playbook.spec.hold_for_better
    if span is None or not case.coming:
        return ()
    found: list[Foreseen] = []
    for firing in case.coming:
        if not case.now < firing.due_at <= case.now + span:
            continue
        ask = Ask(customer_id=case.ask.customer_id, trigger=firing.trigger, firing=firing, deliver=Deliver.SERVICE)
        then = replace(case, ask=ask, now=firing.due_at, coming=(), budgets=())
        due_us = to_us(firing.due_at)
        placed = [
            c.placed((Slot(due_us),), to_us(firing.due_at + c.option.spec.expires_after))
            for c in qualify(nominate(then, playbook).kept, then, playbook).kept
        ]
        for candidate in appraise(placed, then, playbook).kept:
            if not candidate.option.is_transactional and candidate.values[0] is not None:
                found.append(Foreseen(candidate, due_us, candidate.values[0]))
    return sorted(found, key=lambda it: -it.value_minor)
