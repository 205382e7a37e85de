"""Alembic migrations of the ledger, shipped inside the package and run when a ledger is opened."""

import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import OperationalError

from opportune.adapters.sql_tables import REVISION, VERSION_TABLE

#: Any constant: every process that migrates queues on this PostgreSQL advisory lock.
_ADVISORY_KEY = 7_305_411_862_013


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest revision; safe when several processes start at once.

    Raises sqlalchemy errors when the database cannot be reached.
    """
    is_sqlite = url.startswith("sqlite")
    # The wait for another starting process; DDL itself takes a fraction of a second.
    arguments = {"timeout": 60.0} if is_sqlite else {"connect_timeout": 10}
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args=arguments)
    try:
        _upgrade(engine)
    finally:
        engine.dispose()


def _upgrade(engine: Engine) -> None:
    # Looked at again under the lock; the whole upgrade is one transaction on both databases.
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            _use_wal(connection)
        if current(connection) == REVISION:
            return
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        try:
            if current(connection) != REVISION:
                _run_alembic(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def current(connection: Connection) -> str | None:
    """The revision the database is at; null when it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def _use_wal(connection: Connection) -> None:
    # Switching the journal mode does not honour SQLite's busy timeout, so starting processes wait here.
    give_up_at = time.monotonic() + 30
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def _run_alembic(connection: Connection) -> None:
    # Imported here: an up-to-date ledger opens without paying for alembic.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
