"""A direct reader of Feast's PostgreSQL online store: one round trip a batch, a dropped connection is opened anew."""

from collections.abc import Sequence
from typing import Any

from opportune.adapters.feast_online import CHUNK, FIELDS, VIEW, entity_key, row_of
from opportune.domain.states import StateRow

#: A read that takes longer is given up: the decision heals from the ledger.
_TIMEOUT_MS = 250


class PostgresReader:
    """Reads Feast's PostgreSQL table. As many connections as readers at once. Feast's own reader never recovers."""

    def __init__(self, url: str, schema: str, project: str) -> None:
        self._url = url
        table = f'"{schema}"."{project}_{VIEW}"'
        fields = ", ".join(f"'{name}'" for name in FIELDS)
        self._select = (
            f"SELECT entity_key, feature_name, value FROM {table} "
            f"WHERE entity_key = ANY(%s) AND feature_name IN ({fields})"
        ).encode()
        self._delete = f"DELETE FROM {table} WHERE entity_key = ANY(%s)".encode()
        self._idle: list[Any] = []  # append and pop are atomic: each connection is with one thread at a time

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present with a version; nothing at all before the first `feast apply`. Raises psycopg.Error."""
        from psycopg.errors import UndefinedTable

        found: dict[str, StateRow] = {}
        for at in range(0, len(customer_ids), CHUNK):
            by_key = {entity_key(c): c for c in customer_ids[at : at + CHUNK]}
            try:
                rows = self._ask(self._select, list(by_key), is_query=True)
            except UndefinedTable:
                return {}
            cells: dict[bytes, dict[str, bytes]] = {}
            for key, name, value in rows:
                cells.setdefault(bytes(key), {})[name] = bytes(value)
            for key, cell in cells.items():
                if row := row_of(by_key[key], *(cell.get(field) for field in FIELDS)):
                    found[row.customer_id] = row
        return found

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Delete the rows of these customers."""
        from psycopg.errors import UndefinedTable

        for at in range(0, len(customer_ids), CHUNK):
            keys = [entity_key(c) for c in customer_ids[at : at + CHUNK]]
            try:
                self._ask(self._delete, keys, is_query=False)
            except UndefinedTable:
                return

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, statement: bytes, keys: list[bytes], is_query: bool) -> list[Any]:
        """Run it on an idle connection, or a new one; what has gone stale is replaced once."""
        from psycopg import InterfaceError, OperationalError
        from psycopg.errors import QueryCanceled

        try:
            held = self._idle.pop()
        except IndexError:
            held = None
        if held is not None:
            try:
                return self._run(held, statement, keys, is_query)
            except QueryCanceled:
                raise
            except (OperationalError, InterfaceError):
                self.close()  # the others went the same way
        return self._run(self._connect(), statement, keys, is_query)

    def _run(self, connection: Any, statement: bytes, keys: list[bytes], is_query: bool) -> list[Any]:
        try:
            cursor = connection.execute(statement, (keys,), binary=True)
            rows = list(cursor.fetchall()) if is_query else []
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return rows

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=2,
            options=f"-c statement_timeout={_TIMEOUT_MS}",
            application_name="opportune-features",
        )
