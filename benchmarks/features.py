"""Features at size: `python -m benchmarks.features [--full]`, or `make bench-features` for the full sizes.

- offline: every feature at every cut-off, beside a plain DuckDB query over the same files, each in a process of its own
- online: reading and finishing 1, 100 and 1,000 customers, beside the stock Feast SDK, on every store that is there
- ingestion with all features, and what of it is features
- growth: one read and one decision among few customers and among many
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.features_archive import END, write_archive
from benchmarks.features_operate import best, history
from benchmarks.features_plain import plain_sql
from benchmarks.stores import fresh_database, redis_database
from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask
from opportune.domain.identity import N_BUCKETS
from opportune.domain.instants import from_us, to_us
from opportune.domain.states import StateRow
from opportune.features.catalog import NAMES
from opportune.features.state import empty, finalise, pack, rebuild, unpack, update
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.scoring import Scorer
from opportune.playbook.load import load
from opportune.ports import FeatureStore, ModelFiles

#: The issue's sizes, and those of a smoke test.
FULL = {"events": 2_000_000, "customers": 100_000, "cut_offs": 12, "ingest": 50_000, "growth": "10000,1000000"}
SMALL = {"events": 100_000, "customers": 5_000, "cut_offs": 12, "ingest": 10_000, "growth": "1000,20000"}
#: (what, figure, reference, ratio): the lines of the table.
Line = tuple[str, str, str, str]


def cut_offs(n: int) -> list[datetime]:
    """Cut-offs ten days apart, the newest ten days before the last event."""
    return [END - timedelta(days=10 * (k + 1)) for k in range(n)]


def run_ours(home: Path, n_customers: int, n_cut_offs: int) -> int:
    """Every feature of every customer at every cut-off, a cut-off at a time; returns the number of rows."""
    import pandas as pd

    offline, n_rows = DuckDbOffline(home), 0
    people = [f"c{i}" for i in range(n_customers)]
    for at in cut_offs(n_cut_offs):
        rows = pd.DataFrame({"customer_id": people, "at": pd.Series([at] * n_customers).dt.as_unit("us")})
        n_rows += len(offline.as_of(rows, [], []))
    return n_rows


def run_plain(home: Path, n_customers: int, n_cut_offs: int) -> int:
    """The same windows by one plain query a cut-off, as one would write it in a notebook; returns the rows."""
    import duckdb
    import pandas as pd

    files, n_rows = [f for b in range(N_BUCKETS) for f in ParquetArchive(home).files(b)], 0
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("asked", pd.DataFrame({"customer_id": [f"c{i}" for i in range(n_customers)]}))
        for at in cut_offs(n_cut_offs):
            n_rows += len(connection.execute(plain_sql(files, at)).df())
    return n_rows


def apart(mode: str, home: Path, n_customers: int, n_cut_offs: int) -> tuple[int, float, float]:
    """(rows, seconds, peak MB) of `ours` or `plain` in a process of its own, imports not counted in the seconds."""
    command = [sys.executable, "-m", "benchmarks.features", "--only", mode, str(home)]
    sizes = ["--customers", str(n_customers), "--cut-offs", str(n_cut_offs)]
    done = subprocess.run([*command, *sizes], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["rows"], found["seconds"], found["peak_mb"]


def measured(mode: str, home: Path, n_customers: int, n_cut_offs: int) -> None:
    """The other end of `apart`."""
    import duckdb  # noqa: F401 - imported before the clock starts
    import pandas as pd  # noqa: F401

    run = run_ours if mode == "ours" else run_plain
    started = time.perf_counter()
    n = run(home, n_customers, n_cut_offs)
    took = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": n, "seconds": took, "peak_mb": peak_mb}))


def offline_lines(home: Path, n_events: int, n_customers: int, n_cut_offs: int) -> Iterator[Line]:
    """Ours beside the plain query: alternately, twice, the faster of each; `ratio` should be at most 5."""
    write_archive(home, n_events, n_customers)
    runs: dict[str, list[tuple[int, float, float]]] = {"ours": [], "plain": []}
    for _ in range(2):
        for mode, seen in runs.items():
            seen.append(apart(mode, home, n_customers, n_cut_offs))
    (n, took, peak), (n_plain, plain, plain_peak) = (min(runs[m], key=lambda it: it[1]) for m in ("ours", "plain"))
    if n != n_plain:
        raise RuntimeError(f"{n:,} rows here and {n_plain:,} rows there: the comparison would be unfair")
    what = f"offline, {n_events:,} events, {n:,} rows, {len(NAMES)} features"
    yield what, f"{took:.2f} s", f"plain DuckDB {plain:.2f} s", f"{took / plain:.1f}x (at most 5)"
    yield "  peak memory of the process", f"{peak:,.0f} MB", f"plain DuckDB {plain_peak:,.0f} MB", ""


@contextmanager
def stores(home: Path) -> Iterator[dict[str, FeastFeatures]]:
    """Every online store that can be reached, empty."""
    with redis_database() as redis, fresh_database() as database:
        found = {"sqlite": FeastFeatures(home / "sqlite")}
        if redis:
            found["redis"] = FeastFeatures(home / "redis", redis.url)
        if database:
            found["postgres"] = FeastFeatures(home / "postgres", database_url=database, online="postgres")
        try:
            yield found
        finally:
            for store in found.values():
                store.close()


def online_lines(store: FeastFeatures, name: str, rows: Sequence[StateRow]) -> Iterator[Line]:
    """Finished values: by the direct reader, and by the stock SDK on the on-demand view."""
    store.apply()
    store.project(rows)
    now = datetime.now(UTC)
    view = [f"customer_features_now:{feature}" for feature in NAMES]

    def direct(ids: list[str]) -> object:
        return [finalise(unpack(row.state), now) for row in store.read(ids).values()]

    def stock(ids: list[str]) -> object:
        asked = [{"customer_id": c, "at_us": to_us(now)} for c in ids]
        return store.store().get_online_features(features=view, entity_rows=asked).to_dict()

    for n in (1, 100, 1000):
        ids = [row.customer_id for row in rows[:n]]
        mine, theirs = best(partial(direct, ids), 7), best(partial(stock, ids), 3)
        what = f"online {name}, {len(ids):,} customer{'s' if n > 1 else ''}"
        yield what, f"{mine * 1e3:.2f} ms", f"stock SDK {theirs * 1e3:.2f} ms", f"{theirs / mine:.0f}x faster"


def ingest_lines(home: Path, n_events: int) -> tuple[list[Line], list[StateRow]]:
    """Ingestion on SQLite with every feature, beside folding and packing the features alone; and the states."""
    events, book = history(max(1000, n_events // 20), 20)[:n_events], load(None)
    home.mkdir(parents=True, exist_ok=True)
    ledger = SqlLedger(f"sqlite:///{home}/ledger.db")
    started = time.perf_counter()
    for at in range(0, len(events), 2500):
        ingest(events[at : at + 2500], [], ledger, book, WallClock())
    took = time.perf_counter() - started
    states: dict[str, bytes] = {}
    started = time.perf_counter()
    for at in range(0, len(events), 500):
        batch: dict[str, list[Any]] = {}
        for event in events[at : at + 500]:
            batch.setdefault(event.user_id or "", []).append(event)
        for customer, mine in batch.items():
            kept = states.get(customer)
            states[customer] = pack(update(unpack(kept) if kept else empty(), mine))
    alone = time.perf_counter() - started
    with ledger.read() as uow:
        rows = list(uow.states.get(uow.customers.all_ids("", 1000)).values())
    ledger.close()
    figures = f"{n_events / took:,.0f} events/s", f"features alone {n_events / alone:,.0f} events/s"
    return [(f"ingestion on SQLite, {len(NAMES)} features", *figures, f"{alone / took:.0%} of the time")], rows


def growth_lines(home: Path, sizes: Sequence[int], store: FeatureStore, name: str) -> Iterator[Line]:
    """One read and one decision, customers at random, as the number of customers grows; `ratio` at most 1.2."""
    base: tuple[float, float] | None = None
    for n in sizes:
        folder = home / f"growth{n}"
        folder.mkdir(parents=True)
        ledger = SqlLedger(f"sqlite:///{folder}/ledger.db")
        bulk_load(ledger, store, n)
        desk = desk_over(ledger, store)
        draw = random.Random(n)
        asked = [f"g{draw.randrange(n)}" for _ in range(300)]
        read = middle(partial(read_one, store), asked)
        once = middle(partial(decide_one, desk), asked)
        ledger.close()
        base = base or (read, once)
        for what, mine, first in (("read and finish", read, base[0]), ("decision (dry run)", once, base[1])):
            figures = f"{mine * 1e3:.2f} ms", f"{sizes[0]:,} customers {first * 1e3:.2f} ms"
            yield f"{what} among {n:,} customers, {name}", *figures, f"{mine / first:.2f}x (at most 1.2)"


def read_one(store: FeatureStore, customer: str) -> object:
    """Finished values of one customer."""
    return [finalise(unpack(row.state), END) for row in store.read([customer]).values()]


def decide_one(desk: Desk, customer: str) -> object:
    """One decision, nothing kept."""
    return decide([Ask(customer_id=customer, dry_run=True)], desk)


def middle(work: Callable[[str], object], asked: Sequence[str]) -> float:
    """Median seconds of one call."""
    took = []
    for customer in asked:
        started = time.perf_counter()
        work(customer)
        took.append(time.perf_counter() - started)
    return median(took[len(took) // 10 :])


def bulk_load(ledger: SqlLedger, store: FeatureStore, n: int, step: int = 5000) -> None:
    """`n` customers with a state of five events each, into ledger and online store, without ingesting anything."""
    at = datetime.now(UTC)
    few = [replace(e, user_id="g") for e in history(1, 5)]
    state = pack(rebuild(few))
    for start in range(0, n, step):
        ids = [f"g{i}" for i in range(start, min(start + step, n))]
        rows = [StateRow(customer_id=c, version=1, state=state, committed_at=at) for c in ids]
        people = [Customer(customer_id=c, first_seen_at=from_us(0), last_seen_at=at) for c in ids]
        with ledger.begin() as uow:
            uow.customers.put(people)
            uow.identities.map({f"u:{c}": c for c in ids})
            uow.states.put(rows)
        store.project(rows)


class NoModels:
    """A shelf without models: the decision's own work, features included."""

    def stamp(self, name: str) -> str | None:
        """None."""
        return None

    def load(self, name: str) -> ModelFiles:
        """Never asked."""
        raise FileNotFoundError(name)


