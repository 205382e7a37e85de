"""A real `opportune serve` process of one's own: started, killed without mercy, started again, and looked into."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from opportune.adapters.sql_ledger import SqlLedger
from opportune.ports import Ledger

#: The tree under test comes first, whatever is installed.
SOURCE = Path(__file__).parents[2] / "src"
READY_WITHIN_S = 90.0


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """`opportune serve` on a port and a home of its own. `database_url` null: SQLite in the home.

    Keys: `wk` writes events, `dk` decides, `ak` is the admin's.
    """

    def __init__(self, home: Path, database_url: str | None = None, *, is_working: bool = False, **settings: str):
        self.home, self.is_working = home, is_working
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ledger_url = database_url or f"sqlite:///{home / 'ledger.db'}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OPPORTUNE_")}
        self.environment = {**kept, "OPPORTUNE_HOME": str(home), "PYTHONPATH": str(SOURCE)}
        if database_url:
            self.environment["OPPORTUNE_DATABASE_URL"] = database_url
        settings = {"write_key": "wk", "decide_key": "dk", "api_key": "ak", **settings}
        self.environment |= {f"OPPORTUNE_{name.upper()}": value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.n_kills = 0

    def start(self) -> "Server":
        """Start the process; it may need some seconds until `wait` returns."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "opportune", "serve", "--port", str(self.port)]
        with open(self.home.parent / f"{self.home.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--work" if self.is_working else "--no-work"],
                env=self.environment,
                cwd=self.home.parent,
                stdout=log,
                stderr=log,
            )
        return self

    def wait(self) -> "Server":
        """Until /readyz answers 200. Raises RuntimeError when the process has stopped or takes too long."""
        assert self.process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"no server on {self.url} (exit code {self.process.poll()}):\n{self.log[-3000:]}")

    @property
    def log(self) -> str:
        """What the process has printed so far."""
        return (self.home.parent / f"{self.home.name}.log").read_text(errors="replace")

    def kill(self) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)
        self.n_kills += 1

    def stop(self) -> None:
        """End the process in good order, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)

    def ask(self, path: str, body: object = None, key: str = "ak", **headers: str) -> tuple[int, Any]:
        """Status and JSON of one request: POST with a body, else GET."""
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        request = urllib.request.Request(f"{self.url}{path}", data=data)
        for name, value in {"Authorization": f"Bearer {key}", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, orjson.loads(answer.read())
        except urllib.error.HTTPError as answer:
            return answer.code, orjson.loads(answer.read())

    def memory_kb(self, peak: bool = False) -> int:
        """Resident memory of the serving process now, or its peak since `forget_peak`. Linux only."""
        assert self.process is not None
        name = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
        raise RuntimeError("the kernel says nothing about memory")

    def forget_peak(self) -> None:
        """Let the peak of resident memory begin anew."""
        assert self.process is not None
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stored(self) -> "Counter[str]":
        """How often each marked event is stored: marker (`n` of its properties or traits) -> number of rows."""
        found: Counter[str] = Counter()
        with self.ledger() as ledger, ledger.read() as uow:
            cursor, is_more = "", True
            while is_more:
                page, cursor = uow.events.after(cursor, 5000)
                is_more = bool(page)
                for event, _ in page:
                    if (marker := {**event.traits, **event.properties}.get("n")) is not None:
                        found[str(marker)] += 1
        return found

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The server's ledger, opened beside it."""
        opened = SqlLedger(self.ledger_url, migrate=False)
        try:
            yield opened
        finally:
            opened.close()
