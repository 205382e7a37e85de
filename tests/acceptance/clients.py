"""The four published clients, each in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NODE = HERE / "node"


@dataclass(frozen=True, slots=True)
class Client:
    """One library. `can_pack`: it can be told to gzip."""

    package: str
    version: str
    language: str
    library: str
    can_pack: bool

    @property
    def name(self) -> str:
        """Package and version, as the tables print it."""
        return f"{self.package} {self.version}"


CLIENTS = (
    Client("segment-analytics-python", "2.4.0", "python", "segment", True),
    Client("rudder-sdk-python", "2.1.9", "python", "rudder", True),
    Client("@segment/analytics-node", "3.1.0", "node", "segment", False),
    Client("@rudderstack/rudder-sdk-node", "3.0.13", "node", "rudder", True),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One client's run. `marker`: what its events are marked with."""

    client: Client
    is_packed: bool
    count: int
    marker: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a client said of its run."""

    run: Run
    errors: tuple[str, ...]


def runs_of(count: int, clients: Sequence[Client] = CLIENTS, prefix: str = "") -> list[Run]:
    """Every client with gzip off, and on where it can. `prefix`: of the markers."""
    return [
        Run(client, is_packed, count, f"{prefix}{client.language}-{client.library}-{'gzip' if is_packed else 'plain'}")
        for client in clients
        for is_packed in ((False, True) if client.can_pack else (False,))
    ]


def missing_node() -> str | None:
    """Why the Node clients cannot run here, null when they can."""
    lacking = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return f"{' and '.join(lacking)} not found: install Node 20 or newer" if lacking else None


@contextmanager
def node_packages(beside: Path | None = None) -> Iterator[Path]:
    """The folder `node_modules` with the locked packages, kept beside the lock file between runs.

    Installed into a fresh folder and moved into place whole, so that two runs at once do not disturb each other.
    Raises RuntimeError when npm fails.
    """
    home = (beside or NODE) / "node_modules"
    if not (home / ".complete").exists():
        fresh = Path(tempfile.mkdtemp(prefix=".installing-", dir=home.parent))
        try:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, fresh)
            command = [
                "npm",
                "ci",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--omit=optional",
                "--loglevel=error",
            ]
            done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                raise RuntimeError(f"npm ci failed: {done.stderr[-2000:]}")
            (fresh / "node_modules" / ".complete").touch()
            shutil.rmtree(home, ignore_errors=True)
            (fresh / "node_modules").rename(home)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    yield home


def drive(runs: Sequence[Run], url: str, patience: int, timeout_s: float, packages: Path | None) -> list[Told]:
    """All runs at once against `url`; what each client said. `packages`: node_modules; null: no Node run is asked for.

    Raises RuntimeError when a client's process dies.
    """
    processes = []
    for run in runs:
        tail = [
            run.client.library,
            url,
            str(run.count),
            "gzip" if run.is_packed else "plain",
            run.marker,
            str(patience),
        ]
        if run.client.language == "node":
            assert packages is not None
            command, env = ["node", str(NODE / "drive.cjs"), *tail], {**os.environ, "NODE_PATH": str(packages)}
        else:
            command, env = [sys.executable, str(HERE / "drive_python.py"), *tail], {**os.environ}
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    told = []
    try:
        for run, process in zip(runs, processes, strict=True):
            out, err = process.communicate(timeout=timeout_s)
            if process.returncode or not out.strip():
                raise RuntimeError(f"{run.client.name} died with {process.returncode}: {err[-2000:]}")
            told.append(Told(run, tuple(json.loads(out.strip().splitlines()[-1])["errors"])))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    return told
