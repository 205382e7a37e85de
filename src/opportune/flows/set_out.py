"""A trigger has fired: who sets out on the journeys that begin with it. In the transaction of the decision."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from opportune.decision.environment import environment
from opportune.domain.decisions import Case
from opportune.domain.journeys import Instance
from opportune.domain.timers import Timer
from opportune.journeys.again import may_set_out
from opportune.journeys.definition import Definition, definition_of
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork


def set_out(cases: Sequence[Case], playbook: Playbook, uow: UnitOfWork) -> int:
    """Start the journeys of what fired, where no instance of the same key is on the way and coming again is allowed;
    how many. Locks are held. Their first step is due at once."""
    starting = [(case, name) for case in cases for name in playbook.journeys_of(case.ask.trigger or "")]
    starting = [(c, n) for c, n in starting if playbook.spec.journeys[n].state == "open" and _fires(c, playbook)]
    if not starting:
        return 0
    there = uow.journeys.of({case.customer.customer_id for case, _ in starting})
    started: list[Instance] = []
    definitions: dict[str, Definition] = {}
    for case, name in starting:
        definition = definition_of(name, playbook)
        one = first_stand(case, definition)
        known = [*there.get(one.customer_id, ()), *started]
        before = [it for it in known if (it.customer_id, it.rule, it.key) == (one.customer_id, one.rule, one.key)]
        if may_set_out(definition.journey, before, case.now):
            started.append(one)
            definitions[definition.version] = definition
    for definition in definitions.values():
        uow.journeys.define(definition.version, definition.source, cases[0].now)
    if started:
        uow.journeys.put(started)
        uow.timers.arm([timer_for(one, cases[0].now, cases[0].now) for one in started])
    return len(started)


def _fires(case: Case, playbook: Playbook) -> bool:
    """The trigger's own condition holds now."""
    return playbook.holds(playbook.spec.triggers[case.ask.trigger or ""].when, environment(case))


def first_stand(case: Case, definition: Definition) -> Instance:
    """The instance before its first step. Its id is a function of what fired: firing once starts it once."""
    firing = case.ask.firing
    digest = hashlib.sha256(f"{definition.name}\x00{case.decision_id}".encode()).hexdigest()[:30]
    return Instance(
        instance_id=f"j-{digest}",
        customer_id=case.customer.customer_id,
        journey=definition.name,
        key=firing.key if firing is not None else "",
        version=definition.version,
        started_at=min(firing.due_at, case.now) if firing is not None else case.now,
        started_by=firing.set_by if firing is not None else case.decision_id,
        properties=dict(firing.properties) if firing is not None else dict(case.ask.context),
        step=definition.first,
        heard=(firing.set_by,) if firing is not None else (),
    )


def timer_for(one: Instance, due_at: datetime, now: datetime) -> Timer:
    """The timer that wakes an instance: one for each stand, so that a step is claimed once."""
    return Timer(
        rule=one.rule,
        customer_id=one.customer_id,
        key=one.key,
        due_at=due_at,
        set_at=now,
        set_by=f"{one.instance_id}:{one.n_taken}",
    )
