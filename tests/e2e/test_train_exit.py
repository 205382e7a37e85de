"""Exit codes of `opportune train`: scripts can tell promoted, refused and failed apart."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opportune.cli import main
from opportune.cli import train as command
from opportune.flows.train import TrainReport


def exit_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return int(done.value.code or 0)


@pytest.mark.parametrize(("verdict", "code"), [("promoted", 0), ("prior", 0), ("refused", 3), ("failed", 1)])
def test_each_verdict_has_its_exit_code(
    verdict: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 promoted or a prior, 3 refused by a gate, 1 failed."""

    def trained(installation: object, name: str, as_of: object) -> TrainReport:
        return TrainReport(name=name, verdict=verdict, as_of=datetime(2026, 1, 1, tzinfo=UTC))

    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(command, "train_one", trained)
    assert exit_of(["train", "purchase"]) == code


def test_thin_data_registers_a_prior_and_says_so_and_a_missing_goal_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For real, on an empty ledger: 0 with a prior; 1 when the playbook lacks the goal to predict."""
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    assert exit_of(["train", "purchase"]) == 0
    assert "is a prior: the data is too thin" in capsys.readouterr().out
    (tmp_path / "p.yaml").write_text("currency: EUR\n")
    monkeypatch.setenv("OPPORTUNE_PLAYBOOK", str(tmp_path / "p.yaml"))
    assert exit_of(["train", "purchase"]) == 1
    assert "has no goal 'order'" in capsys.readouterr().out
