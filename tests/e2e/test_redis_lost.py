"""Redis is killed under callers who go on: no call fails, decisions see every event, the state comes back the same."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient
from tests.desks import desk_of, playbook_of
from tests.e2e.test_next_decision import PLAYBOOK
from tests.services import OwnRedis

from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.flows.desk import Desk
from opportune.flows.project import project
from opportune.flows.rebuild import rebuild
from opportune.ports import Unavailable
from opportune.settings import Settings

PEOPLE = [f"c{i}" for i in range(8)]


class Callers(threading.Thread):
    """One caller after another: an event, then a decision for that customer, checked against what was sent so far."""

    def __init__(self, door: TestClient) -> None:
        super().__init__(daemon=True)
        self.door, self.stop = door, threading.Event()
        self.views: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[Any] = []
        self.n_degraded = self.n_whole = 0

    def run(self) -> None:
        n = 0
        while not self.stop.is_set():
            customer = PEOPLE[n % len(PEOPLE)]
            view = {"type": "track", "userId": customer, "event": "Product Viewed", "messageId": f"v{n}"}
            sent = self.door.post("/v1/track", json=view)
            self.views[customer] += 1
            answer = self.door.post("/v1/decisions", json={"customer_id": customer, "dry_run": True})
            known = self.door.get(f"/v1/customers/{customer}")
            for each in (sent, answer, known):
                self.statuses[each.status_code] += 1
            if answer.status_code == known.status_code == 200:
                self.n_degraded += answer.json()["degraded"]
                self.n_whole += not answer.json()["degraded"]
                if known.json()["features"]["views_n_1d"] != self.views[customer]:
                    self.wrong.append((customer, n))
            n += 1

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait while the callers go on."""
        for _ in range(600):
            if is_so():
                return
            time.sleep(0.05)
        raise AssertionError(f"it never came to {what}: {self.statuses}, {self.n_degraded} degraded")


def project_all(desk: Desk, store: FeastFeatures) -> None:
    """The worker's projector, until nothing waits or the store is away."""
    try:
        while project(desk.ledger, store, desk.clock, "test"):
            pass
    except Unavailable:
        pass


def test_killed_mid_run_no_call_fails_and_the_rebuilt_store_holds_the_ledgers_state(tmp_path: Path) -> None:
    """Decisions are whole, then degraded with the ledger's features, then whole again; never a 5xx in between."""
    server = OwnRedis(tmp_path)
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    store = FeastFeatures(tmp_path, server.url)
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), ledger, WallClock(), store)
    configured = Settings(api_key=None, write_key=None, decide_key=None)
    store.apply()
    try:
        with TestClient(create_app(Parts(settings=configured, desk=desk, freeze=False))) as door:
            callers = Callers(door)
            callers.start()
            callers.until(lambda: len(callers.views) == len(PEOPLE), "events of everybody")
            project_all(desk, store)
            callers.until(lambda: callers.n_whole > 8, "decisions from Redis")
            server.kill()
            callers.until(lambda: callers.n_degraded > 8, "decisions from the ledger")
            server.start()
            rebuild(ledger, ParquetArchive(tmp_path), desk.clock)
            time.sleep(1.05)  # the pause after a failure
            whole = callers.n_whole
            project_all(desk, store)
            callers.until(lambda: callers.n_whole > whole + 8, "decisions from Redis again")
            callers.stop.set()
            callers.join(20)
        assert set(callers.statuses) == {200}
        assert not callers.wrong
        project_all(desk, store)
        with ledger.read() as uow:
            assert store.read(PEOPLE) == uow.states.get(PEOPLE)
        assert rebuild(ledger, ParquetArchive(tmp_path), desk.clock).n_changed == 0
    finally:
        ledger.close()
        server.kill()
