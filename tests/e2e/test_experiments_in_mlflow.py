"""The data scientist's desk: what MLflow's own API shows of an experiment that has run."""

import io
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.trials import CUSTOMERS, Shop, live, shop

from opportune.adapters.mlflow_experiments import MlflowExperiments
from opportune.adapters.mlflow_runlog import MlflowRunLog
from opportune.decision import record
from opportune.decision.pipeline import decide as choose
from opportune.domain.decisions import Decision
from opportune.experiments.metrics import METRICS
from opportune.experiments.trial import trials_of
from opportune.flows.experiments import experiments
from opportune.flows.lookup import replay
from opportune.flows.publish_experiments import count
from opportune.ports import Unavailable

AB = "ab/cap_two"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


def fresh_mlflow(home: Path, folder: Path) -> MlflowRunLog:
    """An MLflow store with nothing in it: the database is copied, because making one takes seconds."""
    empty = home / "empty"
    MlflowRunLog(empty).client  # noqa: B018 - makes it
    folder.mkdir()
    shutil.copy(empty / "mlflow.db", folder / "mlflow.db")
    return MlflowRunLog(folder)


@pytest.fixture(scope="module")
def lived(home: Path) -> Shop:
    it = shop(home / "playbook")
    live(it)
    return it


@pytest.fixture(scope="module")
def published(home: Path, lived: Shop) -> MlflowRunLog:
    """Published after MLflow was down for the whole run, when it is back."""
    runlog = fresh_mlflow(home, home / "mlflow")
    lived.publish(MlflowExperiments(runlog), runlog)
    return runlog


