"""What decisions stand on beyond their customers: budgets, the record of campaigns, what is due soon. Read only where
the playbook declares that it matters."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from opportune.decision.budgets import standing_of
from opportune.decision.rules import rules_of
from opportune.domain.budgets import BudgetStanding
from opportune.domain.decisions import Ask, Firing
from opportune.domain.evidence import CampaignRecord
from opportune.domain.instants import from_us, to_us
from opportune.domain.messages import Send
from opportune.domain.timers import Timer
from opportune.flows.spend import uses_of, with_uses
from opportune.playbook.load import Playbook
from opportune.playbook.vary import variants_of
from opportune.ports import UnitOfWork


class Surroundings(NamedTuple):
    """The part of a Case that is not about its customer."""

    budgets: tuple[BudgetStanding, ...] = ()
    records: tuple[CampaignRecord, ...] = ()
    coming: tuple[Firing, ...] = ()


class Around:
    """Read once per transaction, then told what its own decisions have booked."""

    def __init__(self, customer_ids: Collection[str], now: datetime, playbook: Playbook, uow: UnitOfWork) -> None:
        self._playbook, self._uow = playbook, uow
        self._rules = {rule.name: rule for rule in rules_of(playbook).budgets}
        self._booked: list[Send] = []
        self._spent: dict[tuple[str, datetime], int] = {}
        if self._rules:
            since = min(from_us(rule.period(to_us(now))[0]) for rule in self._rules.values())
            self._spent = uow.budgets.spent(self._rules, since)
            self._prices = uow.budgets.prices(self._rules)
        learning, self._hold = declared(playbook)
        self._records = uow.records.get(learning) if learning else {}
        self._timers: Mapping[str, Sequence[Timer]] = uow.timers.of(customer_ids) if self._hold else {}

    def of(self, ask: Ask, now: datetime) -> Surroundings:
        """What this ask's decision at `now` stands on."""
        coming = self._coming(ask, now) if self._timers else ()
        return Surroundings(self._standings(now), self._records_of(ask, coming) if self._records else (), coming)

    def _standings(self, now: datetime) -> tuple[BudgetStanding, ...]:
        found = []
        for name, rule in self._rules.items():
            start = from_us(rule.period(to_us(now))[0])
            mine = [(at, n) for (budget, at), n in self._spent.items() if budget == name and at >= start]
            found.append(standing_of(rule, now, self._prices.get(name), mine))
        return tuple(found)

    def _records_of(self, ask: Ask, coming: Sequence[Firing]) -> tuple[CampaignRecord, ...]:
        asks = [ask, *(Ask(customer_id=ask.customer_id, firing=it) for it in coming)]
        rules = rules_of(self._playbook)
        campaigns = {option.campaign for it in asks for option in rules.options(it)}
        return tuple(self._records[name] for name in sorted(campaigns & self._records.keys()))

    def _coming(self, ask: Ask, now: datetime) -> tuple[Firing, ...]:
        triggers, firing = self._playbook.spec.triggers, ask.firing
        return tuple(
            Firing(trigger=t.rule, key=t.key, due_at=t.due_at, set_by=t.set_by, version=t.version, properties=t.payload)
            for t in sorted(self._timers.get(ask.customer_id, ()), key=lambda t: (t.due_at, t.rule, t.key))
            if t.rule in triggers
            and now < t.due_at <= now + self._hold
            and (firing is None or (firing.trigger, firing.key) != (t.rule, t.key))
        )

    def book(self, sends: Sequence[Send], assignments: Mapping[str, str]) -> list[Send]:
        """These sends with what they use of budgets; what is left for the next decision is that much less."""
        if not self._rules:
            return list(sends)
        booked = [with_uses(send, self._playbook, assignments) for send in sends]
        for send in booked:
            for use in uses_of(send):
                place = use.budget, use.starts_at
                self._spent[place] = self._spent.get(place, 0) + use.amount
        self._booked += booked
        return booked

    def take(self, released: Sequence[Send] = ()) -> bool:
        """Spend what was booked, and give back what these released sends used. False: others have spent meanwhile what
        these decisions counted on, decide again."""
        uses = [use for send in self._booked for use in uses_of(send)]
        uses += [use for send in released for use in uses_of(send, sign=-1)]
        limits = {name: rule.limit for name, rule in self._rules.items()}
        return not uses or self._uow.budgets.take(uses, limits)


#: Campaigns that learn and how far ahead is looked, per playbook hash: worked out once, asked in every decision.
_DECLARED: dict[str, tuple[set[str], timedelta]] = {}


def declared(playbook: Playbook) -> tuple[set[str], timedelta]:
    """Campaigns that learn from their records, and how far ahead better messages are looked for."""
    found = _DECLARED.get(playbook.hash)
    if found is None:
        found = _DECLARED[playbook.hash] = learning_campaigns(playbook), hold_of(playbook)
    return found


def learning_campaigns(playbook: Playbook) -> set[str]:
    """Campaigns whose own record corrects what is declared about them, under any variation."""
    found: set[str] = set()
    for varied in variants_of(playbook):
        spec = varied.spec
        learns_fatigue = spec.fatigue is not None and spec.fatigue.prior_weight is not None
        found |= {name for name, c in spec.campaigns.items() if learns_fatigue or c.prior_weight is not None}
    return found


def hold_of(playbook: Playbook) -> timedelta:
    """How far ahead better messages are looked for, under any variation; zero: not at all."""
    return max((p.spec.hold_for_better or timedelta(0) for p in variants_of(playbook)), default=timedelta(0))
