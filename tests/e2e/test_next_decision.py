"""An event is seen by the very next decision, whatever the online store has."""

import random
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.desks import FakeFeatureStore, desk_of, playbook_of

from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.decision import record
from opportune.domain.decisions import Ask, Case, Decision
from opportune.domain.events import Event, EventKind, Origin
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.project import project
from opportune.ports import FeatureStore, Unavailable

PLAYBOOK = """
topics: {offers: {purpose: marketing}}
consent: {default: {"*": in}}
triggers: {asked: {kind: request}}
campaigns:
  offer:
    trigger: asked
    topic: offers
    channels: [inapp]
    when: features.views_n_1d >= 0
    content: {inapp: {body: Hello}}
"""


def viewed(customer: str, message_id: str, at: datetime) -> Event:
    """A product view that came in just now."""
    return Event(
        message_id=message_id, kind=EventKind.TRACK, name="Product Viewed", user_id=customer, anonymous_id=None,
        original_at=at, sent_at=at, received_at=at, event_at=at, known_at=at, ingested_at=at, origin=Origin.LIVE,
        properties={"product_id": "p1"},
    )  # fmt: skip


def views_seen(desk: Desk, customer: str) -> tuple[Any, bool]:
    """What the next decision knew of the customer's views today, and whether it was degraded."""
    answer = decide([Ask(customer_id=customer)], desk)[0]
    assert isinstance(answer, Decision)
    with desk.ledger.read() as uow:
        row = uow.decisions.get(answer.decision_id)
    assert row is not None
    case: Case = record.case_from_json(row.case)
    return case.features["views_n_1d"], case.degraded


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_an_event_is_seen_by_the_very_next_decision_1000_times_of_1000(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The projector runs now and then, so that the store is fresh, stale and empty in turn; the decision never is."""
    redis_url = request.getfixturevalue("redis_url") if store == "redis" else None
    project_name = request.getfixturevalue("redis_project") if store == "redis" else "opportune"
    ledger, clock = SqlLedger(f"sqlite:///{tmp_path}/ledger.db"), WallClock()
    features = FeastFeatures(tmp_path, redis_url, project_name)
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), ledger, clock, features)
    draw = random.Random(7)
    views: dict[str, int] = {}
    for i in range(1000):
        customer = f"c{draw.randrange(60)}"
        ingest([viewed(customer, f"m{i}", clock.now())], [], ledger, desk.playbook, clock)
        views[customer] = views.get(customer, 0) + 1
        assert views_seen(desk, customer) == (views[customer], False), f"event {i}"
        if draw.random() < 0.05:
            project(ledger, features, clock, "test")
    assert project(ledger, features, clock, "test") >= 0
    assert {c: features.read([c])[c].version for c in views} == views
    ledger.close()


def test_with_the_store_stopped_the_decision_uses_the_ledger_and_says_degraded(tmp_path: Path) -> None:
    """Features come from the ledger's own state, and the answer says so."""
    store = FakeFeatureStore()
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), features=store)
    now = desk.clock.now()
    ingest(
        [viewed("c1", "m1", now), viewed("c1", "m2", now - timedelta(hours=2))],
        [],
        desk.ledger,
        desk.playbook,
        desk.clock,
    )
    store.is_down = True
    assert views_seen(desk, "c1") == (2, True)
    store.is_down = False
    assert views_seen(desk, "c1") == (2, False)


def test_a_real_redis_that_stops_degrades_decisions_and_nothing_more(tmp_path: Path) -> None:
    """A Redis server of the test's own is killed in the middle: decisions go on from the ledger."""
    import shutil
    import socket

    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server program to start and kill")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen(
        [server, "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        features: FeatureStore = FeastFeatures(tmp_path, f"redis://127.0.0.1:{port}/0")
        desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), clock=WallClock(), features=features)
        ingest([viewed("c1", "m1", datetime.now(UTC))], [], desk.ledger, desk.playbook, desk.clock)
        for _ in range(100):
            try:
                project(desk.ledger, features, desk.clock, "test")
                break
            except Unavailable:
                time.sleep(0.1)
        for _ in range(100):  # a store that was just found down is left alone for a second
            if views_seen(desk, "c1") == (1, False):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the store is up and decisions are still degraded")
        process.kill()
        process.wait()
        assert views_seen(desk, "c1") == (1, True)
    finally:
        process.kill()
        process.wait()
