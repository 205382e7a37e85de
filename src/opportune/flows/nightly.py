"""Where time is made to pass, budgets get their prices and campaigns their records at midnight UTC, and only then: so a
replay, a dry run and a sandbox come out the same however they are cut up. On the wall clock the worker does both."""

from datetime import datetime

from opportune.decision.rules import rules_of
from opportune.domain.instants import DAY_US, from_us, to_us
from opportune.flows.around import declared
from opportune.flows.price import price
from opportune.flows.tally import tally
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger

_CURSOR = "nightly"


def next_night_at(ledger: Ledger, playbook: Playbook, now: datetime) -> datetime | None:
    """When the next night is, `now` or later, the first one at once; null: the playbook has neither budgets nor
    campaigns that learn."""
    if not rules_of(playbook).budgets and not declared(playbook)[0]:
        return None
    with ledger.read() as uow:
        last = uow.cursors.get(_CURSOR)
    if last is None:
        return now
    return max(now, from_us((to_us(datetime.fromisoformat(last)) // DAY_US + 1) * DAY_US))


def pass_night(ledger: Ledger, playbook: Playbook, clock: Clock, owner: str) -> int:
    """Prices and records, if it is time; how many nights passed: 0 or 1."""
    now = clock.now()
    at = next_night_at(ledger, playbook, now)
    if at is None or at > now:
        return 0
    price(ledger, playbook, clock, owner)
    while tally(ledger, playbook, clock, owner):
        continue
    with ledger.begin() as uow:
        uow.cursors.put(_CURSOR, now.isoformat())
    return 1
