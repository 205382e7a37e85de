"""`make bench`: one table, every figure beside its reference of the same run.

Decisions: `POST /v1/decisions` complete (features from Feast, model, caps, durable log, removal reasons) on SQLite and
on PostgreSQL with Redis, beside the naive service (benchmarks/naive) and a bare FastAPI endpoint; one process each.
Ingestion: events a second, one by one and in batches of 100.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import load
from benchmarks.stores import fresh_database, redis_database

BIN = Path(sys.executable).parent
N_CUSTOMERS = 1000


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, path: str, env: dict[str, str]) -> Iterator[None]:
    """A server process until the block ends; waits until `path` answers below 500."""
    process = subprocess.Popen(command, env={**os.environ, **env, "OMP_NUM_THREADS": "1"})
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1)
                break
            except urllib.error.HTTPError as answer:
                if answer.code < 500:
                    break
            except OSError:
                pass
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} stopped with {process.returncode}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def uvicorn(app: str, port: int) -> list[str]:
    """One serving process of an ASGI app."""
    return [
        str(BIN / "uvicorn"),
        app,
        "--port",
        str(port),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--log-level",
        "warning",
        "--no-access-log",
    ]


def ask(i: int) -> bytes:
    """A decision for one of the customers."""
    return load.request("/v1/decisions", b'{"customer_id":"c%d"}' % (i * 7919 % N_CUSTOMERS))


def event(i: int, now: str) -> dict[str, object]:
    """A product view."""
    return {
        "type": "track",
        "messageId": f"b-{now}-{i}",
        "userId": f"c{i * 31 % N_CUSTOMERS}",
        "event": "Product Viewed",
        "properties": {"product_id": f"p{i % 50}", "price": 12.5},
        "timestamp": now,
    }


def one_event(i: int) -> bytes:
    """A single track call."""
    return load.request("/v1/track", json.dumps(event(i, datetime.now(UTC).isoformat())).encode())


def hundred_events(i: int) -> bytes:
    """A batch of 100."""
    now = datetime.now(UTC).isoformat()
    return load.request("/v1/batch", json.dumps({"batch": [event(i * 100 + k, now) for k in range(100)]}).encode())


def opportune(env: dict[str, str], seconds: float) -> dict[str, load.Load]:
    """Opportune with a history, a trained model and the worker beside it."""

    def run(*arguments: str) -> None:
        subprocess.run([str(BIN / "opportune"), *arguments], env={**os.environ, **env}, check=True, stdout=sys.stderr)

    shop = Path(env["OPPORTUNE_HOME"]).parent / "shop.jsonl"
    if not shop.exists():
        from benchmarks.shop import write_shop

        write_shop(shop, N_CUSTOMERS)
    run("ingest", str(shop), "--format", "segment")
    run("train", "purchase")
    run("work", "--once")
    port = free_port()
    found = {}
    with serving([str(BIN / "opportune"), "serve", "--port", str(port)], port, "/readyz", env):
        load.run(port, ask, 3.0)
        found["decisions, 1 connection"] = load.run(port, ask, seconds, 1)
        found["decisions, 16 connections"] = load.run(port, ask, seconds, 16)
        found["events one by one, 16 connections"] = load.run(port, one_event, seconds, 16)
        found["events in batches of 100, 4 connections"] = load.run(port, hundred_events, seconds, 4)
    return found


def naive(folder: Path, redis: str, seconds: float) -> dict[str, load.Load]:
    """The naive service, `gc.freeze` included."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.naive.prepare", str(folder), redis, str(N_CUSTOMERS)],
        check=True,
        stdout=sys.stderr,
    )
    port = free_port()
    question = lambda i: load.request("/decide", b'{"customer_id":"c%d"}' % (i * 7919 % N_CUSTOMERS))  # noqa: E731
    with serving(uvicorn("benchmarks.naive.app:app", port), port, "/docs", {"NAIVE_REPO": str(folder)}):
        load.run(port, question, 2.0)
        return {f"{n} connection{'s' if n > 1 else ''}": load.run(port, question, seconds, n) for n in (1, 16)}


def main() -> None:
    """Measure all, print one table, optionally write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="opportune-bench-"))
    rows: dict[str, load.Load] = {}
    try:
        with redis_database() as redis:
            if redis:
                for name, seen in naive(folder / "naive", redis.feast, options.seconds).items():
                    rows[f"naive, {name}"] = seen
            port = free_port()
            with serving(uvicorn("benchmarks.bare:app", port), port, "/docs", {}):
                rows["bare FastAPI, 16 connections"] = load.run(
                    port, lambda i: load.request("/bare", b"{}"), options.seconds
                )
            for name, seen in opportune({"OPPORTUNE_HOME": str(folder / "sqlite")}, options.seconds).items():
                rows[f"SQLite: {name}"] = seen
            with fresh_database() as database:
                if database and redis:
                    env = {
                        "OPPORTUNE_HOME": str(folder / "postgres"),
                        "OPPORTUNE_DATABASE_URL": database,
                        "OPPORTUNE_REDIS_URL": redis.url,
                    }
                    for name, seen in opportune(env, options.seconds).items():
                        rows[f"PostgreSQL + Redis: {name}"] = seen
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(rows)
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    k: {"per_s": v.per_s, "p50_ms": v.p50_ms, "p99_ms": v.p99_ms, "errors": v.n_errors}
                    for k, v in rows.items()
                },
                indent=1,
            )
        )


def show(rows: dict[str, load.Load]) -> None:
    """The table; `x naive` is against the naive service on as many connections."""
    print(f"{'':<58}{'req/s':>9}{'items/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'errors':>8}{'x naive':>9}")
    for name, seen in rows.items():
        reference = rows.get("naive, 1 connection" if name.endswith(" 1 connection") else "naive, 16 connections")
        ratio = f"{seen.per_s / reference.per_s:.1f}" if reference and "decisions" in name else ""
        items = seen.per_s * (100 if "batches" in name else 1)
        print(
            f"{name:<58}{seen.per_s:>9,.0f}{items:>10,.0f}{seen.p50_ms:>9.2f}{seen.p99_ms:>9.2f}{seen.max_ms:>9.1f}{seen.n_errors:>8}{ratio:>9}"
        )


if __name__ == "__main__":
    main()
