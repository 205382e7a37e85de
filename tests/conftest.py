"""Fixtures every test may ask for: services and ledgers."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tests.services import drop_keys, fresh_database, reachable_redis

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.migrations import upgrade
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.sql_tables import metadata
from opportune.ports import Ledger


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """URL of a database of this test module's own, empty at first, dropped at its end."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> str:
    """URL of the test Redis: put everything under `redis_project`."""
    return reachable_redis()


@pytest.fixture
def redis_project(redis_url: str) -> Iterator[str]:
    """A name of this test's own (Feast project or key prefix); keys that contain it are deleted afterwards."""
    name = f"t{secrets.token_hex(6)}"
    yield name
    drop_keys(redis_url, name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite ledger file at the newest revision: to copy, so that a test need not migrate."""
    path = tmp_path_factory.mktemp("ledger") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def migrated_postgres(postgres_url: str) -> str:
    """The module's database at the newest revision."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """URL of an empty, migrated SQLite ledger of this test's own."""
    shutil.copy(migrated_sqlite, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def empty_postgres(migrated_postgres: str) -> str:
    """The module's database, migrated, with no row in it."""
    engine = create_engine(migrated_postgres)
    with engine.begin() as connection:
        for name in metadata.tables:
            connection.exec_driver_sql(f"DELETE FROM {name}")
    engine.dispose()
    return migrated_postgres


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def open_ledger(request: pytest.FixtureRequest) -> Iterator[Callable[[], Ledger]]:
    """Opens the test's ledger: each call gives another handle on the same storage (memory: the same ledger)."""
    opened: list[Ledger] = []
    if request.param == "memory":
        only = MemoryLedger(lock_timeout_s=10)
        yield lambda: only
        return
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres")

    def open_one() -> Ledger:
        opened.append(SqlLedger(url, migrate=False, lock_timeout_s=10))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    """An empty ledger, in memory, on SQLite and on PostgreSQL in turn."""
    return open_ledger()
