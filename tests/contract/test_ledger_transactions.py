"""Ledger contract: commit, rollback, savepoint, snapshot, locks, recovery, migration."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.contract.ledger_samples import T0, a_decision, a_send, a_state, an_event, at
from tests.services import admin_connection

import opportune.adapters.migrations as migrations
from opportune.adapters import sql_events, sql_people, sql_sends, sql_timers
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.sql_tables import REVISION, VERSION_TABLE, metadata
from opportune.ports import Ledger, Unavailable


class Boom(Exception):
    """Something that goes wrong in a flow."""


def test_an_exception_rolls_all_back_and_goes_on(ledger: Ledger) -> None:
    """Nothing of the transaction is seen afterwards, in any port."""
    with pytest.raises(Boom), ledger.begin(["c1"]) as work:
        work.states.put([a_state("c1")])
        work.events.append([(an_event("m1"), "c1")])
        work.sends.reserve([a_send("m1")])
        work.decisions.add([a_decision("d1")])
        raise Boom
    with ledger.begin(["c1"]) as work:
        assert work.states.get(["c1"]) == {}
        assert work.events.append([(an_event("m1"), "c1")]) == {"m1"}
        assert work.sends.history("m1") == []
        assert work.decisions.newest(None, 9) == []


def test_a_savepoint_undoes_only_what_was_inside(ledger: Ledger) -> None:
    """Nested ones too; the transaction goes on."""
    with ledger.begin() as work:
        work.cursors.put("a", "outer")
        with pytest.raises(Boom), work.savepoint():
            work.cursors.put("a", "inner")
            with work.savepoint():
                work.cursors.put("b", "kept until the outer one goes")
            raise Boom
        with work.savepoint():
            work.cursors.put("c", "kept")
    with ledger.read() as work:
        assert [work.cursors.get(it) for it in "abc"] == ["outer", None, "kept"]


def test_writing_in_a_reading_transaction_is_an_error(ledger: Ledger) -> None:
    """And nothing is written."""
    with pytest.raises(RuntimeError, match="reading transaction"), ledger.read() as work:
        work.cursors.put("a", "1")
    with ledger.read() as work:
        assert work.cursors.get("a") is None


def test_a_reader_sees_one_snapshot_and_never_waits_for_the_writer(ledger: Ledger) -> None:
    """What commits meanwhile, or is not committed yet, does not show."""
    with ledger.begin() as work:
        work.cursors.put("a", "1")
    with ledger.read() as reader:
        assert reader.cursors.get("a") == "1"
        with ledger.begin() as work:
            work.cursors.put("a", "2")
            assert reader.cursors.get("a") == "1"
            with ledger.read() as other:
                assert other.cursors.get("a") == "1"
        assert reader.cursors.get("a") == "1"
    with ledger.read() as reader:
        assert reader.cursors.get("a") == "2"


def test_begin_is_not_reentrant(ledger: Ledger) -> None:
    """It says so at once instead of waiting for itself."""
    with pytest.raises(RuntimeError, match="begin"), ledger.begin(["c1"]), ledger.begin(["c2"]):
        pass
    with ledger.begin(["c1"]) as work:
        work.cursors.put("a", "the ledger goes on")


def test_one_customer_is_in_one_transaction_at_a_time(open_ledger: Callable[[], Ledger]) -> None:
    """Read-then-write from eight threads over overlapping customers, asked in any order, loses no update."""
    ids = ["c1", "c2", "c3"]
    n_threads, n_rounds = 8, 10

    def add(n: int) -> None:
        mine, order = open_ledger(), ids if n % 2 else ids[::-1]
        for _ in range(n_rounds):
            with mine.begin(order) as work:
                versions = work.states.versions(order)
                work.states.put([a_state(it, versions.get(it, 0) + 1) for it in order])

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(add, range(n_threads)))
    with open_ledger().read() as work:
        assert work.states.versions(ids) == dict.fromkeys(ids, n_threads * n_rounds)


def test_a_lock_that_stays_taken_is_unavailable(open_ledger: Callable[[], Ledger]) -> None:
    """begin() gives up after its timeout and leaves nothing behind."""
    holder, waiter = open_ledger(), open_ledger()
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with holder.begin(["c1"]):
            is_held.set()
            may_go.wait(10)

    if isinstance(waiter, SqlLedger):
        waiter = SqlLedger(waiter.url, migrate=False, lock_timeout_s=0.2)
    else:
        waiter._lock_timeout_s = 0.2  # type: ignore[attr-defined]  # the twin has one handle for all
    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(10)
    started_at = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="locked"), waiter.begin(["c1"]):
            pass
    finally:
        may_go.set()
        thread.join()
    assert time.monotonic() - started_at < 5
    with waiter.begin(["c1"]) as work:
        work.cursors.put("a", "free again")
    waiter.close()


@pytest.mark.service
def test_other_customers_do_not_wait(empty_postgres: str) -> None:
    """PostgreSQL: transactions over different customers run side by side."""
    ledger = SqlLedger(empty_postgres, migrate=False, lock_timeout_s=1)
    with ledger.begin(["c1"]), ThreadPoolExecutor(1) as pool:

        def other() -> str | None:
            with ledger.begin(["c2"]) as work:
                work.cursors.put("a", "done")
                return work.cursors.get("a")

        assert pool.submit(other).result(5) == "done"
    ledger.close()


@pytest.mark.service
def test_a_dropped_connection_recovers_by_itself(empty_postgres: str) -> None:
    """PostgreSQL: after the server ended all its backends the next transactions simply work."""
    ledger = SqlLedger(empty_postgres, migrate=False)
    for read_first in (True, False):
        with ledger.begin(["c1"]) as work, ledger.read() as reader:
            work.cursors.put("a", "before")
            reader.cursors.get("a")
        _end_backends(empty_postgres)
        if read_first:
            with ledger.read() as reader:
                assert reader.cursors.get("a") == "before"
        with ledger.begin(["c1"]) as work:
            work.cursors.put("a", "after")
    ledger.close()


@pytest.mark.service
def test_a_connection_lost_in_mid_transaction_is_unavailable_and_undone(empty_postgres: str) -> None:
    """PostgreSQL: the caller may try again; nothing was written."""
    ledger = SqlLedger(empty_postgres, migrate=False)
    with pytest.raises(Unavailable), ledger.begin(["c1"]) as work:
        work.cursors.put("a", "1")
        _end_backends(empty_postgres)
        work.cursors.put("a", "2")
    with ledger.begin(["c1"]) as work:
        assert work.cursors.get("a") is None
    ledger.close()


def _end_backends(url: str) -> None:
    with admin_connection() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (make_url(url).database,)
        )


def test_an_unreachable_server_is_unavailable() -> None:
    """Opening says what to check."""
    with pytest.raises(Unavailable, match="OPPORTUNE_DATABASE_URL"):
        SqlLedger("postgresql+psycopg://nobody@127.0.0.1:1/none")


def test_a_url_that_is_no_ledger_is_a_value_error() -> None:
    """Another database, or SQLite without a file."""
    with pytest.raises(ValueError, match="sqlite or postgresql"):
        SqlLedger("mysql://x/y")
    with pytest.raises(ValueError, match="file"):
        SqlLedger("sqlite://")


def test_a_swallowed_database_error_never_commits_half(open_ledger: Callable[[], Ledger]) -> None:
    """SQL: who swallows an error outside a savepoint hears of it at the end, and nothing is written."""
    ledger = open_ledger()
    if not isinstance(ledger, SqlLedger):
        return
    with pytest.raises(RuntimeError, match="swallowed"), ledger.begin() as work:
        work.cursors.put("a", "1")
        work.sends.reserve([a_send("m1")])
        with pytest.raises(ValueError):  # noqa: PT011 - the text is the database's own
            work.sends.reserve([a_send("m1")])
    with ledger.read() as work:
        assert work.cursors.get("a") is None


def test_handles_opening_and_closing_at_once_do_not_disturb_each_other(sqlite_url: str) -> None:
    """SQLite: the first to open and the last to close lock the file for a moment; nobody fails for it."""

    def work_once(n: int) -> None:
        ledger = SqlLedger(sqlite_url, migrate=False)
        with ledger.begin() as work:
            work.cursors.put(f"t{n}", "x")
        with ledger.read() as work:
            assert work.cursors.get(f"t{n}") == "x"
        ledger.close()

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work_once, range(8)))


def test_a_commit_is_on_the_disk(sqlite_url: str) -> None:
    """SQLite: every writing connection syncs in full, in WAL mode."""
    ledger = SqlLedger(sqlite_url, migrate=False)
    with ledger._writer.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    ledger.close()


def test_reads_by_id_use_an_index_on_sqlite(sqlite_url: str) -> None:
    """No question of the hot path scans a table."""
    engine = create_engine(sqlite_url)
    statements = [
        sql_people._CUSTOMERS_GET, sql_people._CANONICAL, sql_people._CONSENTS_OF, sql_people._STATES_VERSIONS,
        sql_people._TOUCHING, sql_events._KNOWN, sql_events._OF, sql_events._REASSIGN, sql_events._AFTER[False],
        sql_sends._LOG, sql_sends._DUE, sql_timers._OF, sql_timers._CLAIM[False],
    ]  # fmt: skip
    with engine.connect() as connection:
        for statement in statements:
            sql = str(statement.compile(dialect=engine.dialect))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?")).all()
            assert not [row[3] for row in plan if row[3].startswith("SCAN") and "json_each" not in row[3]], sql
    engine.dispose()


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_the_migrations_build_exactly_the_tables(database: str, request: pytest.FixtureRequest) -> None:
    """Alembic finds no difference, and the revision opened without alembic is its head."""
    engine = create_engine(request.getfixturevalue("sqlite_url" if database == "sqlite" else "empty_postgres"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert migrations.current(connection) == REVISION
    engine.dispose()
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == REVISION


_OPEN_AND_WRITE = """
import sys
from opportune.adapters.sql_ledger import SqlLedger
ledger = SqlLedger(sys.argv[1])
with ledger.begin([sys.argv[2]]) as work:
    work.cursors.put(sys.argv[2], "written")
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_processes_that_start_at_once_migrate_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Three processes open the same empty database: all work, nothing is lost."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    if database == "postgres":
        url = request.getfixturevalue("postgres_url")
        with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(False)) as admin:
            admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    processes = [subprocess.Popen([sys.executable, "-c", _OPEN_AND_WRITE, url, f"p{n}"]) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    ledger = SqlLedger(url)
    with ledger.read() as work:
        assert [work.cursors.get(f"p{n}") for n in range(3)] == ["written"] * 3
    ledger.close()


def test_times_keep_their_microseconds(ledger: Ledger) -> None:
    """Also before 1970 and far ahead."""
    for n, minutes in enumerate((-40_000_000, 0, 400_000_000)):
        with ledger.begin() as work:
            work.events.append([(an_event(f"m{n}", minutes=minutes), "c1")])
    with ledger.read() as work:
        found = work.events.of(["c1"])["c1"]
    assert [it.event_at for it in found] == [at(-40_000_000), T0, at(400_000_000)]