def picture(runlog: MlflowRunLog) -> dict[str, Any]:
    """Everything MLflow holds, as its API tells it."""
    client, found = runlog.client, {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            history = {
                key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            artifacts = [a.path for a in client.list_artifacts(run.info.run_id, "decisions")]
            named = experiment.name, run.info.run_name
            found[named] = (run.info.run_id, run.info.status, run.data.params, run.data.tags, history, artifacts)
        traces = client.search_traces(locations=[experiment.experiment_id], max_results=500)
        found["traces", experiment.name] = sorted(
            (t.info.trace_id, t.info.state, tuple((s.name, s.attributes) for s in t.data.spans)) for t in traces
        )
    return found


def arms_of(decision: Decision) -> dict[str, str]:
    return {e["experiment"]: e["variation"] for e in decision.exposures}


def test_every_variation_is_a_run_with_its_days_and_its_decisions(lived: Shop, published: MlflowRunLog) -> None:
    """Finished, described, metrics by day that add up to the totals, one Parquet artifact of exactly its decisions."""
    import pyarrow.parquet as pq
    from mlflow.artifacts import download_artifacts

    client = published.client
    experiment = client.get_experiment_by_name(AB)
    assert "Does a second message a week pay?" in experiment.tags["mlflow.note.content"]
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"control", "treatment"}
    assert runs["treatment"].data.params["caps.weekly.at_most"] == "2"
    desk, trial = lived.desk, trials_of(lived.desk.playbook)[1]
    sums = count(trial, lived.clock.now(), desk.ledger, desk.playbook, desk.unit)
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        for metric in METRICS:
            steps = client.get_metric_history(run.info.run_id, metric)
            assert [m.step for m in steps] == [1, 2, 3]
            assert sum(m.value for m in steps) == run.data.metrics[f"total/{metric}"] == sums.totals(name)[metric]
        made = [d for d in lived.decisions if {"cap_two": name}.items() <= arms_of(d).items()]
        assert run.data.metrics["total/units"] == len({d.customer_id for d in made}) > 5
        (artifact,) = client.list_artifacts(run.info.run_id, "decisions")
        path = download_artifacts(run_id=run.info.run_id, artifact_path=artifact.path, tracking_uri=published.uri)
        rows = pq.read_table(io.BytesIO(Path(path).read_bytes())).to_pylist()
        assert Counter(r["decision_id"] for r in rows) == Counter(d.decision_id for d in made)
    assert runs["treatment"].data.metrics["total/sends"] > runs["control"].data.metrics["total/sends"]
    assert runs["control"].data.metrics["total/sends"] == runs["control"].data.metrics["total/units"]
    revenue = {n: r.data.metrics["total/revenue_minor"] for n, r in runs.items()}
    assert revenue == {n: 2000 * r.data.metrics["total/goals"] for n, r in runs.items()}
    assert sum(revenue.values()) > 0


def test_a_trace_has_a_span_per_stage_with_what_was_kept_and_removed(lived: Shop, published: MlflowRunLog) -> None:
    """In the order of the pipeline, below one root, in the run of the variation; it replays to the stored answer."""
    client = published.client
    experiment = client.get_experiment_by_name(AB)
    traces = client.search_traces(locations=[experiment.experiment_id], max_results=500)
    exposed = [d for d in lived.decisions if any(e["experiment"] == "cap_two" for e in d.exposures)]
    assert 0 < len(traces) <= len(exposed)
    trace = next(t for t in traces if t.info.tags["campaign"] == "offer")
    root, *stages = sorted(trace.data.spans, key=lambda s: (s.parent_id is not None, s.start_time_ns))
    assert root.name == "decision"
    before = ["nominate", "qualify", "place", "afford", "appraise", "hold", "render"]
    assert [s.name for s in stages] == [*before, "choose", "withhold"]
    assert {s.parent_id for s in stages} == {root.span_id}
    assert all((s.attributes["n_kept"], s.attributes["n_removed"]) == (1, 0) for s in stages[: len(before)])
    assert trace.info.tags["replays_to_the_same"] == "true"
    assert "decided again" in trace.info.tags["durations"]
    run = client.get_run(trace.info.trace_metadata["mlflow.sourceRun"])
    assert run.info.run_name == trace.info.tags["variation"]


def test_publishing_twice_changes_nothing(lived: Shop, published: MlflowRunLog) -> None:
    """Neither going on nor starting over from the first decision: what MLflow holds stays the same."""
    before = picture(published)
    assert len(before) > 5
    again = MlflowExperiments(published)
    assert lived.publish(again) == (0, 0)
    with lived.desk.ledger.begin() as uow:
        uow.cursors.put("publish_decisions", "")
    n, points = lived.publish(again, published)
    assert (n, points) == (len(lived.decisions), 0)
    assert picture(published) == before


def test_no_customer_id_is_anywhere_in_mlflow(lived: Shop, published: MlflowRunLog, home: Path) -> None:
    """Not in the database, not in an artifact, compressed or not: only pseudonymous units are."""
    import pyarrow.parquet as pq

    unit = lived.desk.unit(lived.decisions[0].customer_id)
    files = [p for p in (home / "mlflow").rglob("*") if p.is_file()]
    texts = [str(pq.read_table(p).to_pylist()).encode() if p.suffix == ".parquet" else p.read_bytes() for p in files]
    assert any(unit.encode() in text for text in texts)
    assert len(files) > 3
    for customer in CUSTOMERS:
        assert not any(customer.encode() in text for text in texts)
    assert not any(b"secret-person" in text for text in texts)


def test_every_decision_replays_to_the_same_answer(lived: Shop) -> None:
    """From its stored case and the base playbook, whatever variation it was decided under."""
    for decision in lived.decisions:
        again = replay(decision.decision_id, lived.desk.ledger)
        assert again is not None
        assert again.is_same
    stored = [d for d in lived.decisions if d.exposures]
    assert stored
    with lived.desk.ledger.read() as uow:
        row = uow.decisions.get(stored[0].decision_id)
    assert row is not None
    assert choose(record.case_from_json(row.case), lived.desk.playbook) == stored[0]


def test_with_mlflow_down_decisions_go_on_and_nothing_is_lost(
    tmp_path: Path, home: Path, lived: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing fails with a clear error for the whole run; the same is decided; afterwards all of it is there."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down, it = MlflowRunLog(tmp_path, "http://127.0.0.1:9"), shop(tmp_path / "playbook")
    with pytest.raises(Unavailable, match="OPPORTUNE_MLFLOW_URI"):
        it.publish(MlflowExperiments(down), down)
    live(it)
    with pytest.raises(Unavailable, match="OPPORTUNE_MLFLOW_URI"):
        it.publish(MlflowExperiments(down), down)
    assert it.decisions == lived.decisions
    back = fresh_mlflow(home, tmp_path / "back")
    n, points = it.publish(MlflowExperiments(back), back)
    assert n == len(it.decisions)
    found = picture(back)
    runs = {named: run for named, run in found.items() if named[0].startswith("ab/")}
    assert points == sum(len(history) for run in runs.values() for history in run[4].values())
    assert {"control", "treatment"} <= {name for kind, name in found if kind == AB}


def test_the_list_of_experiments_says_how_each_stands(lived: Shop) -> None:
    """Declared holdouts and experiments, status, units per variation: what GET /v1/experiments answers."""
    holdout, trial = experiments(lived.desk.ledger, lived.desk.playbook, lived.clock)
    assert (holdout["name"], holdout["kind"], holdout["status"]) == ("global_holdout", "holdout", "running")
    assert (trial["name"], trial["status"], trial["goals"]) == ("cap_two", "finished", {"order": "1d"})
    met = {v["name"]: v["n_units"] for v in trial["variations"]}
    assert sum(met.values()) == trial["n_units"]
    held = {v["name"]: v["n_units"] for v in holdout["variations"]}
    assert held["holdout"] + held["open"] == len(CUSTOMERS)
    assert trial["n_units"] == held["open"]
    assert [v["override"] for v in trial["variations"]] == [{}, {"caps.weekly.at_most": 2}]
