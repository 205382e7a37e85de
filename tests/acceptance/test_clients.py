"""The published client libraries, unchanged, with only the host set: in peace and in trouble.

`make bench-faults` runs the same with 2,500 events a client, three kills, and on PostgreSQL too.
"""

from pathlib import Path

from tests.acceptance.clients import CLIENTS, Run, runs_of
from tests.acceptance.faults import in_peace, in_trouble, orders_felt
from tests.acceptance.serving import Server

PYTHON = [c for c in CLIENTS if c.language == "python"]
NODE = [c for c in CLIENTS if c.language == "node"]


def all_stored_once(runs: list[Run], server: Server, packages: Path | None) -> None:
    for count in in_peace(runs, server, packages):
        assert count.errors == ()
        assert (count.stored, count.doubles, count.lost) == (count.run.count, 0, 0), count.run.marker
    felt, sent = orders_felt(server, runs)
    assert felt == sent
    for run in runs:  # RudderStack's Python client sends the traits of an identify inside the context only
        who = f"{run.marker}-c0"
        assert server.ask(f"/v1/customers/{who}")[1]["traits"]["email"] == f"{who}@example.com"


def test_python_clients_deliver_every_event_once_packed_or_not(server: Server) -> None:
    """segment-analytics-python and rudder-sdk-python: all stored once, no client error, traits and features right."""
    all_stored_once(runs_of(300, PYTHON), server, None)


def test_node_clients_deliver_every_event_once_packed_or_not(server: Server, packages: Path) -> None:
    """analytics-node and rudder-sdk-node: all stored once, no client error, traits and features right."""
    all_stored_once(runs_of(300, NODE), server, packages)


def test_nothing_acknowledged_is_lost_or_doubled_while_requests_fail_and_the_server_is_killed(
    server: Server, packages: Path
) -> None:
    """30 % of the answers are 503 (half of them after the write) and the server is killed -9 and started again."""
    runs = [Run(c, c.can_pack, 150, f"trouble-{c.language}-{c.library}") for c in CLIENTS]
    seen = in_trouble(runs, server, packages, n_kills=1, timeout_s=120)
    assert seen.n_kills == 1
    assert seen.n_faults > 0
    for count in seen.counts:
        assert (count.errors, count.lost, count.doubles, count.unsent) == ((), 0, 0, 0), count.run.marker
        assert count.stored == count.acknowledged == count.run.count
    felt, sent = orders_felt(server, runs)
    assert felt == sent
