"""opportune ui."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import say

if TYPE_CHECKING:
    from opportune.wiring import Installation

READY_WITHIN_S = 90.0


@click.command("ui", epilog="Example:  opportune ui      (then open the two links it prints)")
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--feast-port", default=8888, show_default=True, type=click.IntRange(1, 65535))
@click.option("--only", type=click.Choice(["mlflow", "feast"]), default=None, help="Open just one of them.")
def command(mlflow_port: int, feast_port: int, only: str | None) -> None:
    """Open the MLflow and Feast user interfaces on this installation's own stores, on loopback, until Ctrl-C."""
    from opportune.wiring import Installation

    installation = Installation()
    wanted = {
        "mlflow": (mlflow_command(installation, mlflow_port), f"http://127.0.0.1:{mlflow_port}"),
        "feast": (feast_command(installation, feast_port), f"http://127.0.0.1:{feast_port}"),
    }
    servers: dict[str, subprocess.Popen[bytes]] = {}
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    try:
        for name, (arguments, url) in wanted.items():
            if only in (None, name):
                if arguments is None:
                    click.echo(f"{name}: {installation.settings.mlflow_uri} (a server of its own)")
                    continue
                say(f"starting {name} ...")
                log = installation.home / "logs" / f"ui-{name}.log"
                log.parent.mkdir(exist_ok=True)
                with log.open("wb") as sink:
                    servers[name] = subprocess.Popen(
                        arguments, env=environment(), stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
                    )
                wait_for(name, url, servers[name], log, stop)
                click.echo(f"{name}: {url}{LOOK_AT[name]}")
        if servers:
            say("stop with Ctrl-C")
        while servers and not stop.wait(0.5):
            for name, server in servers.items():
                if server.poll() is not None:
                    raise click.ClickException(f"{name} has stopped: see {installation.home / 'logs'}")
    finally:
        for server in servers.values():
            end(server)
        installation.close()


LOOK_AT = {
    "mlflow": "   experiments ab/..., training/..., decisions; Models: champions",
    "feast": "   feature views, their fields and where they come from",
}


def mlflow_command(installation: "Installation", port: int) -> list[str] | None:
    """The stock MLflow server on the installation's store; null when the store is a server already."""
    uri = installation.settings.mlflow_uri
    if uri and uri.startswith(("http://", "https://")):
        return None
    store = uri or f"sqlite:///{installation.home / 'mlflow.db'}"
    artifacts = (installation.home / "mlartifacts").as_uri()
    head = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*head, "--backend-store-uri", store, "--default-artifact-root", artifacts, "--no-serve-artifacts"]


def feast_command(installation: "Installation", port: int) -> list[str]:
    """Feast's own user interface on the installation's registry."""
    return [sys.executable, "-m", "opportune.cli.ui_feast", str(installation.home), str(port)]


def environment() -> Mapping[str, str]:
    """Nothing is run in the background and nobody is told; one worker's memory instead of five."""
    return {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "FEAST_USAGE": "False",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def wait_for(name: str, url: str, server: "subprocess.Popen[bytes]", log: Path, stop: threading.Event) -> None:
    """Until the interface answers. Raises ClickException when it stops, or does not come."""
    import httpx

    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and not stop.is_set():
        if server.poll() is not None:
            raise click.ClickException(f"{name} did not start; is the port in use? See {log}")
        try:
            if httpx.get(url, timeout=5).status_code < 500:
                return
        except httpx.TransportError:
            stop.wait(0.2)
    if not stop.is_set():
        raise click.ClickException(f"{name} did not answer within {READY_WITHIN_S:.0f} s; see {log}")


def end(server: "subprocess.Popen[bytes]") -> None:
    """Stop a server with all its workers: the group of processes that it leads."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
