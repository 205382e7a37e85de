"""One value everywhere: served in a decision, read by the stock Feast SDK, recomputed offline, rebuilt after a loss."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.desks import NOON, FakeFeatureStore, desk_of, playbook_of
from tests.e2e.test_next_decision import PLAYBOOK
from tests.services import OwnRedis
from tests.unit.features.naive import NAMES as EVENT_NAMES
from tests.unit.features.naive import assert_same, event

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.mlflow_runlog import MlflowRunLog
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import FixedClock
from opportune.decision import record
from opportune.domain.decisions import Ask, Case, Decision
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import to_us
from opportune.features.catalog import NAMES
from opportune.flows import reads
from opportune.flows.backfill import backfill, frame_of, tail_of
from opportune.flows.consistency import check, check_new
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.freshness import freshness
from opportune.flows.ingest import ingest
from opportune.flows.project import project
from opportune.flows.publish import archive_events, compact_archive
from opportune.flows.rebuild import rebuild
from opportune.ports import Unavailable

pytestmark = pytest.mark.xdist_group("feast")
PEOPLE = [f"c{i}" for i in range(12)]


@pytest.fixture(autouse=True)
def everything_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every customer at every hour is one of those who are served the whole catalogue."""
    monkeypatch.setattr(reads, "WHOLE_EVERY", 1)


def log_of(seed: int, n: int = 300) -> list[Event]:
    """Events of twelve people over the last 90 days before NOON, in random order."""
    draw = random.Random(seed)
    found = []
    for i in range(n):
        at = NOON - timedelta(seconds=draw.randrange(5, 90 * 86_400))
        extra = {"product_id": f"p{draw.randrange(4)}", "price": 9.99, "quantity": 2, "revenue": draw.randrange(90)}
        found.append(event(f"{seed}-{i}", draw.choice(EVENT_NAMES[:-4]), at, draw.choice(PEOPLE), **extra))
    return found


def case_of(desk: Desk, customer: str) -> Case:
    """What the next decision was made from."""
    answer = decide([Ask(customer_id=customer)], desk)[0]
    assert isinstance(answer, Decision)
    with desk.ledger.read() as uow:
        row = uow.decisions.get(answer.decision_id)
    assert row is not None
    return record.case_from_json(row.case)


def shop(home: Path, features: FeastFeatures, now: datetime = NOON) -> Desk:
    """A desk over a ledger in memory that took in the log, half of it archived."""
    desk = desk_of(playbook_of(home / "playbook", PLAYBOOK), MemoryLedger(), FixedClock(now), features)
    log = log_of(1)
    ingest(log[:150], [], desk.ledger, desk.playbook, desk.clock)
    archive_events(desk.ledger, ParquetArchive(home), desk.clock, "test")
    ingest(log[150:], [], desk.ledger, desk.playbook, desk.clock)
    return desk


@pytest.fixture(params=["sqlite", *(pytest.param(s, marks=pytest.mark.service) for s in ("redis", "postgres"))])
def features(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeastFeatures]:
    """An online store of each kind."""
    if request.param == "redis":
        url, project = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_project")
        yield FeastFeatures(tmp_path, url, project=project)
        return
    pg = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    store = FeastFeatures(tmp_path, database_url=pg, online=request.param, project=f"p{time.time_ns()}")
    yield store
    store.close()


def test_a_decision_the_stock_sdk_and_offline_agree(features: FeastFeatures, tmp_path: Path) -> None:
    """With only the feature repository and a feature service, anybody reads what the decision used."""
    from feast import FeatureStore

    desk = shop(tmp_path, features)
    while project(desk.ledger, features, desk.clock, "test"):
        pass
    cases = [case_of(desk, c) for c in PEOPLE]
    assert not any(case.degraded for case in cases)
    features.serve_model("purchase/1", {"features": list(NAMES), "target": "order within 30 d"})
    stock = FeatureStore(repo_path=str(features.place.repo))
    rows = [{"customer_id": c, "at_us": to_us(NOON)} for c in PEOPLE]
    read = stock.get_online_features(features=stock.get_feature_service("purchase_v1"), entity_rows=rows).to_dict()
    with desk.ledger.read() as uow:
        tail = tail_of(uow, None, [])
    assert tail
    offline = frame_of([(c, NOON) for c in PEOPLE], DuckDbOffline(tmp_path), tail, [])
    for i, case in enumerate(cases):
        assert_same({name: read[name][i] for name in NAMES}, dict(case.features))
        assert_same(offline.iloc[i], dict(case.features))


