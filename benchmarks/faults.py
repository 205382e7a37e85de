"""`make bench-faults`: what the acceptance suite shows in small, in full, on SQLite and on PostgreSQL; one table.

The four published clients send 2,500 events each, packed and not, in peace and while 30 % of the requests are answered
503 and the server is killed -9 and started again three times. Decisions are asked for while the server is killed.
Hostile bodies get the same verdict on both databases; 5,000 requests made up by schemathesis get no 5xx. Exits 1 when
anything was lost, doubled, answered 5xx or not as documented.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

from tests.acceptance.clients import CLIENTS, missing_node, node_packages, runs_of
from tests.acceptance.decisions import ask_while_killed, what_stands
from tests.acceptance.faults import Count, in_peace, in_trouble, orders_felt
from tests.acceptance.hostile import Hostile, bomb, corpus
from tests.acceptance.schema import explore
from tests.acceptance.serving import Server
from tests.acceptance.wire import send

from benchmarks.stores import fresh_database

WIDTHS = (11, 38, 7, 6, 38, 8, 7, 8, 6, 7)
HEADS = ("database", "client", "events", "gzip", "faults", "acked", "stored", "doubles", "lost", "errors")


class Table:
    """Rows as they come, and whether all was well."""

    def __init__(self) -> None:
        self.is_well = True
        self._row(HEADS)

    def _row(self, cells: Sequence[object]) -> None:
        shown = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
        print("  ".join(text.ljust(width) for text, width in zip(shown, WIDTHS, strict=True)).rstrip(), flush=True)

    def clients(self, database: str, counts: Sequence[Count], faults: str) -> None:
        """One row a client."""
        for c in counts:
            packed = "on" if c.run.is_packed else "off"
            sums = (c.acknowledged, c.stored, c.doubles, c.lost, len(c.errors))
            self._row((database, c.run.client.name, c.run.count, packed, faults, *sums))
            self.is_well &= not (c.errors or c.doubles or c.lost) and c.stored == c.run.count

    def line(self, text: str, is_well: bool) -> None:
        """One line of another kind."""
        print(f"{text}: {'ok' if is_well else 'NOT OK'}", flush=True)
        self.is_well &= is_well


def clients(table: Table, server: Server, database: str, n: int, packages: Path | None) -> None:
    """The clients in peace, then in trouble, each with events of their own."""
    able = [c for c in CLIENTS if c.language == "python" or packages is not None]
    calm = runs_of(n, able)
    started = time.monotonic()
    table.clients(database, in_peace(calm, server, packages), "none")
    print(f"{database}: {sum(r.count for r in calm):,} events in {time.monotonic() - started:.0f} s", file=sys.stderr)
    rough = runs_of(n, able, prefix="trouble-")
    seen = in_trouble(rough, server, packages, n_kills=3)
    told = f"{seen.n_faults} x 503 ({seen.n_hidden} stored), {seen.n_kills} kills"
    table.clients(database, seen.counts, told)
    felt, sent = orders_felt(server, [*calm, *rough])
    table.line(f"{database}: {sent:,} orders sent, {felt:,} in the features of their customers", felt == sent)


def decisions(table: Table, server: Server, database: str) -> None:
    """A stream of decisions, three kills."""
    seen = ask_while_killed(server, n_kills=3, per_kill=500)
    stands = what_stands(server, seen)
    table.line(
        f"{database}: {len(seen.answers):,} decisions acknowledged around 3 kills ({seen.n_failed} requests failed), "
        f"{stands.n_missing} not in the log, {stands.n_changed} changed, {stands.n_other_answer} answered otherwise",
        not (stands.n_missing or stands.n_changed or stands.n_other_answer),
    )


def hostile(table: Table, servers: Sequence[Server]) -> None:
    """The corpus on every server at once, and the bomb."""
    requests = corpus()
    ports = [server.port for server in servers]
    with ThreadPoolExecutor(len(servers)) as pool:
        verdicts = [list(pool.map(send, ports, repeat(request))) for request in requests]
    n_5xx = sum(v[0] >= 500 or v[0] == 0 for row in verdicts for v in row)
    n_apart = sum(len(set(row)) > 1 for row in verdicts)
    table.line(
        f"{len(requests)} hostile bodies, {len(servers)} databases: {n_5xx} x 5xx or silence, {n_apart} verdicts apart",
        not (n_5xx or n_apart),
    )
    before = servers[0].memory_kb()
    servers[0].forget_peak()
    packed = bomb(300)
    verdict = send(servers[0].port, Hostile("bomb", packed, headers=(("Content-Encoding", "gzip"),)))
    grown_mb = (servers[0].memory_kb(peak=True) - before) / 1024
    text = f"300 MB in {len(packed) / 1024:,.0f} KB of gzip: {verdict[0]}, peak memory of the server +{grown_mb:.1f} MB"
    table.line(text, verdict[0] == 413 and grown_mb < 10)


def made_up(table: Table, server: Server, database: str, n_cases: int, folder: Path) -> None:
    """schemathesis until so many cases were sent."""
    n, seed, failures = 0, 1, ""
    while n < n_cases and not failures:
        found = explore(server.url, folder, per_operation=max(1, min(120, (n_cases - n) // 25)), seed=seed, key="ak")
        n, seed, failures = n + found.n_cases, seed + 1, found.failures
    table.line(f"{database}: {n:,} schemathesis cases, {'failures below' if failures else 'no failure'}", not failures)
    if failures:
        print(failures)


def main() -> None:
    """Everything, one table, exit code 1 when something is not well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2500, help="of each client and packing; 0: no clients")
    parser.add_argument("--cases", type=int, default=5000, help="of schemathesis on each database")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="opportune-faults-"))
    reason = missing_node()
    if reason:
        print(f"the Node clients are left out: {reason}", file=sys.stderr)
    table = Table()
    try:
        with ExitStack() as stack:
            packages = None if reason else stack.enter_context(node_packages())
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            url = stack.enter_context(fresh_database())
            servers = {"SQLite": Server(folder / "sqlite")}
            if url:
                servers["PostgreSQL"] = Server(folder / "postgres", url)
            for server in servers.values():
                stack.callback(server.stop)
                server.start()
            for database, server in servers.items():
                server.wait()
                if options.events:
                    clients(table, server, database, options.events, packages)
                decisions(table, server, database)
            hostile(table, list(servers.values()))
            for database, server in servers.items():
                made_up(table, server, database, options.cases, folder)
    finally:
        print("all is well" if table.is_well else "SOMETHING IS NOT WELL")
    sys.exit(0 if table.is_well else 1)


if __name__ == "__main__":
    main()
