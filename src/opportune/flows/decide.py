"""A decision is asked for: read and score outside the lock, think purely under it, write once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from opportune.decision import record
from opportune.decision.consent import Standing
from opportune.decision.pipeline import decide as choose
from opportune.decision.rules import adapted, policy_of
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Case, Decision, Reason
from opportune.domain.messages import Send, SendState
from opportune.domain.timers import Timer, TimerFate
from opportune.experiments.assign import assign
from opportune.features.state import empty, finalise, rebuild
from opportune.flows import accounts
from opportune.flows.around import Around, Surroundings
from opportune.flows.book import book
from opportune.flows.desk import Desk, horizon_start
from opportune.flows.firing import fate_of, firing_id, stored, timer_of
from opportune.flows.past import Past, past_of
from opportune.flows.people import canonical_ids
from opportune.flows.plan_ahead import plan_ahead, rules_following
from opportune.flows.readings import Reading, read_features, readings_from, readings_of, tell_hours
from opportune.flows.recheck_news import earlier_news
from opportune.flows.set_out import set_out
from opportune.flows.spend import give_back
from opportune.flows.states import ledger_states
from opportune.flows.withdraw import suppressions_of
from opportune.playbook.vary import overridden
from opportune.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class AskRefused:
    """An ask that cannot be decided: which field, why, and what to do."""

    code: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A firing whose timer was gone (cancelled, restarted or fired elsewhere) once the lock was held."""

    customer_id: str


Answer = Decision | AskRefused | Withdrawn


def decide(asks: Sequence[Ask], desk: Desk) -> list[Answer]:
    """Decide for each ask, in order. One refused ask does not touch the rest.

    Features are read from the store and scored before the lock; under it their version is compared with the
    ledger's and healed. Raises Unavailable when the ledger cannot be reached: nothing was written then.
    """
    answers: list[Answer | None] = [refuse(ask, desk) for ask in asks]
    open_asks = {i: ask for i, ask in enumerate(asks) if answers[i] is None}
    for i, ask in list(open_asks.items()):
        if ask.at is not None:
            answers[i] = decide_as_of(open_asks.pop(i), desk)
    now = desk.clock.now()
    explained = {a.customer_id for a in open_asks.values() if a.explain}
    readings, degraded = read_features({a.customer_id for a in open_asks.values()}, now, desk, explained)
    while open_asks:
        ids = sorted({a.customer_id for a in open_asks.values()})
        in_accounts = accounts.accounts_now(ids, desk)
        with desk.ledger.begin([*ids, *accounts.locks_of(in_accounts.values())]) as uow:
            whose = canonical_ids(ids, uow)
            held = accounts.still([c for c in ids if whose[c] == c], in_accounts, desk, uow)
            mine = {i: a for i, a in open_asks.items() if a.customer_id in held}
            while mine:
                room = Room(desk, uow, now, list(mine.values()), readings, degraded)
                for i, ask in mine.items():
                    answers[i] = room.decide(ask)
                if room.around.take():  # else others spent a budget meanwhile: decide again on what is left
                    room.write()
                    break
        # Asked under a merged or anonymous id, or in another account by now: once more, holding the right locks.
        open_asks = {i: replace(a, customer_id=whose[a.customer_id]) for i, a in open_asks.items() if i not in mine}
    return [a for a in answers if a is not None]


def refuse(ask: Ask, desk: Desk) -> AskRefused | None:
    """Why this ask cannot be decided; null when it can."""
    if ask.trigger is not None and ask.trigger not in desk.playbook.spec.triggers:
        known = ", ".join(sorted(desk.playbook.spec.triggers)) or "none"
        return AskRefused("unknown_trigger", "trigger", f"the playbook has no trigger '{ask.trigger}'; it has: {known}")
    if ask.at is not None and not ask.dry_run:
        return AskRefused("at_needs_dry_run", "at", "`at` other than now is only answered with dry_run: true")
    return None