def desk_over(ledger: SqlLedger, store: FeatureStore) -> Desk:
    """Everything a decision needs, on these two."""
    book = load(None)
    return Desk(ledger=ledger, features=store, scorer=Scorer(NoModels(), ()), playbook=book, clock=WallClock(),
                secret=b"bench", code_version="bench", new_id=lambda: f"d{time.time_ns()}")  # fmt: skip


def show(line: Line) -> None:
    """One row of the table."""
    print(f"{line[0]:<66}{line[1]:>18}  {line[2]:<34}{line[3]}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all and print one table; `--json` as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help=f"the full sizes: {FULL}")
    for name, size in SMALL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(size), default=None, help=f"default {size}")
    parser.add_argument("--only", nargs=2, metavar=("MODE", "HOME"), default=None, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=None, help="also write the lines here")
    options = parser.parse_args(arguments)
    sizes: dict[str, Any] = {n: v for n, v in vars(options).items() if n in SMALL and v is not None}
    sizes = {**(FULL if options.full else SMALL), **sizes}
    if options.only:
        measured(options.only[0], Path(options.only[1]), sizes["customers"], sizes["cut_offs"])
        return
    lines: list[Line] = []

    def keep(found: Iterator[Line] | Sequence[Line]) -> None:
        for line in found:
            show(line)
            lines.append(line)

    with tempfile.TemporaryDirectory(prefix="opportune-bench-") as folder:
        home = Path(folder)
        keep(offline_lines(home / "offline", sizes["events"], sizes["customers"], sizes["cut_offs"]))
        found, rows = ingest_lines(home / "ingest", sizes["ingest"])
        keep(found)
        with stores(home) as there:
            for name, store in there.items():
                keep(online_lines(store, name, rows))
            grown = "redis" if "redis" in there else "sqlite"
            keep(growth_lines(home, [int(n) for n in sizes["growth"].split(",")], there[grown], grown))
    if options.json:
        named = [dict(zip(("what", "figure", "reference", "ratio"), line, strict=True)) for line in lines]
        options.json.write_text(json.dumps(named, indent=1))


if __name__ == "__main__":
    main()
