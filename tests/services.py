"""PostgreSQL and Redis for tests: a database or key space of one's own, dropped afterwards."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

DEFAULT_POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


def _missing(what: str, setting: str) -> NoReturn:
    reason = f"{what} is not reachable: start it, or set {setting}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def admin_connection() -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection to the server itself, in autocommit: to create and drop databases, or to end backends."""
    url = make_url(os.environ.get("OPPORTUNE_TEST_POSTGRES_URL", DEFAULT_POSTGRES)).set(drivername="postgresql")
    try:
        connection = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        _missing("PostgreSQL", "OPPORTUNE_TEST_POSTGRES_URL")
    with connection:
        yield connection


@contextmanager
def fresh_database() -> Iterator[str]:
    """SQLAlchemy URL of a new, empty database, dropped at the end whoever is still connected."""
    server = make_url(os.environ.get("OPPORTUNE_TEST_POSTGRES_URL", DEFAULT_POSTGRES))
    name = f"opportune_test_{secrets.token_hex(6)}"
    with admin_connection() as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin_connection() as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def reachable_redis() -> str:
    """URL of the test Redis; skips (fails in CI) when nobody answers there."""
    url = os.environ.get("OPPORTUNE_TEST_REDIS_URL", DEFAULT_REDIS)
    client = redis.Redis.from_url(url, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.RedisError:
        _missing("Redis", "OPPORTUNE_TEST_REDIS_URL")
    finally:
        client.close()
    return url


class OwnRedis:
    """A Redis server of a test's own: to kill, and to start again empty on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it empty and wait until it answers; skips the test when there is no such program."""
        server = shutil.which("redis-server")
        if server is None:
            pytest.skip("no redis-server program to start and kill")
        self._process = subprocess.Popen(
            [server, "--port", str(self.port), "--save", "", "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        with redis.Redis.from_url(self.url) as client:
            for _ in range(100):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.05)
        pytest.fail("the test's own Redis does not answer")

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def drop_keys(url: str, part: str) -> None:
    """Delete every Redis key whose name contains `part` (a project or prefix of one's own)."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{part}*", count=1000):
            client.delete(key)
