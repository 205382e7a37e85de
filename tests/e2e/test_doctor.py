"""`opportune doctor`: a healthy installation passes, and each thing that is wrong is named with what to do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contract.ledger_samples import a_timer

from opportune.adapters.system_clock import FixedClock, WallClock
from opportune.cli import doctor, main
from opportune.cli.work import LANES, worker_of
from opportune.flows.beat import beat
from opportune.settings import Settings
from opportune.wiring import Installation


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation's folder of this test's own, named in the environment as users do."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"OPPORTUNE_{name.upper()}", raising=False)
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def diagnosed(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Exit code, and name -> (state, found, do)."""
    with pytest.raises(SystemExit) as done:
        main(["doctor", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["healthy"] is (done.value.code == 0)
    return int(done.value.code or 0), {c["name"]: (c["state"], c["found"], c["do"]) for c in said["checks"]}


def test_a_fresh_installation_fails_nothing_and_says_what_to_do_next(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings name the next step; Feast is written and read both ways, MLflow answers."""
    code, checks = diagnosed(capsys)
    assert code == 0, checks
    assert {n for n, (state, _, _) in checks.items() if state == "warn"} >= {
        "keys",
        "links",
        "worker",
        "model purchase",
    }
    assert checks["worker"][2].startswith("start it")
    assert checks["model purchase"][2] == "opportune train purchase"
    assert checks["feast"][0] == checks["mlflow"][0] == checks["database"][0] == "ok"
    assert all(do for state, _, do in checks.values() if state != "ok")


def test_what_is_wrong_is_found_all_at_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A broken playbook, a database and a Redis that do not answer, a tracking server that is not there."""
    (tmp_path / "bad.yaml").write_text("caps: {x: {at_most: 1}}\n")
    monkeypatch.setenv("OPPORTUNE_PLAYBOOK", str(tmp_path / "bad.yaml"))
    monkeypatch.setenv("OPPORTUNE_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("OPPORTUNE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("OPPORTUNE_MLFLOW_URI", f"sqlite:///{tmp_path / 'bad.yaml'}")
    code, checks = diagnosed(capsys)
    assert code == 1
    assert {n for n, (state, _, _) in checks.items() if state == "fail"} >= {
        "playbook", "database", "redis", "feast", "mlflow",
    }  # fmt: skip
    assert "bad.yaml:1" in checks["playbook"][1]
    assert "worker" not in checks


def test_a_setting_that_cannot_be_read_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else is tried with it."""
    monkeypatch.setenv("OPPORTUNE_CLOCK", "sundial")
    code, checks = diagnosed(capsys)
    assert code == 1
    assert "clock" in checks["settings"][1]


def test_a_worker_that_fell_silent_and_timers_nobody_fires_are_failures(home: Path) -> None:
    """Heard of lately is well; two minutes of silence, or something overdue by five, is not."""
    now = datetime.now(UTC)
    i = Installation(Settings(home=home), FixedClock(now))
    assert doctor.worker(i).state == "warn"
    beat(i.ledger, FixedClock(now - timedelta(minutes=3)), "w")
    assert (doctor.worker(i).state, "was heard of" in doctor.worker(i).found) == ("fail", True)
    beat(i.ledger, WallClock(), "w")
    assert doctor.worker(i).state == "ok"
    with i.ledger.begin() as uow:
        uow.timers.arm([a_timer(minutes=0)])
    late = doctor.worker(i)
    assert (late.state, "overdue" in late.found) == ("fail", True)
    i.close()


def test_a_worker_beats_as_one_of_its_duties(home: Path) -> None:
    """Whatever clock decides, the heartbeat is in real time; and no duty is left out of the lanes that run."""
    i = Installation(Settings(home=home), FixedClock(datetime(2020, 1, 1, tzinfo=UTC)))
    duties = worker_of(i).duties
    duties["beat"].run()
    assert sorted(name for lane in LANES for name in lane) == sorted(duties)
    assert doctor.worker(i).state == "ok"
    i.close()
