"""opportune demo."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from opportune.cli.printing import counter, say

MARK = "demo.txt"
SEED = 7
CHUNK = 2000


@click.command("demo", epilog="Example:  opportune demo --no-serve")
@click.option("--serve/--no-serve", default=True, show_default=True, help="Go on serving at the end.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--customers", default=600, show_default=True, type=click.IntRange(50, 100_000), help="Size of the shop.")
def command(serve: bool, port: int, customers: int) -> None:
    """A whole sample shop whose last day is today: events, features, a model, decisions, a server."""
    os.environ.setdefault("OPPORTUNE_HOME", ".demo")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from opportune.cli.ingest import ingest_batches
    from opportune.cli.train import train_one
    from opportune.cli.work import worker_of
    from opportune.wiring import MODEL_NAMES, Installation
    from opportune.world import World, WorldConfig

    home = Path(os.environ["OPPORTUNE_HOME"]).absolute()
    fresh_home(home)
    i = Installation()
    now = i.clock.now()
    say(f"1/5  a shop of {customers:,} customers, six months up to {now:%Y-%m-%d %H:%M} UTC (docs/world.md)")
    world = World(WorldConfig(n_customers=customers), seed=SEED, end=now)
    (home / MARK).write_text("Made by `opportune demo`; it deletes this folder and makes it anew.\n")
    say("2/5  ingesting its events")
    events = (e for e in world.domain_events(ingested_at=now))
    report = ingest_batches(i, chunks(events, CHUNK), counter("events"))
    say(f"     {report['n_accepted']:,} events")
    say("3/5  training purchase, churn and send time: labels, features as of each cut-off through Feast, LightGBM")
    for name in MODEL_NAMES:
        say(indented(train_one(i, name, None).to_text()))
    say("4/5  projecting feature state to Feast's online store, publishing")
    worker = worker_of(i)
    while worker.round():
        pass
    failed = {name: duty.last_error for name, duty in worker.duties.items() if duty.last_error}
    if failed:
        raise click.ClickException("; ".join(f"{name}: {error}" for name, error in failed.items()))
    with i.ledger.read() as uow:
        ids = [c for c in uow.customers.all_ids("", 1000) if not c.startswith("anon:")][:200]
    i.close()
    say(f"5/5  serving on http://127.0.0.1:{port}")
    server = subprocess.Popen([sys.executable, "-m", "opportune", "serve", "--port", str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, server)
        click.echo(story(url, ids))
        click.echo(where_next(url, home, ids[0]))
        if serve:
            server.wait()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        server.terminate()
        try:
            server.wait(60)  # it ends its worker first
        except subprocess.TimeoutExpired:
            server.kill()


def fresh_home(home: Path) -> None:
    """An empty home: an older demo's is deleted, anybody else's is refused."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARK).exists():
            raise click.ClickException(f"{home} holds something that is no demo: set OPPORTUNE_HOME to another folder")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)


def chunks(events: Any, size: int) -> Any:
    """Events in lists of `size`, as (events, letters)."""
    batch = []
    for event in events:
        batch.append(event)
        if len(batch) == size:
            yield batch, []
            batch = []
    if batch:
        yield batch, []


def indented(text: str) -> str:
    """Under its step."""
    return "\n".join(f"     {line}" for line in text.splitlines())


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Until the server is ready. Raises ClickException when it stops instead."""
    import httpx

    for _ in range(300):
        if server.poll() is not None:
            raise click.ClickException("the server did not start: is the port in use? Try --port 8001")
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise click.ClickException("the server is not ready after 30 s: see its messages above")


def story(url: str, ids: list[str]) -> str:
    """One decision, asked for over HTTP, told in words: of the customers asked dry, the first worth a message."""
    import httpx

    from opportune.flows.tell import in_words

    dry = httpx.post(
        f"{url}/v1/decisions/batch", json={"customers": [{"customer_id": c} for c in ids], "dry_run": True}, timeout=60
    ).json()
    told = [d for d in dry["decisions"] if d.get("messages")] or dry["decisions"]
    customer = told[0]["customer_id"]
    decision = httpx.post(f"{url}/v1/decisions", json={"customer_id": customer, "explain": True}, timeout=60).json()
    n = sum(1 for d in dry["decisions"] if d.get("messages"))
    return f"\nOf {len(ids)} customers asked about, {n} would get a message now. One of them:\n\n{in_words(decision)}\n"


def where_next(url: str, home: Path, customer: str) -> str:
    """What a newcomer should look at."""
    return "\n".join(
        [
            "Look next at:",
            f"  {url}/docs                      every call, runnable in the browser",
            f"  curl -s {url}/v1/customers/{customer}   one customer: traits, consent, features now, sends",
            f'  curl -s {url}/v1/decisions -d \'{{"customer_id": "{customer}"}}\'',
            f"  {url}/metrics                   numbers for Prometheus",
            f"  OPPORTUNE_HOME={home} opportune models list    the model in the MLflow registry",
            f"  OPPORTUNE_HOME={home} opportune ui             MLflow on http://127.0.0.1:5000, Feast on http://127.0.0.1:8888",
            "  docs/playbook.md                the policy that decided, and how to write your own",
        ]
    )
