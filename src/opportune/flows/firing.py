"""What fired and what became of it: the timer behind a firing, the id of its decision, its row, its fate."""

import hashlib

from opportune.decision import record
from opportune.decision.environment import environment
from opportune.domain.decisions import Ask, Case, Decision, Mode, Reason, StoredDecision
from opportune.domain.timers import Timer, TimerFate
from opportune.playbook.load import Playbook


def stored(case: Case, decision: Decision) -> StoredDecision:
    """The row of the decision log."""
    return StoredDecision(
        decision_id=decision.decision_id,
        customer_id=decision.customer_id,
        decided_at=decision.decided_at,
        playbook_hash=decision.playbook_hash,
        trigger=case.ask.trigger,
        mode=Mode(decision.mode),
        n_messages=len(decision.messages),
        case=record.case_to_json(case),
        decision=record.decision_to_json(decision),
    )


def timer_of(ask: Ask) -> Timer:
    """The timer behind a firing, as far as its identity goes."""
    assert ask.firing is not None
    f = ask.firing
    return Timer(
        rule=f.trigger, customer_id=ask.customer_id, key=f.key, due_at=f.due_at, set_at=f.due_at,
        set_by=f.set_by, payload=f.properties, version=f.version,
    )  # fmt: skip


def firing_id(ask: Ask) -> str:
    """The same firing always makes the same decision id, so that it can never be decided twice."""
    assert ask.firing is not None
    f = ask.firing
    text = "\x00".join((f.trigger, ask.customer_id, f.key, f.set_by, str(f.version)))
    return "d-" + hashlib.sha256(text.encode()).hexdigest()[:30]


def fate_of(decision: Decision, case: Case, playbook: Playbook) -> TimerFate:
    """CONDITION_FALSE when the trigger's own condition kept everything back: that starts no cool-down."""
    rule = case.ask.trigger
    if decision.messages:
        return TimerFate.FIRED
    if decision.removed:
        own = all(r.reason is Reason.CONDITION_FALSE and r.rule == rule for r in decision.removed)
    else:  # no campaign was asked; journeys may begin with it
        trigger = playbook.spec.triggers.get(rule or "")
        own = trigger is not None and not playbook.holds(trigger.when, environment(case))
    return TimerFate.CONDITION_FALSE if own else TimerFate.FIRED
