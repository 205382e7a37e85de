"""Whoever has the stock Feast SDK, the feature repository and a feature service reads what a decision was made from."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.desks import NOON, desk_of, playbook_of
from tests.e2e.test_features_everywhere import PEOPLE, case_of, log_of
from tests.e2e.test_next_decision import PLAYBOOK
from tests.unit.features.naive import assert_same, event

from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.system_clock import FixedClock
from opportune.domain.decisions import Case
from opportune.domain.instants import to_us
from opportune.features.catalog import NAMES
from opportune.flows import reads
from opportune.flows.ingest import ingest
from opportune.flows.project import project

#: What an outsider runs: Feast, paths of repositories, the name of a service, entity rows. Nothing of ours is named.
OUTSIDER = """
import json, sys
from feast import FeatureStore
answers = []
for repo, service, rows in json.load(sys.stdin):
    store = FeatureStore(repo_path=repo)
    answers.append(store.get_online_features(features=store.get_feature_service(service), entity_rows=rows).to_dict())
ours = {name.split(".")[1] for name in sys.modules if name.startswith("opportune.")}
json.dump({"answers": answers, "ours": sorted(ours)}, sys.stdout)
"""


@pytest.fixture(autouse=True)
def everything_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every customer at every hour is one of those who are served the whole catalogue."""
    monkeypatch.setattr(reads, "WHOLE_EVERY", 1)


def served(features: FeastFeatures, home: Path) -> list[Case]:
    """The stored cases of decisions at two instants; between them windows slide and no event comes."""
    desk = desk_of(playbook_of(home / "playbook", PLAYBOOK), clock=FixedClock(NOON), features=features)
    added = event("z", "Product Added", NOON, "c1", product_id="p9", price=3.35)
    ingest([*log_of(5), added], [], desk.ledger, desk.playbook, desk.clock)
    while project(desk.ledger, features, desk.clock, "test"):
        pass
    features.serve_model("purchase/1", {"features": list(NAMES), "target": "order within 30 d"})
    cases = [case_of(desk, c) for c in (*PEOPLE, "stranger")]
    later = FixedClock(NOON + timedelta(days=9))
    desk = replace(desk, clock=later, new_id=lambda: f"later-{len(cases)}")
    for customer in PEOPLE:
        cases.append(case_of(desk, customer))
    assert not any(case.degraded for case in cases)
    return cases


@pytest.mark.service
def test_a_fresh_process_with_feast_alone_reads_the_values_of_stored_decisions(
    postgres_url: str, redis_url: str, redis_project: str, tmp_path: Path
) -> None:
    """On SQLite, Redis and PostgreSQL, every feature of every case, by a process that knows the repository alone."""
    stores = [
        FeastFeatures(tmp_path / "sqlite"),
        FeastFeatures(tmp_path / "redis", redis_url, project=redis_project),
        FeastFeatures(tmp_path / "postgres", database_url=postgres_url, online="postgres"),
    ]
    cases = [served(features, features.place.home) for features in stores]
    asked = [[{"customer_id": c.customer.customer_id, "at_us": to_us(c.now)} for c in mine] for mine in cases]
    repos = [str(features.place.repo) for features in stores]
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDER],
        input=json.dumps([(repo, "purchase_v1", rows) for repo, rows in zip(repos, asked, strict=True)]),
        capture_output=True,
        text=True,
        check=False,
    )
    for features in stores:
        features.close()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["ours"]) <= {"domain", "features"}, "the repository must do without flows, ledger or wiring"
    for answer, rows, mine in zip(found["answers"], asked, cases, strict=True):
        assert set(answer) == {"customer_id", *NAMES}
        assert answer["customer_id"] == [row["customer_id"] for row in rows]
        for i, case in enumerate(mine):
            assert set(case.features) == set(NAMES)
            assert_same({name: answer[name][i] for name in NAMES}, dict(case.features))