class TickingClock:
    """A second later whenever it is asked."""

    def __init__(self) -> None:
        self._at = NOON

    def now(self) -> datetime:
        self._at += timedelta(seconds=1)
        return self._at


def test_each_decision_of_a_batch_is_made_at_the_instant_of_its_features(tmp_path: Path) -> None:
    """Where one customer of a batch is healed from the ledger a moment later, the others' instants stay their own."""
    store = FakeFeatureStore()
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), MemoryLedger(), TickingClock(), store)
    ingest(log_of(3), [], desk.ledger, desk.playbook, desk.clock)
    project(desk.ledger, store, desk.clock, "test")
    ingest([event("late", "Product Viewed", NOON, "c2")], [], desk.ledger, desk.playbook, desk.clock)
    decide([Ask(customer_id=c) for c in (*PEOPLE, "stranger")], desk)
    found = check(desk.ledger, DuckDbOffline(tmp_path), desk.clock)
    assert (found.consistency.n_rows, found.consistency.share, found.n_raced) == (13, 0.0, 0)


def test_losing_redis_loses_nothing(tmp_path: Path) -> None:
    """Redis is killed: decisions use the ledger; it comes back empty, is rebuilt, and holds the same state."""
    server = OwnRedis(tmp_path)
    try:
        features = FeastFeatures(tmp_path, server.url)
        desk = shop(tmp_path, features)
        while project(desk.ledger, features, desk.clock, "test"):
            pass
        before = features.read(PEOPLE)
        assert set(before) == set(PEOPLE)
        served = dict(case_of(desk, "c1").features)
        server.kill()
        lost = case_of(desk, "c1")
        assert lost.degraded
        assert dict(lost.features) == served
        late = event("late", "Product Viewed", NOON - timedelta(minutes=1), "c2")
        ingest([late], [], desk.ledger, desk.playbook, desk.clock)
        with pytest.raises(Unavailable):
            project(desk.ledger, features, desk.clock, "test")
        later = FixedClock(NOON + timedelta(minutes=5))
        waiting = freshness(desk.ledger, later)
        assert (waiting.n_waiting, waiting.n_customers, waiting.lag_s["customer_state"]) == (1, 12, 300.0)
        server.start()
        time.sleep(1.05)  # the pause after a failure
        assert features.read(PEOPLE) == {}
        assert rebuild(desk.ledger, ParquetArchive(tmp_path), later).n_changed == 0
        while project(desk.ledger, features, later, "test"):
            pass
        after = features.read(PEOPLE)
        assert {c: row.state for c, row in after.items() if c != "c2"} == {
            c: row.state for c, row in before.items() if c != "c2"
        }
        assert {c: row.version - before[c].version for c, row in after.items()} == {c: 1 + (c == "c2") for c in PEOPLE}
        assert not case_of(desk, "c1").degraded
        assert freshness(desk.ledger, later).coverage == 1.0
        assert freshness(desk.ledger, later).lag_s["customer_state"] == 0.0
    finally:
        server.kill()