class Room:
    """One transaction's worth of deciding: what was read for its customers, and what will be written."""

    def __init__(
        self,
        desk: Desk,
        uow: UnitOfWork,
        now: datetime,
        asks: Sequence[Ask],
        readings: Mapping[str, Reading],
        degraded: bool,
        *,
        is_whole: bool = False,
    ) -> None:
        self.desk, self.uow, self.now, self.degraded, self.is_whole = desk, uow, now, degraded, is_whole
        self.readings = dict(readings)
        ids = sorted({a.customer_id for a in asks})
        self._explained = {a.customer_id for a in asks if a.explain}
        #: The instant each customer's features are of, which is the instant they are decided at.
        self.at = dict.fromkeys(ids, now)
        self._heal(ids)
        self.customers = uow.customers.get(ids)
        tell_hours({c: self.readings[c] for c in ids}, self.customers, self.now, desk, self._explained)
        self.consents = uow.consents.of(ids)
        self.sends = uow.sends.log(ids, horizon_start(self.now, desk.playbook))
        everyone = [self.customers.get(c) or Customer(customer_id=c) for c in ids]
        self.suppressions = suppressions_of(everyone, uow)
        self.around = Around(ids, self.now, desk.playbook, uow)
        self.account_sends = accounts.account_logs(self.customers.values(), self.now, desk.playbook, uow)
        self.booked: list[Send] = []
        self.decided: list[tuple[Ask, Case, Decision]] = []
        self.fired: list[tuple[Timer, TimerFate]] = []
        #: news booked before that newer news of the same item takes the place of.
        self.replaced: list[Send] = []
        #: what fired or was asked for by name: journeys may begin with it.
        self.setting_out: list[Case] = []

    def _heal(self, ids: list[str]) -> None:
        """Where the store lags the ledger, take the ledger's state, take now again, finish and score again."""
        stamps = self.uow.states.stamps(ids)
        behind = [c for c in ids if (c in self.readings or c in stamps) and not self._is_fresh(c, stamps)]
        if behind:
            self.now = max(self.now, self.desk.clock.now())
            states, found = ledger_states(behind, self.uow)
            for customer_id in behind:  # a row the ledger does not have is a leftover of another installation
                self.readings.pop(customer_id, None)
                self.at[customer_id] = self.now
            self.readings.update(
                readings_of(states, found, self.now, self.desk, self._explained, is_whole=self.is_whole)
            )
        blank = {c: empty() for c in ids if c not in self.readings}
        if blank:
            self.readings.update(readings_of(blank, {}, self.now, self.desk, (), is_whole=self.is_whole))
            self.at.update(dict.fromkeys(blank, self.now))

    def _is_fresh(self, customer_id: str, stamps: Mapping[str, tuple[int, datetime]]) -> bool:
        reading = self.readings.get(customer_id)
        return reading is not None and reading.is_of(stamps.get(customer_id))

    def decide(self, ask: Ask) -> Answer:
        """Decide one ask on what was read; its sends count for the next ask of the same customer."""
        if ask.firing is not None and not self.uow.timers.still([timer_of(ask)]):
            return Withdrawn(ask.customer_id)
        earlier = self._without_earlier_news(ask)
        case = self.case_of(ask)
        decision = self.choose(case)
        if decision.messages:
            self.replaced += earlier
        elif earlier:
            self.sends[ask.customer_id] += earlier
        if not ask.dry_run:
            fate = fate_of(decision, case, self.desk.playbook)
            if ask.firing is not None:
                self.fired.append((timer_of(ask), fate))
            if fate is TimerFate.FIRED and ask.trigger is not None:
                self.setting_out.append(case)
        return decision

    def _without_earlier_news(self, ask: Ask) -> list[Send]:
        """What newer news of the same item would replace; meanwhile it is not among the sends."""
        sends = self.sends.get(ask.customer_id, ())
        earlier = earlier_news(ask, sends, self.desk.playbook, self.desk.clock.now())
        if earlier:
            self.sends[ask.customer_id] = [s for s in sends if s not in earlier]
        return earlier

    def case_of(self, ask: Ask) -> Case:
        """What a decision on this ask depends on."""
        who = ask.customer_id
        customer = self.customers.get(who) or Customer(customer_id=who)
        known = Past(
            customer,
            (),
            tuple(self.consents.get(who, ())),
            tuple(self.sends.get(who, ())),
            self.suppressions[who],
            tuple(accounts.log_of(customer, self.account_sends)),
        )
        at, around = self.at[who], self.around.of(ask, self.at[who])
        return case_of(ask, known, at, self.readings[who], self.desk, around=around, degraded=self.degraded)

    def choose(self, case: Case) -> Decision:
        """Decide, and keep it to be written; a dry run leaves nothing."""
        ask, decision = case.ask, choose(case, self.desk.playbook)
        if not ask.dry_run:
            self.decided.append((ask, case, decision))
            limits = adapted(case, overridden(self.desk.playbook, case.assignments)) if decision.messages else {}
            booked = [record.send_of(decision, message, case, limits) for message in decision.messages]
            booked = self.around.book(booked, case.assignments)
            self.sends.setdefault(ask.customer_id, []).extend(booked)
            accounts.note(booked, self.account_sends)
            self.booked += booked
        return decision

    def write(self) -> None:
        """Everything at once: decisions with their cases, reserved sends, deliveries, exposures, fired timers."""
        if not self.decided:
            return
        uow = self.uow
        uow.decisions.add([stored(case, decision) for _, case, decision in self.decided])
        for send in self.replaced:
            uow.sends.move(send.message_id, SendState.RELEASED, self.now, Reason.CANCELLED)
        if self.replaced:
            give_back(self.replaced, uow)
        book(self.booked, uow)
        exposures = [
            {**e, "customer_id": c.customer.customer_id, "decision_id": d.decision_id, "at": d.decided_at}
            for _, c, d in self.decided
            for e in d.exposures
        ]
        if exposures:
            uow.exposures.add(exposures)
        for fate in {f for _, f in self.fired}:
            uow.timers.finish([t for t, f in self.fired if f is fate], fate, self.now)
        playbook = self.desk.playbook
        plan_ahead(rules_following((t for t, _ in self.fired), playbook), self.customers, uow, playbook, self.now)
        set_out(self.setting_out, playbook, uow)


