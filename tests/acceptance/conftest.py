"""Fixtures of the acceptance suite."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.acceptance.clients import missing_node, node_packages
from tests.acceptance.serving import Server


@pytest.fixture(scope="session")
def packages() -> Iterator[Path]:
    """node_modules with the locked clients. Without Node: skipped, under CI=true failed."""
    reason = missing_node()
    if reason is None:
        with node_packages() as home:
            yield home
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite."""
    served = Server(tmp_path_factory.mktemp("acceptance") / "home").start()
    try:
        yield served.wait()
    finally:
        served.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[tuple[Server, Server]]:
    """A server on SQLite and one on PostgreSQL."""
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        servers = Server(folder / "sqlite"), Server(folder / "postgres", postgres_url)
        for each in servers:
            stack.callback(each.stop)
            each.start()
        yield servers[0].wait(), servers[1].wait()
