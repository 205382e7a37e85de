"""Absence waits for its sources: timers that may not be concluded yet are put off, not lost. Other kinds never wait."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from opportune.domain.timers import Timer
from opportune.flows.health import health, may_conclude_at
from opportune.playbook.load import Playbook
from opportune.ports import UnitOfWork


def hold(timers: Sequence[Timer], playbook: Playbook, now: datetime, uow: UnitOfWork) -> list[Timer]:
    """Those of the claimed timers that may go on now; the others are put off to when they may be asked again."""
    triggers = playbook.spec.triggers
    absent = {t.rule for t in timers if t.rule in triggers and triggers[t.rule].kind == "absence"}
    if not absent:
        return list(timers)
    found = health(playbook, now, uow)
    free: list[Timer] = []
    waiting: dict[datetime, list[Timer]] = {}
    for timer in timers:
        if timer.rule not in absent:
            free.append(timer)
            continue
        trigger = triggers[timer.rule]
        unless = [on.event for on in trigger.unless]
        at = may_conclude_at(timer.due_at, trigger.wait or timedelta(0), unless, playbook, found, now)
        if at <= now:
            free.append(timer)
        else:
            waiting.setdefault(at, []).append(timer)
    for at, held in waiting.items():
        uow.timers.put_off(held, at)
    return free