def test_a_rebuild_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The cursor moves with each chunk; ruined states come out as an ordered replay gives them, versions continue."""
    desk = shop(tmp_path, FeastFeatures(tmp_path))
    with desk.ledger.read() as uow:
        before = uow.states.get(PEOPLE)
    with desk.ledger.begin(PEOPLE) as uow:
        uow.states.put([replace(row, state=b"ruined") for row in before.values()])
    archive = ParquetArchive(tmp_path)

    class Stop(Exception):
        pass

    def stop(n: int) -> None:
        if n >= 8:
            raise Stop

    with pytest.raises(Stop):
        rebuild(desk.ledger, archive, desk.clock, chunk=4, report=stop)
    done = rebuild(desk.ledger, archive, desk.clock, chunk=4)
    assert (done.n_customers, done.n_changed, done.resumed_after) == (4, 4, sorted(PEOPLE)[7])
    with desk.ledger.read() as uow:
        after = uow.states.get(PEOPLE)
    assert {c: row.state for c, row in after.items()} == {c: row.state for c, row in before.items()}
    assert all(after[c].version == before[c].version + 1 for c in PEOPLE)
    assert all(after[c].committed_at > before[c].committed_at for c in PEOPLE)
    again = rebuild(desk.ledger, archive, desk.clock)
    assert (again.n_customers, again.n_changed, again.resumed_after) == (12, 0, None)


def test_events_that_only_the_archive_holds_are_rebuilt_from_it(tmp_path: Path) -> None:
    """A ledger that lost its older events gives the same states, compacted archive or not, merges included."""
    desk = shop(tmp_path, FeastFeatures(tmp_path))
    ingest([event("x1", "Order Completed", NOON - timedelta(days=9), None, "x", revenue=3)], [], desk.ledger,
           desk.playbook, desk.clock)  # fmt: skip
    archive = ParquetArchive(tmp_path)
    archive_events(desk.ledger, archive, desk.clock, "test")
    link = replace(event("x2", "Identified", NOON - timedelta(days=1), "c1", "x"), kind=EventKind.IDENTIFY)
    ingest([link], [], desk.ledger, desk.playbook, desk.clock)
    archive_events(desk.ledger, archive, desk.clock, "test")
    assert compact_archive(desk.ledger, archive, desk.clock, "test")["n_events"] > 0
    with desk.ledger.read() as uow:
        before = {c: row.state for c, row in uow.states.get(PEOPLE).items()}
        events = [e for found in uow.events.of(PEOPLE).values() for e in found]
    bare = MemoryLedger()
    with desk.ledger.read() as uow, bare.begin(PEOPLE) as fresh:
        fresh.customers.put(list(uow.customers.get(PEOPLE).values()))
        fresh.identities.add_claims(uow.identities.all_claims())
        keys = {e.id_key for e in events}
        fresh.identities.map(uow.identities.canonical(keys))
        fresh.events.append([(e, e.user_id or "c1") for e in events if e.event_at > NOON - timedelta(days=5)])
    done = rebuild(bare, archive, desk.clock)
    assert done.n_restored > 200
    with bare.read() as uow:
        assert {c: row.state for c, row in uow.states.get(PEOPLE).items()} == before


def test_consistency_is_measured_and_skew_raises_the_alarm(tmp_path: Path) -> None:
    """Honest decisions show no difference; a state gone wrong is found, by feature; an import later is no skew."""
    desk = shop(tmp_path, FeastFeatures(tmp_path))
    offline, runlog = DuckDbOffline(tmp_path), MlflowRunLog(tmp_path)
    for customer in PEOPLE:
        case_of(desk, customer)
    honest = check_new(desk.ledger, offline, runlog, desk.clock, "test", rate=1.0)
    assert honest is not None
    assert (honest.n_seen, honest.consistency.n_rows, honest.consistency.share) == (12, 12, 0.0)
    assert not honest.consistency.is_alarming
    assert runlog.client.get_experiment_by_name("features/consistency") is not None
    nothing = check_new(desk.ledger, offline, runlog, desk.clock, "test", rate=1.0)
    assert nothing is not None
    assert nothing.n_seen == 0  # each decision is looked at once
    with desk.ledger.read() as uow:
        states = uow.states.get(["c1", "c2"])
    swapped = [replace(states["c2"], customer_id="c1", version=states["c1"].version + 1)]
    with desk.ledger.begin(["c1"]) as uow:
        uow.states.put(swapped)
    case_of(desk, "c1")
    skewed = check_new(desk.ledger, offline, runlog, desk.clock, "test", rate=1.0)
    assert skewed is not None
    assert skewed.consistency.is_alarming
    assert "ALARM" in skewed.to_text()
    assert freshness(desk.ledger, desk.clock).worst_share == 1.0
    assert [r["feature"] for r in skewed.rows() if r["share"]] == skewed.examples[0]["features"] or skewed.examples
    later = FixedClock(NOON + timedelta(days=1))
    old = event("import", "Order Completed", NOON - timedelta(days=3), "c3", origin=Origin.IMPORT, revenue=1)
    came = replace(old, received_at=later.now(), ingested_at=later.now())
    ingest([came], [], desk.ledger, desk.playbook, later)
    whole = check(desk.ledger, offline, later)
    assert whole.n_superseded == 1
    assert {e["decision_id"] for e in whole.examples} == {e["decision_id"] for e in skewed.examples}
    assert check(desk.ledger, offline, later, sample=3).consistency.n_rows + 1 >= 3
    assert check(desk.ledger, offline, later, rate=0.0).n_sampled == 0


def test_backfill_asks_for_everybody_under_the_identity_known_then(tmp_path: Path) -> None:
    """Two people before their merge are two rows, one row after it; nobody appears before they were known."""
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), MemoryLedger(), FixedClock(NOON))
    anonymous = event("a", "Order Completed", NOON - timedelta(days=9), None, "x", revenue=3)
    known = event("b", "Order Completed", NOON - timedelta(days=8), "c1", revenue=4)
    link = replace(event("l", "Identified", NOON - timedelta(days=2), "c1", "x"), kind=EventKind.IDENTIFY)
    newer = event("n", "Page Viewed", NOON - timedelta(days=1), "c2")
    late = event("m", "Page Viewed", NOON - timedelta(days=5), "c3", known_at=NOON + timedelta(hours=1))
    ingest([anonymous, known, link, newer, late], [], desk.ledger, desk.playbook, desk.clock)
    instants = [NOON - timedelta(days=30), NOON - timedelta(days=3), NOON]
    frames = list(backfill(instants, desk.ledger, DuckDbOffline(tmp_path)))
    found = pd.concat(frames)
    spent = {(r.customer_id, r.at.to_pydatetime()): r.spend_sum_all for r in found.itertuples()}
    assert spent == {
        ("c1", instants[1]): 4.0,
        ("anon:x", instants[1]): 3.0,
        ("c1", NOON): 7.0,
        ("c2", NOON): 0.0,
    }


def test_the_commands_work_from_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """build, show, check, rebuild, verify and publish --compact on one installation."""
    from opportune.cli.features import command
    from opportune.cli.publish import command as publish

    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path))
    monkeypatch.delenv("OPPORTUNE_REDIS_URL", raising=False)
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), ledger, FixedClock(NOON), FeastFeatures(tmp_path))
    ingest(log_of(2, 120), [], ledger, desk.playbook, desk.clock)
    for customer in PEOPLE:
        case_of(desk, customer)
    ledger.close()
    run = CliRunner()

    def said(*arguments: str, code: int = 0) -> str:
        done = run.invoke(command, list(arguments))
        assert done.exit_code == code, done.output
        return done.stdout

    out = tmp_path / "f.parquet"
    built = json.loads(said("build", "--as-of", f"2026-02-01,{NOON.isoformat()}", "--out", str(out), "--json"))
    table = pd.read_parquet(out)
    assert built["n_rows"] == len(table)
    assert set(NAMES) <= set(table.columns)
    assert set(table["customer_id"]) == set(PEOPLE)
    assert pq.read_schema(out).field("account_plan").type == pa.string()  # not null, though all of it is
    assert "is no instant: write" in run.invoke(command, ["build", "--as-of", "soon", "--out", str(out)]).output
    assert "the future" in run.invoke(command, ["build", "--as-of", "2999-01-01", "--out", str(out)]).output
    assert sorted(p.name for p in tmp_path.glob("*.parquet*")) == ["f.parquet"]
    (tmp_path / "ids").write_text("c1\nc2\n\nc1\n")
    assert "2 rows" in said("build", "--as-of", "2026-03-02", "--out", str(out), "--customers", str(tmp_path / "ids"))
    shown = json.loads(said("show", "c1", "--at", NOON.isoformat(), "--json"))
    assert shown["features"]["orders_n_all"]["value"] == shown["features"]["orders_n_all"]["n_events"]
    newest = shown["features"]["last_active_age_days"]["events"][0]["name"]
    assert newest in said("show", "c1", "--at", NOON.isoformat())
    checked = json.loads(said("check", "--json"))
    assert (checked["rows"], checked["alarm"]) == (12, False)
    rebuilt = json.loads(said("rebuild", "--json"))
    assert (rebuilt["n_customers"], rebuilt["n_changed"], rebuilt["n_projected"]) == (12, 0, 12)
    assert "rows read alike on sqlite" in said("verify")
    assert run.invoke(publish, ["--compact"]).exit_code == 0
    assert run.invoke(command, ["build", "--as-of", ",", "--out", str(out)]).exit_code == 1
