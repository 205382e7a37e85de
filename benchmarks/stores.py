"""Databases of the benchmarks' own, cleaned afterwards; null when the service is not there (that part is left out)."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

POSTGRES = os.environ.get("OPPORTUNE_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("OPPORTUNE_BENCH_REDIS_URL", "redis://127.0.0.1:6379/15")


@dataclass(frozen=True, slots=True)
class Redis:
    """One Redis database, as a URL and as Feast writes it."""

    url: str
    feast: str


@contextmanager
def redis_database() -> Iterator[Redis | None]:
    """An empty Redis database of its own (15 unless OPPORTUNE_BENCH_REDIS_URL names another)."""
    import redis

    client = redis.Redis.from_url(REDIS)
    try:
        if client.dbsize():
            raise SystemExit(f"{REDIS} is not empty: name an empty database in OPPORTUNE_BENCH_REDIS_URL")
    except redis.ConnectionError as problem:
        print(f"no Redis, its rows are left out: {problem}", file=sys.stderr)
        yield None
        return
    host = client.connection_pool.connection_kwargs
    try:
        yield Redis(REDIS, f"{host['host']}:{host['port']},db={host['db']}")
    finally:
        client.flushdb()


@contextmanager
def fresh_database() -> Iterator[str | None]:
    """A PostgreSQL database of its own, dropped afterwards."""
    import sqlalchemy as sa

    admin = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    name = f"opportune_bench_{uuid.uuid4().hex[:8]}"
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError as problem:
        print(f"no PostgreSQL, its rows are left out: {problem}", file=sys.stderr)
        yield None
        return
    try:
        yield admin.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
