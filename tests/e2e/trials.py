"""A small shop with an experiment and a holdout, three days of it, for tests that look at what becomes of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.desks import NOON, desk_of, playbook_of
from tests.unit.learning.fakes import MemoryRunLog

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Decision
from opportune.domain.events import Event, EventKind, Origin
from opportune.flows.decide import decide
from opportune.flows.deliver import report_status
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.publish import publish_decisions
from opportune.flows.publish_experiments import publish_experiments
from opportune.ports import ExperimentLog, RunLog

PLAYBOOK = """
goals:
  order: {event: Order Completed, value: properties.total, horizon: 30d}
topics: {offers: {}}
consent: {default: {"*": in}}
caps:
  weekly: {counts: {purpose: marketing}, at_most: 1, in: 7d}
triggers: {ask: {kind: request}}
campaigns:
  offer: {trigger: ask, topic: offers, channels: [email], content: {email: {subject: Offer, body: Hello}}}
holdout: {share: 0.1}
experiments:
  cap_two:
    description: Does a second message a week pay?
    variations:
      control: {}
      treatment: {override: {caps.weekly.at_most: 2}}
    starts_at: 2026-03-02
    ends_at: 2026-03-04
    window: 1d
"""
N_CUSTOMERS, N_DAYS = 40, 3
CUSTOMERS = [f"secret-person-{n:03}@example.org" for n in range(N_CUSTOMERS)]


@dataclass
class Shop:
    """The desk, its clock, and every decision made."""

    desk: Desk
    clock: FixedClock
    decisions: list[Decision]

    def publish(self, log: ExperimentLog, runlog: RunLog | None = None, share: float = 0.3) -> tuple[int, int]:
        """Everything to MLflow; how many decisions and points were new."""
        d = self.desk
        runs = runlog or MemoryRunLog()
        points = publish_experiments(d.ledger, d.playbook, log, d.clock, "me", d.unit, is_forced=True)
        n = publish_decisions(d.ledger, runs, d.clock, "me", d.unit, experiments=log, trace_share=share)
        return n, points


def shop(folder: Path) -> Shop:
    """The shop on its first noon."""
    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(folder, PLAYBOOK), MemoryLedger(), clock)
    with desk.ledger.begin() as uow:
        uow.customers.put([Customer(customer_id=c, traits={"email": c}) for c in CUSTOMERS])
    return Shop(desk, clock, [])


def live(shop: Shop, n_days: int = N_DAYS) -> None:
    """Every noon all are asked about; messages go, every third is opened, every sixth leads to an order."""
    for day in range(n_days):
        noon = NOON + timedelta(days=day)
        shop.clock.advance(noon)
        answers = decide([Ask(customer_id=c) for c in CUSTOMERS], shop.desk)
        for n, decision in enumerate(answers):
            assert isinstance(decision, Decision)
            shop.decisions.append(decision)
            for message in decision.messages:
                if not message.is_virtual:
                    act(shop, message.message_id, decision.customer_id, n, noon)
    shop.clock.advance(NOON + timedelta(days=n_days + 1))


def act(shop: Shop, message_id: str, customer_id: str, n: int, noon: datetime) -> None:
    """What customer `n` does with a message."""
    ledger, clock = shop.desk.ledger, shop.clock
    report_status(message_id, "sent", noon, None, ledger, clock)
    if n % 3 == 0:
        report_status(message_id, "opened", noon, None, ledger, clock)
    if n % 6 == 0:
        clock.advance(max(clock.now(), noon + timedelta(hours=1)))
        ingest([order(message_id, customer_id, clock.now())], [], ledger, shop.desk.playbook, clock)


def order(message_id: str, customer_id: str, at: datetime) -> Event:
    """An order of 20.00."""
    return Event(
        message_id=f"order:{message_id}", kind=EventKind.TRACK, name="Order Completed", user_id=customer_id,
        anonymous_id=None, original_at=at, sent_at=at, received_at=at, event_at=at, known_at=at, ingested_at=at,
        origin=Origin.LIVE, properties={"total": 20},
    )  # fmt: skip
