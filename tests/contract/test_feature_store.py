"""The feature store contract on Feast: SQLite, Redis and PostgreSQL, direct reads held against Feast's own SDK."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from tests.unit.features.naive import NOON, assert_same, event

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.feast_repo import connection_string, repo_folder
from opportune.domain.instants import to_us
from opportune.domain.states import StateRow
from opportune.features.catalog import NAMES
from opportune.features.state import finalise, pack, rebuild
from opportune.ports import Unavailable

pytestmark = pytest.mark.xdist_group("feast")  # importing Feast costs seconds: once is enough

LOG = [
    event("m1", "Order Completed", NOON - timedelta(days=2), revenue=50),
    event("m2", "Product Added", NOON - timedelta(hours=2), product_id="p", price=12.5, quantity=2),
]
STATE = pack(rebuild(LOG))


def row(customer_id: str, version: int = 1, state: bytes = STATE, at: datetime = NOON) -> StateRow:
    """A state row as the ledger would hand it over."""
    return StateRow(customer_id=customer_id, version=version, state=state, committed_at=at)


SERVICES = [pytest.param(name, marks=pytest.mark.service) for name in ("redis", "postgres")]


@pytest.fixture(scope="module", params=["sqlite", *SERVICES])
def features(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeastFeatures]:
    """A store on each backend; on Redis under a Feast project of its own, its keys removed after."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "sqlite":
        yield FeastFeatures(home)
        return
    if request.param == "postgres":  # registry and online store in one database
        url = request.getfixturevalue("postgres_url")
        store = FeastFeatures(home, database_url=url, online="postgres")
        yield store
        store.close()
        return
    import redis

    url = request.getfixturevalue("redis_url")
    project = f"opportune_test_{uuid4().hex[:8]}"
    yield FeastFeatures(home, url, project=project)
    client = redis.Redis.from_url(url)
    for key in client.scan_iter(f"*{project}".encode()):
        client.delete(key)
    client.close()


def test_what_is_projected_is_read_to_the_microsecond(features: FeastFeatures) -> None:
    """State bytes, version and commit instant come back as they were; strangers are left out; batches are whole."""
    rows = [row(f"c{i}é", i + 1, bytes([i % 256]) * i, NOON + timedelta(microseconds=i)) for i in range(1, 1200)]
    features.project(rows)
    ids = [r.customer_id for r in rows]
    assert features.read([*ids, "stranger"]) == {r.customer_id: r for r in rows}
    assert features.read(["stranger"]) == {}
    assert features.read([]) == {}
    features.remove(ids)
    assert features.read(ids) == {}


def test_an_older_commit_never_replaces_a_newer_one(features: FeastFeatures) -> None:
    """Neither in a later batch nor within one batch, in whatever order; a microsecond newer wins."""
    old, new = row("order", 1), row("order", 2, at=NOON + timedelta(microseconds=1))
    features.project([new, old])
    assert features.read(["order"]) == {"order": new}
    features.project([old])
    assert features.read(["order"]) == {"order": new}
    newest = row("order", 3, b"", NOON + timedelta(microseconds=2))
    features.project([newest])
    assert features.read(["order"])["order"].version == 3


def test_direct_reads_equal_feasts_own(features: FeastFeatures) -> None:
    """verify() compares with get_online_features, unknown customers included, and leaves nothing behind."""
    features.project([row("v1"), row("v2", 2**40, b"\x00\xff")])
    assert features.verify(["v1", "v2", "nobody"]) == 4
    assert features.read(["opportune verify probe"]) == {}


