"""The report, end to end: events to messages to outcomes to figures, on every ledger."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.desks import NOON, desk_of, playbook_of

from opportune.adapters.system_clock import FixedClock
from opportune.domain.decisions import Ask
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import Event, Origin
from opportune.domain.messages import Send
from opportune.flows.decide import decide
from opportune.flows.deliver import deliver, report_status
from opportune.flows.fire import fire_all
from opportune.flows.ingest import ingest
from opportune.flows.report import campaign_report
from opportune.ports import Ledger

BOOK = """
goals: {order: {event: Order Completed, value: properties.total, horizon: 7d}}
topics: {t: {purpose: marketing}}
consent: {default: {email: in, "*": out}}
caps: {weekly: {counts: {purpose: marketing}, at_most: 1, in: 7d}}
triggers:
  viewed: {on: {event: Product Viewed}}
  offer: {kind: request}
campaigns:
  look: {trigger: viewed, topic: t, channels: [email], goal: order, content: {email: {subject: s, body: b}}}
  offer: {trigger: offer, topic: t, channels: [email], content: {email: {subject: s, body: b}}}
"""


class Post:
    """A courier that always succeeds."""

    def deliver(self, sends: list[Send], at: object) -> None: ...


def test_a_report_adds_up_over_pages_and_leaves_test_customers_out(tmp_path: Path, ledger: Ledger) -> None:
    """Twelve customers: all looked at, those with an address were written to, two bought; three were asked again."""
    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(tmp_path, BOOK), ledger, clock)
    numbers = iter(range(1000))

    def event(customer: str, **item: object) -> Event:
        given = {"type": "track", "userId": customer, **item}
        return read_envelope(
            given, Reading(received_at=clock.now(), origin=Origin.LIVE, new_id=lambda: f"e{next(numbers)}")
        )

    def take(*events: Event) -> None:
        ingest(events, (), ledger, desk.playbook, clock)

    for n in range(12):
        traits = {"timezone": "Europe/London", **({"email": f"c{n}@example.org"} if n < 9 else {}), "is_test": n == 8}
        take(event(f"c{n}", type="identify", traits=traits), event(f"c{n}", event="Product Viewed"))
    fire_all(desk, "w")
    assert deliver(ledger, desk.playbook, Post(), clock).n_sent == 9
    clock.advance(NOON + timedelta(hours=1))
    with ledger.read() as uow:
        ids = {s.customer_id: s.message_id for c in range(9) for s in uow.sends.log([f"c{c}"], NOON)[f"c{c}"]}
    report_status(ids["c0"], "clicked", None, None, ledger, clock)
    report_status(ids["c1"], "opened", None, None, ledger, clock)
    for n in (0, 2, 8):
        take(event(f"c{n}", event="Order Completed", properties={"order_id": f"o{n}", "total": 20.5}))
    decide([Ask(customer_id=f"c{n}") for n in range(3)], desk)

    found = campaign_report(NOON - timedelta(days=1), clock.now() + timedelta(days=1), ledger, desk.playbook, clock, 5)

    [look] = found["campaigns"]
    assert (look["campaign"], look["sent"], look["opened"], look["clicked"]) == ("look", 8, 2, 1)
    assert (look["converted"], look["revenue_minor"], look["still_open"]) == (2, 4100, 8)
    looked, offered = found["reach"]
    assert (looked["chances"], looked["heard"]) == (11, 8)
    assert [(it["why"], it["n"]) for it in looked["lost"]] == [("no address", 3)]
    assert [(it["why"], it["share"]) for it in offered["lost"]] == [("caps", 1.0)]
    whole = campaign_report(NOON - timedelta(days=1), clock.now() + timedelta(days=1), ledger, desk.playbook, clock)
    assert found == whole
    later = campaign_report(
        clock.now() + timedelta(days=1), clock.now() + timedelta(days=2), ledger, desk.playbook, clock
    )
    assert (later["campaigns"], later["reach"]) == ([], [])


def test_a_period_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    """The message names both ends."""
    desk = desk_of(playbook_of(tmp_path, BOOK))
    with pytest.raises(ValueError, match="is not before until"):
        campaign_report(NOON, NOON, desk.ledger, desk.playbook, desk.clock)
