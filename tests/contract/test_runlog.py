"""The contract of ports.RunLog, on MLflow (SQLite and files) and on the in-memory fake that other tests use."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.learning.fakes import MemoryRunLog

from opportune.features import catalog
from opportune.learning import manifest as manifests
from opportune.learning.spec import read
from opportune.ports import RunLog, Unavailable

SPEC = read("purchase")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow home")


@pytest.fixture(scope="module", params=["memory", "mlflow"])
def runlog(request: pytest.FixtureRequest, home: Path) -> RunLog:
    if request.param == "memory":
        return MemoryRunLog()
    from opportune.adapters.mlflow_runlog import MlflowRunLog

    return MlflowRunLog(home)


@pytest.fixture(autouse=True)
def _nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does, the working directory stays empty."""
    monkeypatch.chdir(tmp_path)
    yield
    assert os.listdir(tmp_path) == []


def files(name: str, p: float = 0.1) -> dict[str, bytes]:
    manifest = {
        "name": name,
        "version": None,
        "format": manifests.FORMAT,
        "kind": "prior",
        "p": p,
        "sha256": manifests.sha256(""),
        "features": list(SPEC.features),
        "definition_hash": catalog.definition_hash(),
        "target": "order within 30 d",
        "horizon_days": 30,
        "golden": [],
        "as_of": "2026-01-01T00:00:00+00:00",
    }
    return {"manifest.json": manifests.dump(manifest), "model.txt": b"", "CARD.md": b"# card\n"}


def log(runlog: RunLog, name: str, p: float = 0.1) -> str:
    run = {"params": {"rounds": 3}, "metrics": {"auc": 0.7}, "tags": {"verdict": "promoted", "as_of": "x"}}
    return runlog.log_training(name, run, files(name, p))


def test_a_name_never_trained_has_neither_champion_nor_versions(runlog: RunLog) -> None:
    """Null and empty, not an error."""
    assert runlog.champion("never") is None
    assert runlog.versions("never") == []


def test_versions_count_up_and_come_back_whole(runlog: RunLog) -> None:
    """Files come back byte for byte, the manifest now naming its version."""
    assert [log(runlog, "counted"), log(runlog, "counted", 0.2)] == ["1", "2"]
    found = runlog.fetch("counted", "2")
    assert found.keys() == files("counted").keys()
    assert found["CARD.md"] == b"# card\n"
    assert manifests.parse(found["manifest.json"]) == manifests.parse(files("counted", 0.2)["manifest.json"]) | {
        "version": "2"
    }


def test_the_champion_is_who_was_promoted_last(runlog: RunLog) -> None:
    """Logging promotes nobody; promoting moves the one champion, back as well."""
    first, second = log(runlog, "moved"), log(runlog, "moved")
    assert runlog.champion("moved") is None
    for version in (second, first):
        runlog.promote("moved", version)
        assert runlog.champion("moved") == version
        marks = {row["version"]: row["is_champion"] for row in runlog.versions("moved")}
        assert marks == {v: v == version for v in (first, second)}


def test_a_batch_of_decisions_is_logged_once(runlog: RunLog) -> None:
    """The same batch id again changes nothing."""
    for _ in range(2):
        runlog.log_decisions("decisions", "batch1", b"parquet bytes", {"decisions_n": 3.0})
    runlog.log_decisions("decisions", "batch2", b"other", {"decisions_n": 1.0})
    if isinstance(runlog, MemoryRunLog):
        assert runlog.batches == {"batch1": b"parquet bytes", "batch2": b"other"}
        return
    client = runlog.client  # type: ignore[attr-defined]
    runs = client.search_runs([client.get_experiment_by_name("decisions").experiment_id])
    assert sorted(run.data.tags["batch_id"] for run in runs) == ["batch1", "batch2"]
    assert {run.data.metrics["decisions_n"] for run in runs} == {3.0, 1.0}
    assert [a.path for a in client.list_artifacts(runs[-1].info.run_id)] == ["batch1.parquet"]


def test_mlflow_shows_params_metrics_signature_and_loads_calibrated_p(home: Path) -> None:
    """The stock SDK finds the run, the signature, and through pyfunc the same p, without any pickle."""
    import mlflow
    import pandas as pd

    from opportune.adapters.mlflow_runlog import MlflowRunLog

    runlog = MlflowRunLog(home)
    version = log(runlog, "shown", 0.25)
    runlog.promote("shown", version)
    client = runlog.client
    held = client.get_model_version_by_alias("shown", "champion")
    run = client.get_run(held.run_id)
    assert run.data.params == {"rounds": "3"}
    assert run.data.metrics == {"auc": 0.7}
    assert client.get_experiment(run.info.experiment_id).name == "training/shown"
    model = mlflow.pyfunc.load_model(held.source)
    assert [c.name for c in model.metadata.signature.inputs.inputs] == list(SPEC.features)
    frame = pd.DataFrame({name: [1.0, 2.0] for name in SPEC.features})
    assert model.predict(frame).tolist() == [0.25, 0.25]
    assert list(home.rglob("*.pkl")) == []


def test_promoting_or_fetching_what_is_not_there_is_a_clear_error(home: Path) -> None:
    """ValueError names model and version."""
    from opportune.adapters.mlflow_runlog import MlflowRunLog

    runlog = MlflowRunLog(home)
    log(runlog, "lonely")
    with pytest.raises(ValueError, match="no version 9"):
        runlog.promote("lonely", "9")
    with pytest.raises(ValueError, match="lonely/9"):
        runlog.fetch("lonely", "9")


def test_a_store_that_cannot_be_reached_is_unavailable() -> None:
    """The error names MLflow and the setting, and leaves the password out; other errors stay what they are."""
    from opportune.adapters.mlflow_runlog import reaching

    with pytest.raises(Unavailable, match="OPPORTUNE_MLFLOW_URI") as caught, reaching("http://ada:lovelace@host"):
        raise ConnectionError("HTTPConnectionPool: Max retries exceeded")
    assert "lovelace" not in str(caught.value)
    with pytest.raises(KeyError), reaching("sqlite:///x"):
        raise KeyError("something else")


def test_decisions_go_as_readable_parquet(home: Path) -> None:
    """What flows/publish writes is read back by pyarrow from the artifact."""
    import pyarrow.parquet as pq

    from opportune.adapters.mlflow_runlog import MlflowRunLog
    from opportune.flows.publish import parquet

    runlog = MlflowRunLog(home)
    data = parquet([{"decision_id": "d1", "n_messages": 1}])
    runlog.log_decisions("decisions", "real", data, {})
    found = next(home.rglob("real.parquet"))
    assert pq.read_table(io.BytesIO(found.read_bytes())).to_pylist() == [{"decision_id": "d1", "n_messages": 1}]
