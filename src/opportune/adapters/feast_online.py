"""Direct readers of Feast's online store: one round trip a batch, no Feast import, protobuf values decoded by hand.

The layouts are Feast 0.67's own (entity key serialisation 3); `FeastFeatures.verify` and the contract suite hold them
against `get_online_features`.
"""

import os
import sqlite3
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from opportune.domain.instants import from_us
from opportune.domain.states import StateRow

VIEW = "customer_state"
FIELDS = ("state", "version", "committed_us")
#: Customers per statement or pipeline.
CHUNK = 500
_JOIN_KEY = b"customer_id"
_STRING = 2  # feast.types.ValueType.STRING
_KEY_HEAD = struct.pack("<III", 1, _STRING, len(_JOIN_KEY)) + _JOIN_KEY + struct.pack("<I", _STRING)
_BYTES_TAG, _INT64_TAG = 0x0A, 0x20  # protobuf tags of Value.bytes_val (1) and Value.int64_val (4)


class Reader(Protocol):
    """Raises OSError, sqlite3.Error, redis.RedisError or psycopg.Error when the store cannot be read."""

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]: ...
    def remove(self, customer_ids: Sequence[str]) -> None: ...


def entity_key(customer_id: str) -> bytes:
    """Feast's serialised entity key (version 3) of one customer."""
    name = customer_id.encode()
    return _KEY_HEAD + struct.pack("<I", len(name)) + name


def decode(value: bytes | None) -> bytes | int | None:
    """A serialised feast Value holding bytes or an int64; null for absent or null values."""
    if not value:
        return None
    if value[0] == _BYTES_TAG:
        size, at = _varint(value, 1)
        return value[at : at + size]
    if value[0] == _INT64_TAG:
        return _varint(value, 1)[0]
    raise ValueError(f"unexpected protobuf tag {value[0]:#x} in the online store: another Feast wrote it")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def row_of(customer_id: str, state: bytes | None, version: bytes | None, committed: bytes | None) -> StateRow | None:
    """The state row of three serialised values; null unless all are there."""
    packed, number, us = decode(state), decode(version), decode(committed)
    if not isinstance(packed, bytes) or not isinstance(number, int) or not isinstance(us, int):
        return None
    return StateRow(customer_id=customer_id, version=number, state=packed, committed_at=from_us(us))


class SqliteReader:
    """Reads Feast's SQLite online store. One connection a thread, opened anew when the file was replaced."""

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._table = f'"{project}_{VIEW}"'
        self._local = threading.local()
        self._create()

    def _create(self) -> None:
        """The table as Feast makes it, so that a server may read before the first `feast apply`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=5)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for the projector
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (entity_key BLOB, feature_name TEXT, value BLOB, "
                "value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, "
                "PRIMARY KEY(entity_key, feature_name))"
            )
            connection.commit()
        finally:
            connection.close()

    def _connection(self, timeout: float = 0.05) -> sqlite3.Connection:
        inode = os.stat(self._path).st_ino  # FileNotFoundError: the store is gone
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == inode:
            return held[1]  # type: ignore[no-any-return]
        if held is not None:
            held[1].close()
        connection = sqlite3.connect(f"file:{self._path}?mode=rw", uri=True, timeout=timeout, isolation_level=None)
        self._local.held = (inode, connection)
        return connection

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present with a version."""
        connection = self._connection()
        found: dict[str, StateRow] = {}
        for at in range(0, len(customer_ids), CHUNK):
            by_key = {entity_key(c): c for c in customer_ids[at : at + CHUNK]}
            marks = ",".join("?" * len(by_key))
            cells: dict[bytes, dict[str, bytes]] = {}
            for key, name, value in connection.execute(
                f"SELECT entity_key, feature_name, value FROM {self._table} WHERE entity_key IN ({marks})",
                list(by_key),
            ):
                cells.setdefault(key, {})[name] = value
            for key, cell in cells.items():
                if row := row_of(by_key[key], *(cell.get(field) for field in FIELDS)):
                    found[row.customer_id] = row
        return found

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Delete the rows of these customers."""
        connection = sqlite3.connect(self._path, timeout=5)
        try:
            with connection:
                connection.executemany(
                    f"DELETE FROM {self._table} WHERE entity_key = ?", [(entity_key(c),) for c in customer_ids]
                )
        finally:
            connection.close()


class RedisReader:
    """Reads Feast's Redis hashes: the HMGETs of a batch in one write. One connection a thread."""

    def __init__(self, url: str, project: str, timeout: float = 0.1) -> None:
        import mmh3
        from redis.backoff import NoBackoff
        from redis.connection import Connection, parse_url
        from redis.retry import Retry

        options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        self._class = options.pop("connection_class", Connection)
        options.setdefault("socket_timeout", timeout)
        options.setdefault("socket_connect_timeout", timeout)
        self._options = {**options, "retry": Retry(NoBackoff(), 0), "protocol": 2}
        self._project = project.encode()
        fields = [struct.pack("<I", mmh3.hash(f"{VIEW}:{name}", signed=False)) for name in FIELDS]
        self._tail = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
        self._fields = (*fields, f"_ts:{VIEW}".encode())
        self._local = threading.local()

    def _key(self, customer_id: str) -> bytes:
        return entity_key(customer_id) + self._project

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present with a version; an unknown customer's hash is empty and left out."""
        found: dict[str, StateRow] = {}
        for at in range(0, len(customer_ids), CHUNK):
            chunk = customer_ids[at : at + CHUNK]
            commands = []
            for customer_id in chunk:
                key = self._key(customer_id)
                commands.append(b"*5\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n%b" % (len(key), key, self._tail))
            for customer_id, cells in zip(chunk, self._ask(b"".join(commands), len(commands)), strict=True):
                if cells[1] and (row := row_of(customer_id, *cells)):
                    found[customer_id] = row
        return found

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Delete the fields of this view; Redis drops a hash whose last field goes."""
        commands = []
        for customer_id in customer_ids:
            words = (b"HDEL", self._key(customer_id), *self._fields)
            commands.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
        self._ask(b"".join(commands), len(commands))

    def _ask(self, commands: bytes, n: int) -> list[Any]:
        """Send packed commands, read n replies. A connection that went stale is opened anew once."""
        from redis.exceptions import RedisError

        held = getattr(self._local, "connection", None)
        if held is not None:
            try:
                return self._exchange(held, commands, n)
            except (RedisError, OSError):
                self._drop(held)
        fresh = self._class(**self._options)
        try:
            fresh.connect()
            replies = self._exchange(fresh, commands, n)
        except (RedisError, OSError):
            self._drop(fresh)
            raise
        self._local.connection = fresh
        return replies

    def _drop(self, connection: Any) -> None:
        self._local.connection = None
        connection.disconnect()

    @staticmethod
    def _exchange(connection: Any, commands: bytes, n: int) -> list[Any]:
        connection.send_packed_command([commands], check_health=False)
        return [connection.read_response(disable_decoding=True) for _ in range(n)]
