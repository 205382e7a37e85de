"""A stream of decisions with idempotency keys while the server is killed: what was answered must stand."""

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from tests.acceptance.serving import Server


@dataclass(slots=True)
class Asked:
    """What the askers were told: idempotency key -> the body of its 200. `n_failed`: requests without one."""

    answers: dict[str, bytes] = field(default_factory=dict)
    n_failed: int = 0


def ask_while_killed(server: Server, n_kills: int, per_kill: int, n_askers: int = 8, name: str = "k") -> Asked:
    """Ask without pause on `n_askers` connections; kill -9 after each `per_kill` answers, and start again."""
    seen, guard, is_over = Asked(), threading.Lock(), threading.Event()

    def ask(asker: int) -> None:
        i = 0
        while not is_over.is_set():
            key = f"{name}-{asker}-{i}"
            i += 1
            answer = post(server, key, body_of(asker, i))
            with guard:
                if answer is None:
                    seen.n_failed += 1
                elif answer[0] == 200:
                    seen.answers[key] = answer[1]
                else:
                    raise AssertionError(f"a decision was answered {answer}")
            if answer is None:
                time.sleep(0.05)

    askers = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(n_askers)]
    for thread in askers:
        thread.start()
    try:
        for k in range(n_kills):
            until = time.monotonic() + 60
            while len(seen.answers) < per_kill * (k + 1) and time.monotonic() < until:
                time.sleep(0.001)
            server.kill()
            if k + 1 < n_kills:
                server.start().wait()
    finally:
        is_over.set()
        for thread in askers:
            thread.join(30)
    server.start().wait()
    return seen


def body_of(asker: int, i: int) -> bytes:
    """What is asked with the key of this asker and number."""
    return orjson.dumps({"customer_id": f"asked-{(asker * 7 + i) % 40}", "context": {"n": i}})


def post(server: Server, key: str, body: bytes) -> tuple[int, bytes] | None:
    """Status and body; null when the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("POST", "/v1/decisions", body, {"Authorization": "Bearer dk", "Idempotency-Key": key})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Stands:
    """Of the acknowledged decisions: not in the log, logged otherwise, or answered otherwise afterwards."""

    n_missing: int
    n_changed: int
    n_other_answer: int


def what_stands(server: Server, seen: Asked, keys: Sequence[str] | None = None) -> Stands:
    """Look every acknowledged decision up in the log, and ask again with its key."""
    missing = changed = other = 0
    for key in keys or list(seen.answers):
        told = seen.answers[key]
        _, asker, i = key.rsplit("-", 2)
        again = post(server, key, body_of(int(asker), int(i) + 1))
        other += again != (200, told)
        decision = orjson.loads(told)
        status, stored = server.ask(f"/v1/decisions/{decision['decision_id']}")
        missing += status != 200
        changed += status == 200 and stored["messages"] != decision["messages"]
    return Stands(missing, changed, other)