def decide_as_of(ask: Ask, desk: Desk) -> Decision:
    """What would have been decided at `ask.at` from what was known then. Reads only; nothing is reserved or logged."""
    assert ask.at is not None
    with desk.ledger.read() as uow:
        past = past_of(ask.customer_id, ask.at, desk.playbook, uow)
    return choose(case_of_past(ask, past, ask.at, desk), desk.playbook)


def case_of_past(ask: Ask, past: Past, at: datetime, desk: Desk) -> Case:
    """The case of one customer at a past instant: features from the events known then, scores of today's models."""
    values = {past.customer.customer_id: finalise(rebuild(past.events), at)}
    explained = values if ask.explain else ()
    readings = readings_from(values, {}, desk, explained)
    tell_hours(readings, {past.customer.customer_id: past.customer}, at, desk, explained)
    reading = readings[past.customer.customer_id]
    return case_of(ask, past, at, reading, desk)


def case_of(
    ask: Ask,
    past: Past,
    now: datetime,
    reading: Reading,
    desk: Desk,
    *,
    around: Surroundings = Surroundings(),
    degraded: bool = False,
) -> Case:
    """All that one decision depends on, in one frozen record. Without consent to profiling there are no scores.

    `past`: what is known of the customer at `now`; its events are not read here. `around`: what is not about them.
    """
    customer = past.customer
    may_profile = Standing(past.consents).may_profile(policy_of(desk.playbook, customer.traits))
    decision_id = desk.new_id() if ask.firing is None else firing_id(ask)
    unit = desk.unit(customer.customer_id)
    env = {"features": reading.values, "traits": customer.traits}
    return Case(
        decision_id=decision_id,
        ask=ask,
        customer=customer,
        now=now,
        playbook_hash=desk.playbook.hash,
        code_version=desk.code_version,
        seed=desk.seed(decision_id),
        features=reading.values,
        features_version=reading.version,
        degraded=degraded,
        scores=reading.scores if may_profile else {},
        consents=past.consents,
        sends=past.sends,
        account_sends=past.account_sends,
        suppressions=past.suppressions,
        public_url=desk.public_url,
        budgets=around.budgets,
        records=around.records,
        coming=around.coming,
        unit=unit,
        assignments=assign(unit, now, customer.is_test, env, desk.playbook),
    )
