"""The examples over HTTP: whatever their tests do is done by requests, and says the same as `opportune test`."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.e2e.playing import Call, Player, Told
from tests.e2e.test_story import call

from opportune.adapters.sql_ledger import SqlLedger
from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.api.serving import make_time_pass
from opportune.decision import record
from opportune.flows.scoring import GivenScores
from opportune.playbook.load import EXAMPLES
from opportune.rehearsal import Outcome, cases_of, rehearse
from opportune.settings import Settings
from opportune.wiring import Installation

FILES = sorted(EXAMPLES.glob("*.yaml"))


def expected(outcome: Outcome) -> list[Told]:
    """What `opportune test` saw."""
    told = [(m.at, m.customer_id, m.campaign, m.channel, m.step, dict(m.content)) for m in outcome.messages]
    return sorted(told, key=lambda t: t[:2])


@contextmanager
def served(playbook: Path, home: Path, migrated: Path) -> Iterator[tuple[Call, GivenScores, SqlLedger]]:
    """The application on a home of its own, on the replay clock; scores are those a test gives."""
    home.mkdir()
    shutil.copy(migrated, home / "ledger.db")
    settings = Settings(home=home, playbook=playbook, clock="replay", api_key=None, write_key=None, decide_key=None)
    i, scores = Installation(settings, is_simulation=True), GivenScores()
    ledger = SqlLedger(settings.ledger_url, migrate=False, is_durable=False)
    i.ledger, i.scorer = ledger, scores
    with ledger.begin() as uow:  # chance draws as in a sandbox
        uow.cursors.put("installation_secret", b"sandbox".hex())
    app = create_app(Parts(settings=settings, desk=i.desk, advance=partial(make_time_pass, i), freeze=False))
    with TestClient(app) as client:

        def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
            answer = client.request(method, path, json=body)
            return answer.status_code, answer.json()

        yield ask, scores, ledger
    i.close()


def story(ledger: SqlLedger) -> list[str]:
    """Every decision in its sentence, as `opportune test` tells it."""
    with ledger.read() as uow:
        rows, _ = uow.decisions.after("", 10_000)
    told = [record.decision_to_dict(record.decision_from_json(row.decision)) for row in rows]
    return sorted(f"{d['decided_at']} {d['summary']}" for d in told)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_says_over_http_what_its_tests_say(file: Path, migrated_sqlite: Path, tmp_path: Path) -> None:
    """The same decisions, and the same messages at the same instants, from the real application on SQLite."""
    for number, outcome in enumerate(rehearse(cases_of(file), file)):
        home = tmp_path / str(number)
        with served(file, home, migrated_sqlite) as (ask, scores, ledger):
            told = Player(ask, home, outcome.test.case, scores.given).play()
            assert told == expected(outcome), outcome.test.name
            assert story(ledger) == sorted(outcome.story), outcome.test.name


@contextmanager
def running(playbook: Path, home: Path) -> Iterator[Call]:
    """`opportune serve` as an operator starts it, with its worker beside it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = {"OPPORTUNE_HOME": str(home), "OPPORTUNE_CLOCK": "replay", "OPPORTUNE_PLAYBOOK": str(playbook)}
    command = [sys.executable, "-m", "opportune", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **own}, cwd=home.parent)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if call(f"{url}/readyz")[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield lambda method, path, body: call(f"{url}{path}", body, method=method)
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("absence", "an_order_silences_its_own_checkout_and_no_other"),
        ("onboarding", "three_messages_to_who_does_nothing"),
    ],
)
def test_a_server_and_its_worker_say_the_same(name: str, test: str, tmp_path: Path) -> None:
    """One trigger and one journey by the processes an operator runs: server, worker, Feast, file sink."""
    file, home = EXAMPLES / f"{name}.yaml", tmp_path / "home"
    (outcome,) = rehearse([one for one in cases_of(file) if one.name == test], file)
    assert len(outcome.messages) > 0
    with running(file, home) as ask:
        assert Player(ask, home, outcome.test.case).play() == expected(outcome)
