"""The whole story over real HTTP: a server with its worker, curl-like calls, a message that leaves, an explanation."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

OPPORTUNE = Path(sys.executable).with_name("opportune")
WRITE = {"Authorization": "Basic " + base64.b64encode(b"wk:").decode()}
DECIDE = {"Authorization": "Bearer dk"}
ADMIN = {"Authorization": "Bearer ak"}


def call(
    url: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None
) -> tuple[int, Any]:
    """Status and JSON of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as answer:
        return answer.code, json.loads(answer.read() or b"null")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`opportune serve` with the default playbook and three keys."""
    home = tmp_path_factory.mktemp("story") / "home"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    environment = {
        **os.environ,
        "OPPORTUNE_HOME": str(home),
        "OPPORTUNE_API_KEY": "ak",
        "OPPORTUNE_WRITE_KEY": "wk",
        "OPPORTUNE_DECIDE_KEY": "dk",
    }
    process = subprocess.Popen([OPPORTUNE, "serve", "--port", str(port)], env=environment, cwd=home.parent)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            if call(f"{url}/readyz")[0] == 200:
                break
        except OSError:
            time.sleep(0.1)
    yield url, home
    process.terminate()
    process.wait(20)


def test_an_order_is_confirmed_and_the_confirmation_can_be_explained(server: tuple[str, Path]) -> None:
    """Order Completed over HTTP -> timer -> decision -> file sink; the decision is in the log with reasons."""
    url, home = server
    now = datetime.now(UTC).isoformat()
    traits = {"email": "a@example.org", "first_name": "Ada", "timezone": "Europe/London"}
    product = {"product_id": "p1", "price": 42.5, "quantity": 1}
    order = {"order_id": "A-1", "revenue": 42.5, "products": [product]}
    who = {"type": "identify", "messageId": "i1", "userId": "c1", "traits": traits, "timestamp": now}
    bought = {"type": "track", "messageId": "o1", "userId": "c1", "event": "Order Completed", "timestamp": now}
    batch = {"batch": [who, {**bought, "properties": order}], "sentAt": now}
    assert call(f"{url}/v1/batch", batch, WRITE) == (200, {"success": True, "accepted": 2, "rejected": []})
    for _ in range(200):
        handed = sorted((home / "sent").glob("*.json")) if (home / "sent").exists() else []
        if handed:
            break
        time.sleep(0.1)
    assert len(handed) == 1
    message = json.loads(handed[0].read_text())
    assert (message["customer_id"], message["campaign"], message["channel"]) == ("c1", "order_confirmation", "email")
    status, decision = call(f"{url}/v1/decisions/{message['decision_id']}?explain=true", headers=DECIDE)
    assert status == 200
    assert decision["messages"][0]["message_id"] == message["message_id"]
    assert decision["summary"]
    status, profile = call(f"{url}/v1/customers/c1", headers=ADMIN)
    assert status == 200
    assert profile["features"]["orders_n_30d"] == 1


def test_a_request_is_answered_with_a_reason_for_everything_not_said(server: tuple[str, Path]) -> None:
    """Without a model the offer is removed because its score is missing, and the mode says rules only."""
    url, _ = server
    status, answer = call(f"{url}/v1/decisions", {"customer_id": "stranger"}, DECIDE)
    assert status == 200
    assert answer["mode"] == "rules_only"
    assert answer["messages"] == []
    assert {r["reason"] for r in answer["removed"]} <= {"score_missing", "no_address", "no_consent"}
    assert answer["removed"]
    status, again = call(f"{url}/v1/decisions/{answer['decision_id']}", headers=DECIDE)
    assert (status, again["summary"]) == (200, answer["summary"])


def test_keys_open_only_their_own_doors(server: tuple[str, Path]) -> None:
    """The write key appends and nothing else; without a key nothing is answered."""
    url, _ = server
    assert call(f"{url}/v1/decisions", {"customer_id": "c1"}, WRITE)[0] in (401, 403)
    assert call(f"{url}/v1/decisions", {"customer_id": "c1"})[0] == 401
    assert call(f"{url}/v1/track", {"userId": "c1", "event": "X"}, DECIDE)[0] in (401, 403)
    assert call(f"{url}/v1/track", {"userId": "c1", "event": "X"}, {"Authorization": "Bearer ak"})[0] == 200


def test_a_decision_replays_to_the_same_answer_from_the_command_line(server: tuple[str, Path]) -> None:
    """`opportune explain ID --replay` decides the stored case again."""
    url, home = server
    _, answer = call(f"{url}/v1/decisions", {"customer_id": "c1"}, DECIDE)
    done = subprocess.run(
        [OPPORTUNE, "explain", answer["decision_id"], "--replay"],
        env={**os.environ, "OPPORTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the same answer" in done.stdout
