"""The clients against a server: in peace, and while requests fail and the server is killed and started again."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.clients import Run, Told, drive
from tests.acceptance.proxy import Proxy
from tests.acceptance.serving import Server

#: Retries a client may make before it gives an event up: never reached unless something is broken.
PATIENCE = 60


@dataclass(slots=True)
class Count:
    """What became of one client's events. All but `run` and `errors` are numbers of events."""

    run: Run
    errors: tuple[str, ...]
    acknowledged: int
    stored: int
    doubles: int
    lost: int  # acknowledged and not stored
    unsent: int  # neither acknowledged nor stored


@dataclass(slots=True)
class Trouble:
    """What went wrong on purpose. `n_hidden` of `n_faults` were stored although the client was told 503."""

    n_faults: int = 0
    n_hidden: int = 0
    n_kills: int = 0
    n_cut: int = 0
    n_down: int = 0
    counts: list[Count] = field(default_factory=list)


def in_peace(runs: Sequence[Run], server: Server, packages: Path | None, timeout_s: float = 300) -> list[Count]:
    """All clients straight at the server. What a client did not report as an error it takes as acknowledged."""
    told = drive(runs, server.url, PATIENCE, timeout_s, packages)
    return counts_of(told, server.stored(), None)


def in_trouble(
    runs: Sequence[Run],
    server: Server,
    packages: Path | None,
    share: float = 0.3,
    n_kills: int = 3,
    timeout_s: float = 600,
    seed: int = 1,
) -> Trouble:
    """All clients through a proxy that answers 503 to `share`, while the server is killed and restarted some times.

    The kills are spread over the run by what has been acknowledged, so each meets requests under way.
    """
    total = sum(run.count for run in runs)
    seen = Trouble()
    is_over = threading.Event()
    with Proxy(server.port, share, seed) as proxy:

        def kill_now_and_then() -> None:
            for k in range(n_kills):
                enough = total * (k + 1) / (n_kills + 1.5)
                while len(proxy.acknowledged) < enough and not is_over.is_set():
                    time.sleep(0.002)
                if is_over.is_set():
                    return
                server.kill()
                server.start().wait()

        killer = threading.Thread(target=kill_now_and_then, daemon=True)
        killer.start()
        try:
            told = drive(runs, proxy.url, PATIENCE, timeout_s, packages)
        finally:
            is_over.set()
            killer.join(120)
        seen.n_faults, seen.n_hidden, seen.n_cut, seen.n_down = (
            proxy.n_faults,
            proxy.n_hidden,
            proxy.n_cut,
            proxy.n_down,
        )
        seen.n_kills = server.n_kills
        seen.counts = counts_of(told, server.stored(), proxy.acknowledged)
    return seen


def counts_of(told: Sequence[Told], stored: "Counter[str]", acknowledged: "Counter[str] | None") -> list[Count]:
    """Per run: acknowledged, stored, doubled, lost. `acknowledged` null: everything, when the client saw no error."""
    counts = []
    for answer in told:
        run = answer.run
        names = [f"{run.marker}:{i}" for i in range(run.count)]
        said = {n for n in names if (n in acknowledged if acknowledged is not None else not answer.errors)}
        counts.append(
            Count(
                run=run,
                errors=answer.errors,
                acknowledged=len(said),
                stored=sum(stored[n] > 0 for n in names),
                doubles=sum(max(0, stored[n] - 1) for n in names),
                lost=sum(stored[n] == 0 for n in said),
                unsent=sum(stored[n] == 0 and n not in said for n in names),
            )
        )
    return counts


def orders_felt(server: Server, runs: Sequence[Run]) -> tuple[int, int]:
    """(orders in the feature values of all customers, orders sent): equal when nothing was counted twice."""
    felt = 0.0
    for run in runs:
        for c in range(min(50, run.count)):
            felt += server.ask(f"/v1/customers/{run.marker}-c{c}")[1]["features"]["orders_n_all"]
    return round(felt), sum(len(range(4, run.count, 25)) for run in runs)
