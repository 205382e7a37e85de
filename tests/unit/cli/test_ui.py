"""opportune ui opens the stock interfaces on this installation's own stores, on loopback only."""

import itertools
from pathlib import Path

from opportune.cli.ui import environment, feast_command, mlflow_command
from opportune.settings import Settings
from opportune.wiring import Installation


def test_mlflow_opens_on_the_homes_own_store_and_a_server_of_its_own_is_left_alone(tmp_path: Path) -> None:
    """Database and artifacts of the home; with a server configured there is nothing to start."""
    home = tmp_path / "home"
    arguments = mlflow_command(Installation(Settings(home=home)), 5005)
    assert arguments is not None
    given = dict(itertools.pairwise(arguments))
    assert given["--backend-store-uri"] == f"sqlite:///{home / 'mlflow.db'}"
    assert given["--default-artifact-root"] == (home / "mlartifacts").as_uri()
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "5005")
    assert mlflow_command(Installation(Settings(home=home, mlflow_uri="https://mlflow.example")), 5005) is None
    assert environment()["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_feast_opens_on_the_homes_own_registry(tmp_path: Path) -> None:
    """A process of its own, told the home and the port."""
    installation = Installation(Settings(home=tmp_path))
    assert feast_command(installation, 8885)[1:] == ["-m", "opportune.cli.ui_feast", str(tmp_path), "8885"]
