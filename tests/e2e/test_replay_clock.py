"""The replay clock over real HTTP, beside a running worker; and history replayed from a file by the command line."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from tests.contract.ledger_samples import an_event
from tests.e2e.test_story import call

from opportune.adapters.system_clock import ReplayClock
from opportune.cli.replay import on_replay_clock
from opportune.flows.ingest import ingest
from opportune.settings import Settings
from opportune.wiring import Installation
from opportune.world import World, WorldConfig

T0 = datetime(2026, 1, 5, 10, tzinfo=UTC)
RUN = [sys.executable, "-m", "opportune"]


def stamp(hours: float) -> str:
    return (T0 + timedelta(hours=hours)).isoformat()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`opportune serve` in replay mode, with its worker."""
    home = tmp_path_factory.mktemp("replay") / "home"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    environment = {**os.environ, "OPPORTUNE_HOME": str(home), "OPPORTUNE_CLOCK": "replay"}
    process = subprocess.Popen([*RUN, "serve", "--port", str(port)], env=environment, cwd=home.parent)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if call(f"{url}/readyz")[0] == 200:
                break
        except OSError:
            time.sleep(0.1)
    yield url, home
    process.terminate()
    process.wait(20)


def handed(home: Path) -> list[dict[str, Any]]:
    found = [json.loads(p.read_text()) for p in (home / "sent").glob("*.json")] if (home / "sent").exists() else []
    return sorted(found, key=lambda m: m["handed_off_at"])


def track(url: str, event: str, hours: float, who: str = "c1", **properties: Any) -> None:
    body = {"userId": who, "event": event, "properties": properties, "timestamp": stamp(hours)}
    assert call(f"{url}/v1/track", body) == (200, {"success": True, "accepted": 1, "rejected": []})


def test_timers_fire_at_their_own_instants_as_the_clock_passes_them(server: tuple[str, Path]) -> None:
    """An event comes in at the replayed now; a jump fires the timer when it was due, and its message leaves then."""
    url, home = server
    assert call(f"{url}/v1/clock", {"now": stamp(0)})[1]["now"] == stamp(0)
    who = {
        "userId": "c1", "traits": {"email": "a@example.org", "timezone": "Europe/London"}, "timestamp": stamp(0),
        "context": {"consent": {"categoryPreferences": {"email": True, "push": False}}},
    }  # fmt: skip
    assert call(f"{url}/v1/identify", who)[0] == 200
    track(url, "Product Added", 0, cart_id="k1", product_id="p", price=40, quantity=1)
    time.sleep(0.5)  # time enough for a worker that would run ahead
    assert handed(home) == []
    status, moved = call(f"{url}/v1/clock", {"now": stamp(30)})
    assert (status, moved["now"], moved["timers"], moved["messages"], moved["sent"]) == (200, stamp(30), 1, 1, 1)
    (message,) = handed(home)
    assert (message["campaign"], message["handed_off_at"]) == ("cart_reminder", stamp(1))
    decision = call(f"{url}/v1/decisions/{message['decision_id']}")[1]
    assert decision["decided_at"] == stamp(1)
    profile = call(f"{url}/v1/customers/c1")[1]
    assert profile["features_at"] == stamp(30)
    assert {(c["channel"], c["state"], c["source"]) for c in profile["consent"]} == {
        ("email", "in", "consent_preferences"), ("push", "out", "consent_preferences"),
    }  # fmt: skip


def test_what_is_due_now_happens_without_moving_the_clock(server: tuple[str, Path]) -> None:
    """The worker does what is due at the replayed now, and nothing of later; back is refused."""
    url, home = server
    call(f"{url}/v1/clock", {"now": stamp(30)})
    track(url, "Order Completed", 30, order_id="o1", revenue=40)
    track(url, "Product Added", 29.9, cart_id="k2", product_id="p", price=50, quantity=1)
    for _ in range(300):
        if any(m["campaign"] == "order_confirmation" for m in handed(home)):
            break
        time.sleep(0.1)
    confirmation = next(m for m in handed(home) if m["campaign"] == "order_confirmation")
    assert confirmation["handed_off_at"] == stamp(30)
    back = call(f"{url}/v1/clock", {"now": stamp(29)})
    assert (back[0], back[1]["field"]) == (422, "now")
    assert call(f"{url}/v1/clock", {"now": stamp(30)})[0] == 200


def test_history_is_replayed_from_a_file_onto_a_home_of_its_own(tmp_path: Path) -> None:
    """Earlier events become history, the rest comes in live; the summary counts what was said; time never goes back."""
    world = World(WorldConfig(n_customers=20, n_days=8, early_share=1.0), seed=2, end=T0)
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(world.jsonl()))
    environment = {**os.environ, "OPPORTUNE_HOME": str(tmp_path / "home")}
    first = (T0 - timedelta(days=2)).isoformat()
    command = [*RUN, "replay", str(file), "--format", "segment", "--from", first, "--to", stamp(-1), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    said = orjson.loads(done.stdout)
    stamps = [orjson.loads(line)["timestamp"] for line in file.read_bytes().splitlines()]
    n_live = sum(T0 - timedelta(days=2) <= datetime.fromisoformat(s) <= T0 - timedelta(hours=1) for s in stamps)
    assert (said["n_events"], said["n_known_already"], said["n_refused"]) == (n_live, 0, 0)
    assert said["n_sent"] + said["n_released"] <= said["n_messages"]
    assert said["n_messages"] == sum(said["campaigns"].values()) > 0
    assert datetime.fromisoformat(said["now"]) == T0 - timedelta(hours=1)
    messages = handed(tmp_path / "home")
    assert len(messages) == said["n_sent"] > 0
    assert min(m["handed_off_at"] for m in messages) > first

    again = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path, text=True)
    assert again.returncode == 1
    assert "stands at" in again.stderr
    assert "--from" in again.stderr


def test_a_home_that_lives_by_the_walls_clock_is_not_replayed_onto(sqlite_url: str, tmp_path: Path) -> None:
    """Replay would speak to its customers. A home without any, or replayed onto before, needs no setting."""

    def open_home() -> Installation:
        return Installation(Settings(home=tmp_path, database_url=sqlite_url, clock="wall"))

    assert on_replay_clock(open_home()).settings.clock == "replay"
    i = open_home()
    ingest([an_event("m1")], (), i.ledger, i.playbook, i.clock)
    with pytest.raises(click.UsageError, match="OPPORTUNE_HOME"):
        on_replay_clock(i)
    ReplayClock(i.ledger).start(T0)
    assert on_replay_clock(i).clock.now() == T0
