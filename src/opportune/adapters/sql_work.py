"""Running SQL inside one transaction: statements, set-based parameters, inserts, and errors in the ports' words."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Boolean, Connection, Dialect, Executable, LargeBinary, Table, Text, bindparam
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from opportune.adapters.sql_rows import Stored
from opportune.ports import Unavailable

#: PostgreSQL: lock or statement timeout, deadlock, serialization, shutdown and connection classes.
_PASSING_STATES = {"55P03", "57014", "40P01", "40001", "57P01", "57P02", "57P03", "53300"}
_READ_ONLY_STATE = "25006"


class TextList(TypeDecorator[list[str]]):
    """A list of texts as ONE parameter: an array on PostgreSQL, JSON on SQLite, so that the SQL never changes."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TEXT[] or TEXT."""
        return dialect.type_descriptor(postgresql.ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The driver's value."""
        return list(value) if dialect.name == "postgresql" else orjson.dumps(list(value)).decode()


class _Among(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Itself: SQLAlchemy would write `... = 1` on SQLite, and that hides the index."""
        return self


@compiles(_Among, "postgresql")
def _among_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_Among, "sqlite")
def _among_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


def among(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """`column` is one of the texts in `parameter` (any collection size, one statement text)."""
    return _Among(column, bindparam(parameter, type_=TextList()))


def translate(error: Exception) -> Exception:
    """The ports' word for a database error; the error itself where there is none."""
    if isinstance(error, PoolTimeout):
        return Unavailable("the ledger's connections are all busy: try again, or run more processes")
    if not isinstance(error, DBAPIError):
        return error
    state = getattr(error.orig, "sqlstate", None)
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if state == _READ_ONLY_STATE or "readonly database" in said:
        return RuntimeError("writing in a reading transaction")
    if state in _PASSING_STATES or "database is locked" in said or "database is busy" in said:
        return Unavailable(f"the ledger stayed locked ({said}): try again")
    if error.connection_invalidated or (state or "").startswith("08") or _lost(error, state):
        return Unavailable(f"the ledger's database cannot be reached ({said}): check OPPORTUNE_DATABASE_URL")
    if isinstance(error, IntegrityError | DataError):
        return ValueError(said)
    return error


def _lost(error: DBAPIError, state: str | None) -> bool:
    # psycopg gives no SQLSTATE when there was no server to give one; SQLite when the file cannot be opened.
    return type(error.orig).__name__ == "OperationalError" and state is None and "syntax" not in str(error.orig)


@lru_cache(maxsize=256)
def _insert_text(table: Table, columns: tuple[str, ...], tail: str, dialect_name: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    if dialect_name == "sqlite":
        return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))}) {tail}"
    if _has_bytes(table, columns):
        return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join(['%s'] * len(columns))}) {tail}"
    # One statement for any number of rows: JSON is parsed by the server ten times faster than arrays are built here.
    record = ", ".join(f'"{name}" {_type_name(table, name)}' for name in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM json_to_recordset(%s::json) AS r({record}) {tail}"


@lru_cache(maxsize=256)
def _has_bytes(table: Table, columns: tuple[str, ...]) -> bool:
    return any(isinstance(table.c[name].type, LargeBinary) for name in columns)


def _type_name(table: Table, name: str) -> str:
    kind = table.c[name].type
    return "text" if isinstance(kind, Text) else kind.compile()


class SqlWork:
    """One open transaction on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._n_savepoints = 0
        self.is_postgresql = connection.dialect.name == "postgresql"
        #: an error the caller swallowed: PostgreSQL would turn the commit into a silent rollback.
        self.failed = False

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            self.failed = True
            said = translate(error)
            if said is error:
                raise
            raise said from error

    def fetch(self, statement: Executable, **parameters: Any) -> Sequence[Any]:
        """All rows."""
        with self._in_our_words():
            return self._connection.execute(statement, parameters).all()

    def run(self, statement: Executable, **parameters: Any) -> int:
        """Number of rows touched."""
        with self._in_our_words():
            return self._connection.execute(statement, parameters).rowcount

    def run_many(self, statement: Executable, parameters: Sequence[Mapping[str, Any]]) -> int:
        """The same statement for each set of parameters; number of rows touched in all."""
        if not parameters:
            return 0
        with self._in_our_words():
            return self._connection.execute(statement, parameters).rowcount

    def plain(self, text: str) -> None:
        """A word without parameters: BEGIN, SAVEPOINT..."""
        with self._in_our_words():
            self._connection.exec_driver_sql(text)

    def insert(self, table: Table, columns: tuple[str, ...], rows: Sequence[Stored], tail: str = "") -> int:
        """Insert tuples; `tail` is an ON CONFLICT clause. On PostgreSQL one row may be met only once per call."""
        if not rows:
            return 0
        with self._in_our_words():
            text = _insert_text(table, columns, tail, self._connection.dialect.name)
            if self.is_postgresql and not _has_bytes(table, columns):
                return self._connection.exec_driver_sql(text, (self._record(columns, rows),)).rowcount
            return self._connection.exec_driver_sql(text, list(rows)).rowcount

    def insert_new(self, table: Table, columns: tuple[str, ...], rows: Sequence[Stored]) -> set[Any]:
        """PostgreSQL: insert what conflicts with nothing; the first column of those that went in."""
        with self._in_our_words():
            tail = f"ON CONFLICT DO NOTHING RETURNING {columns[0]}"
            text = _insert_text(table, columns, tail, self._connection.dialect.name)
            found = self._connection.exec_driver_sql(text, (self._record(columns, rows),))
            return {row[0] for row in found}

    @staticmethod
    def _record(columns: tuple[str, ...], rows: Collection[Stored]) -> str:
        return orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows]).decode()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A nested scope: an exception inside undoes only what was written inside."""
        self._n_savepoints += 1
        name = f"s{self._n_savepoints}"
        before = self.failed
        self.plain(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if not self._connection.invalidated:
                self.plain(f"ROLLBACK TO SAVEPOINT {name}")
                self.plain(f"RELEASE SAVEPOINT {name}")
                self.failed = before
            raise
        self.plain(f"RELEASE SAVEPOINT {name}")
