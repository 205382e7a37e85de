"""The ledger on SQLite or PostgreSQL: opening, transactions, locks, recovery."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from opportune.adapters.memory_lock import FairLock
from opportune.adapters.migrations import upgrade
from opportune.adapters.sql_unit import SqlUnit
from opportune.adapters.sql_work import SqlWork, translate
from opportune.ports import UnitOfWork

#: Locks are taken in the order of the ids. `WHERE false` locks the row without writing a new version of it.
_LOCK = (
    "INSERT INTO customer_locks (customer_id) SELECT unnest(%s::text[])"
    " ON CONFLICT (customer_id) DO UPDATE SET customer_id = excluded.customer_id WHERE false"
)
_MOST_CONNECTIONS = 40  # the server's thread pool; more would wait for a connection
_queues: dict[str, FairLock] = {}
_queues_guard = threading.Lock()


class SqlLedger:
    """`opportune.ports.Ledger` on a SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://...`.

    Migrates the database when opened, unless `migrate` is false. `lock_timeout_s`: how long begin() waits for its
    locks before it raises Unavailable. `is_durable` false: SQLite does not wait for the disk, so that a power cut may
    cost the file: for simulations only. Raises Unavailable when the database cannot be reached, ValueError when the
    URL names neither database or a SQLite database without a file (that is what MemoryLedger is for).
    """

    def __init__(
        self, url: str, *, migrate: bool = True, lock_timeout_s: float = 30.0, is_durable: bool = True
    ) -> None:
        self.url = url
        parsed = make_url(url)
        self._lock_timeout_s = lock_timeout_s
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        self._inside = threading.local()
        if self._is_sqlite:
            self._writer, self._reader = _open_sqlite(parsed, is_durable)
            self._queue = _queue_of(str(Path(str(parsed.database)).resolve()))
        elif parsed.get_backend_name() == "postgresql":
            self._writer = self._reader = _open_postgresql(parsed, lock_timeout_s)
        else:
            raise ValueError(f"the ledger runs on sqlite or postgresql, not {parsed.get_backend_name()}")
        if migrate:
            try:
                upgrade(url)
            except (DBAPIError, PoolTimeout) as error:
                self.close()
                raise translate(error) from error

    @contextmanager
    def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
        """A writing transaction that holds one lock per customer id: see the port."""
        if getattr(self._inside, "writing", False):
            raise RuntimeError("begin() inside begin(): one thread holds one writing transaction at a time")
        self._inside.writing = True
        try:
            with self._writing(customer_ids) as connection:
                yield from _one_transaction(connection)
        finally:
            self._inside.writing = False

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """A reading transaction on one snapshot: see the port. On SQLite it never waits for the writer (WAL)."""
        word = "BEGIN" if self._is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        connection = _checkout(self._reader, lambda it: it.exec_driver_sql(word))
        try:
            yield from _one_transaction(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Close all connections. A closed ledger opens new ones when it is used again."""
        self._writer.dispose()
        self._reader.dispose()

    def _writing(self, customer_ids: Collection[str]) -> AbstractContextManager[Connection]:
        return self._writing_sqlite() if self._is_sqlite else self._writing_postgresql(customer_ids)

    @contextmanager
    def _writing_sqlite(self) -> Iterator[Connection]:
        # The one writer of the file covers every customer. Threads queue fairly; processes poll by the millisecond.
        give_up_at = time.monotonic() + self._lock_timeout_s
        with self._queue.held(self._lock_timeout_s):
            connection = _checkout(self._writer, lambda it: _begin_immediate(it, give_up_at))
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _writing_postgresql(self, customer_ids: Collection[str]) -> Iterator[Connection]:
        ids = sorted(set(customer_ids))

        def start(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
            if ids:
                connection.exec_driver_sql(_LOCK, (ids,))

        connection = _checkout(self._writer, start)
        try:
            yield connection
        finally:
            connection.close()


def _one_transaction(connection: Connection) -> Iterator[UnitOfWork]:
    """Commit on clean exit; an exception rolls all back and goes on."""
    work = SqlWork(connection)
    try:
        yield SqlUnit(work)
    except BaseException:
        _roll_back(connection)
        raise
    if work.failed:
        _roll_back(connection)
        raise RuntimeError("a database error was swallowed in this transaction: nothing was written (use savepoint())")
    work.plain("COMMIT")


def _roll_back(connection: Connection) -> None:
    # A connection that is gone has rolled back already; what made us roll back is the error to report.
    with suppress(DBAPIError):
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")


def _checkout(engine: Engine, start: Callable[[Connection], Any]) -> Connection:
    """A connection on which `start` went through. A connection found dead is replaced: nothing was done on it yet."""
    n_tries = 3
    while True:
        n_tries -= 1
        try:
            connection = engine.connect()
        except (DBAPIError, PoolTimeout) as error:
            raise translate(error) from error
        try:
            start(connection)
            return connection
        except DBAPIError as error:
            _roll_back(connection)
            connection.close()
            if not (error.connection_invalidated and n_tries):
                raise translate(error) from error
        except BaseException:
            connection.close()
            raise


def _begin_immediate(connection: Connection, give_up_at: float) -> None:
    pause_s = 0.0005
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > give_up_at:
                raise
        # SQLite's own busy handler sleeps up to 100 ms while the lock is free; this keeps the hand-over short.
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.004)


def _queue_of(path: str) -> FairLock:
    with _queues_guard:
        return _queues.setdefault(path, FairLock())


def _open_sqlite(url: URL, is_durable: bool) -> tuple[Engine, Engine]:
    if not url.database or url.database == ":memory:":
        raise ValueError("a SQLite ledger needs a file: sqlite:////folder/ledger.db (or use MemoryLedger)")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)

    def pool(size: int) -> Engine:
        arguments = {"timeout": 30.0}
        return create_engine(
            url, isolation_level="AUTOCOMMIT", pool_size=size, max_overflow=_MOST_CONNECTIONS, connect_args=arguments
        )

    writer, reader = pool(1), pool(8)
    event.listen(writer, "connect", _prepare_sqlite)
    event.listen(writer, "connect", _never_wait_inside)
    event.listen(reader, "connect", _prepare_sqlite)
    event.listen(reader, "connect", _forbid_writing)
    if not is_durable:
        event.listen(writer, "connect", _never_wait_for_the_disk)
    return writer, reader


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # FULL: the log reaches the disk at every commit. With NORMAL a power cut may undo what was answered with 200.
    for pragma in ("synchronous=FULL", "cache_size=-32000", "temp_store=MEMORY", "journal_size_limit=67108864"):
        cursor.execute(f"PRAGMA {pragma}")
    # The first to open the file rebuilds the log's index and keeps others out meanwhile: be through with that now.
    cursor.execute("PRAGMA schema_version").fetchall()
    cursor.close()


def _never_wait_inside(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=0").close()  # _begin_immediate waits, by shorter steps


def _never_wait_for_the_disk(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF").close()


def _forbid_writing(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON").close()


def _open_postgresql(url: URL, lock_timeout_s: float) -> Engine:
    ours = f"-c jit=off -c random_page_cost=1.1 -c lock_timeout={max(1, round(lock_timeout_s * 1000))}"
    given = url.query.get("options", "")
    theirs = given if isinstance(given, str) else " ".join(given)
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",  # transactions are opened by hand: one round trip, with their isolation level
        pool_size=8,
        max_overflow=_MOST_CONNECTIONS - 8,
        pool_timeout=lock_timeout_s,
        connect_args={"connect_timeout": 5, "options": f"{ours} {theirs}".strip()},
    )
