"""The worker as `opportune work` puts it together."""

from dataclasses import replace
from pathlib import Path

from tests.desks import playbook_of
from tests.unit.flows.ingesting import event

from opportune.cli.work import worker_of
from opportune.domain.item_updates import read_update
from opportune.flows.ingest import ingest
from opportune.flows.update_items import put_items
from opportune.settings import Settings
from opportune.wiring import Installation

PLAYBOOK = """
topics: {offers: {}}
consent: {default: {"*": in}}
triggers: {cheaper: {change: price_drop}}
campaigns:
  cheaper:
    trigger: cheaper
    topic: offers
    channels: [inapp]
    content: {inapp: {body: "{{ item.title }} is cheaper"}}
"""


def test_the_urgent_duties_carry_a_price_drop_to_the_courier(tmp_path: Path) -> None:
    """Every one of them runs without a fault, on an installation of its own."""
    playbook_of(tmp_path / "playbook", PLAYBOOK)
    i = Installation(Settings(home=tmp_path / "home", playbook=tmp_path / "playbook"))
    now = i.clock.now()
    look = event("Product Viewed", 0, "ann", properties={"product_id": "p1"})
    seen = replace(look, event_at=now, received_at=now, known_at=now, ingested_at=now)
    ingest([seen], (), i.ledger, i.playbook, i.clock)
    for price in (100, 80):
        put_items([read_update({"title": "Shoe", "price_minor": price}, i.clock.now(), "p1")], i.ledger, i.clock)
    duties = ("beat", "signs", "interest", "spread", "fire", "look", "deliver")
    (worker,) = worker_of(i).lanes(duties)
    worker.exhaust()
    assert {name: duty.last_error for name, duty in worker.duties.items() if duty.last_error} == {}
    assert len(list((tmp_path / "home" / "sent").glob("*.json"))) == 1
    i.close()
