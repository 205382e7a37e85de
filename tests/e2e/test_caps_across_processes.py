"""Caps hold under any concurrency: eight processes, the same customers, both databases."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.desks import playbook_of

from opportune.adapters.sql_ledger import SqlLedger

ROOT = Path(__file__).parents[2]
N_PROCESSES, N_CUSTOMERS, N_ASKS = 8, 200, 250
AT_MOST = 3
PLAYBOOK = f"""
topics: {{offers: {{purpose: marketing}}}}
consent: {{default: {{"*": in}}}}
caps:
  per_week: {{counts: {{purpose: marketing}}, at_most: {AT_MOST}, in: 7d}}
triggers: {{asked: {{kind: request}}}}
campaigns:
  offer:
    trigger: asked
    topic: offers
    channels: [inapp]
    expires_after: 10m
    content: {{inapp: {{body: Hello}}}}
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_eight_processes_never_exceed_a_cap_and_grant_exactly_what_it_allows(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """2,000 decisions for 200 customers from 8 processes: every customer gets min(asked, cap), never more."""
    url = f"sqlite:///{tmp_path}/ledger.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    playbook_of(tmp_path / "playbook", PLAYBOOK)
    ledger = SqlLedger(url)
    run = [sys.executable, "-m", "tests.e2e.asker", url, str(tmp_path / "playbook"), str(N_CUSTOMERS), str(N_ASKS)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*run, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for seed in range(N_PROCESSES)
    ]
    said = [p.communicate(timeout=300) for p in processes]
    assert [p.returncode for p in processes] == [0] * N_PROCESSES, said

    ids = [f"c{i}" for i in range(N_CUSTOMERS)]
    with ledger.read() as uow:
        sends = uow.sends.log(ids, datetime.now(UTC) - timedelta(days=8))
        asked = Counter(d.customer_id for d in uow.decisions.newest(None, N_PROCESSES * N_ASKS + 1))
    ledger.close()
    assert sum(asked.values()) == N_PROCESSES * N_ASKS
    assert {c: len(sends.get(c, ())) for c in ids} == {c: min(AT_MOST, asked[c]) for c in ids}
    assert sum(int(out) for out, _ in said) == sum(min(AT_MOST, asked[c]) for c in ids)