def test_verify_refuses_a_store_that_answers_otherwise(
    features: FeastFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the direct reader and Feast disagree the service must not start on it."""
    features.project([row("w1")])
    true_read = features.read

    def wrong(ids: list[str]) -> dict[str, StateRow]:
        return {c: row(c, 99, at=r.committed_at) if c == "w1" else r for c, r in true_read(ids).items()}

    monkeypatch.setattr(features, "read", wrong)
    with pytest.raises(RuntimeError, match="disagree"):
        features.verify(["w1"])


def test_the_stock_sdk_reads_finished_named_features(features: FeastFeatures) -> None:
    """get_online_features over the on-demand view gives what finalise gives at `at`; a stranger is not known."""
    features.project([row("sdk")])
    at = NOON + timedelta(days=1)
    answer = features.store().get_online_features(
        features=[f"customer_features_now:{name}" for name in (*NAMES, "is_known")],
        entity_rows=[{"customer_id": c, "at_us": to_us(at)} for c in ("sdk", "nobody")],
    )
    columns = answer.to_dict()
    assert columns["is_known"] == [True, False]
    assert_same({name: columns[name][0] for name in NAMES}, finalise(rebuild(LOG), at))
    assert_same({name: columns[name][1] for name in NAMES}, finalise(rebuild([]), at))


def test_many_threads_read_and_write_at_once(features: FeastFeatures) -> None:
    """Readers in eight threads see whole rows while a ninth writes."""
    failures: list[Exception] = []
    stop = threading.Event()

    def reader() -> None:
        try:
            while not stop.is_set():
                for found in features.read([f"t{i}" for i in range(20)]).values():
                    assert found.state == b"%d" % found.version
        except (AssertionError, Unavailable, RuntimeError, ValueError) as error:
            failures.append(error)

    threads = [threading.Thread(target=reader) for _ in range(8)]
    for thread in threads:
        thread.start()
    for version in range(1, 30):
        at = NOON + timedelta(seconds=version)
        features.project([row(f"t{i}", version, b"%d" % version, at) for i in range(20)])
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_lost_sqlite_store_is_unavailable_in_milliseconds(tmp_path: Path) -> None:
    """When the file is gone every read says Unavailable at once; when it is back, reads work again after the pause."""
    features = FeastFeatures(tmp_path)
    assert features.read(["c"]) == {}
    (tmp_path / "feast").rename(tmp_path / "away")
    started = time.perf_counter()
    for _ in range(100):
        with pytest.raises(Unavailable, match="Feast"):
            features.read(["c"])
    assert time.perf_counter() - started < 10  # a wait in each read would take minutes
    (tmp_path / "away").rename(tmp_path / "feast")
    time.sleep(1.05)
    assert features.read(["c"]) == {}


def test_a_stopped_redis_is_unavailable_in_milliseconds(tmp_path: Path) -> None:
    """Nobody listens: 100 reads say Unavailable, and only the first of a second tries to connect."""
    features = FeastFeatures(tmp_path, "redis://127.0.0.1:1/0")
    started = time.perf_counter()
    for _ in range(100):
        with pytest.raises(Unavailable, match="Feast"):
            features.read(["c"])
    assert time.perf_counter() - started < 10  # a wait in each read would take minutes


def services_of(features: FeastFeatures) -> set[str]:
    """Names of the feature services in the registry."""
    return {service.name for service in features.store().list_feature_services()}


def test_a_model_version_has_its_feature_service(features: FeastFeatures) -> None:
    """A stock SDK that is given only the repository and the service reads just what that model version reads."""
    from feast import FeatureStore

    names = ["orders_n_90d", "last_order_age_days", "active_hours"]
    manifest = {"features": names, "target": "order within 30 d", "definition_hash": "sha256:x", "as_of": "2026"}
    assert features.serve_model("purchase/5", manifest) == "purchase_v5"
    assert features.serve_model("purchase/5", manifest) == "purchase_v5"
    assert {"purchase_v5", "purchase_v5_training"} <= services_of(features)
    features.project([row("svc")])
    at = NOON + timedelta(hours=3)
    stock = FeatureStore(repo_path=str(features.place.repo))
    answer = stock.get_online_features(
        features=stock.get_feature_service("purchase_v5"), entity_rows=[{"customer_id": "svc", "at_us": to_us(at)}]
    ).to_dict()
    assert set(answer) == {"customer_id", *names}
    wanted = finalise(rebuild(LOG), at)
    assert_same({n: answer[n][0] for n in names}, {n: wanted[n] for n in names})
    projections = stock.get_feature_service("purchase_v5_training").feature_view_projections
    assert [(p.name, [f.name for f in p.features]) for p in projections] == [("customer_features", names)]
    with pytest.raises(ValueError, match="train it again"):
        features.serve_model("old/1", {"features": ["a_feature_of_old"]})


def test_views_and_fields_tell_what_they_are(features: FeastFeatures) -> None:
    """Every view has a description and an owner; every field its unit, owner and meaning of null."""
    store = features.store()
    views = [*store.list_feature_views(), *store.list_on_demand_feature_views()]
    assert {v.name for v in views} == {"customer_state", "customer_features", "customer_features_now"}
    assert all(v.description and v.owner and v.tags["definition"] for v in views)
    fields = next(v for v in views if v.name == "customer_features").features
    assert {f.name for f in fields} == set(NAMES)
    assert all(f.description and f.tags["unit"] and f.tags["owner"] and f.tags["null"] for f in fields)


@pytest.mark.service
def test_a_dropped_postgres_connection_is_opened_anew(postgres_url: str, tmp_path: Path) -> None:
    """When the server ends every connection, the next read and the next projection work."""
    from tests.services import admin_connection

    features = FeastFeatures(tmp_path, database_url=postgres_url, online="postgres", project="dropped")
    assert features.read(["c"]) == {}  # before the first apply
    features.project([row("c")])
    with admin_connection() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (postgres_url.split("/")[-1],)
        )
    assert features.read(["c"]) == {"c": row("c")}
    newer = row("c", 2, at=NOON + timedelta(seconds=1))
    for _ in range(2):  # Feast's own connection is noticed to be gone by the first write
        try:
            features.project([newer])
            break
        except Unavailable:
            time.sleep(1.05)
    assert features.read(["c"]) == {"c": newer}
    features.close()


def test_the_online_store_is_chosen_by_settings(tmp_path: Path) -> None:
    """auto is Redis where there is a URL, else SQLite; a store without an address is refused by name."""
    pg = "postgresql+psycopg://u@h/d"
    assert FeastFeatures(tmp_path).place.online == "sqlite"
    assert FeastFeatures(tmp_path, "redis://h/0", database_url=pg).place.online == "redis"
    assert FeastFeatures(tmp_path, "redis://h/0", online="sqlite").place.online == "sqlite"
    assert FeastFeatures(tmp_path, database_url=pg).place.database_url == pg
    assert FeastFeatures(tmp_path, database_url="sqlite:///x").place.database_url is None
    with pytest.raises(ValueError, match="OPPORTUNE_REDIS_URL"):
        FeastFeatures(tmp_path, online="redis")
    with pytest.raises(ValueError, match="OPPORTUNE_DATABASE_URL"):
        FeastFeatures(tmp_path, online="postgres")


def test_reading_never_imports_feast() -> None:
    """A server that only reads starts without the seconds that importing Feast costs."""
    code = (
        "import sys, tempfile, pathlib; from opportune.adapters.feast_features import FeastFeatures;"
        "h = pathlib.Path(tempfile.mkdtemp()); f = FeastFeatures(h); f.read(['c']);"
        "import shutil; shutil.rmtree(h); sys.exit('feast' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_redis_urls_become_feast_settings() -> None:
    """Host, port, database, password and TLS survive; what Feast cannot carry is refused."""
    assert connection_string("redis://h:1234/2") == "h:1234,db=2,socket_timeout=5,socket_connect_timeout=1"
    assert connection_string("rediss://:pw@h/0").endswith("password=pw,ssl=true")
    with pytest.raises(ValueError, match="comma"):
        connection_string("redis://:a,b@h/0")


def test_training_rows_come_back_from_feast_as_they_went_in(tmp_path: Path) -> None:
    """get_historical_features is an exact lookup: same rows, order and values, repeated rows and nulls included."""
    log = [(event(f"m{i}", "Order Completed", NOON - timedelta(days=i), f"c{i % 5}", revenue=i), "") for i in range(40)]
    asked = [(f"c{i % 6}", NOON - timedelta(hours=i % 50)) for i in range(120)]
    rows = pd.DataFrame({"customer_id": [c for c, _ in asked], "at": pd.to_datetime([a for _, a in asked], utc=True)})
    offline = DuckDbOffline(tmp_path)
    expected = offline.as_of(rows, log, [])
    found = offline.training_set(rows, log, [])
    assert list(found.columns) == list(expected.columns)
    for i in range(len(rows)):
        assert_same(found.iloc[i], {n: _plain(expected.iloc[i][n]) for n in NAMES})
    again = offline.training_set(rows.iloc[:10], log, [])
    assert len(again) == 10


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else None if value != value else value


def test_feast_apply_by_a_stock_user_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`feast -f feature_store.home.yaml apply` in the shipped folder registers the views in OPPORTUNE_HOME."""
    from click.testing import CliRunner
    from feast.cli.cli import cli

    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path))
    monkeypatch.chdir(repo_folder())
    (tmp_path / "feast").mkdir()
    done = CliRunner().invoke(cli, ["-f", "feature_store.home.yaml", "apply"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "feast" / "registry.db").exists()
    assert "customer_features_now" in done.output
    features = FeastFeatures(tmp_path)
    now = datetime.now(UTC)
    features.project([row("stock", at=now)])
    assert features.read(["stock"]) == {"stock": row("stock", at=now)}
