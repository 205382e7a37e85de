"""Feast as the feature store: packed state rows online, on SQLite, Redis or PostgreSQL.

Reads go direct, writes through Feast.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from opportune.adapters.feast_online import FIELDS, VIEW, Reader, RedisReader, SqliteReader
from opportune.adapters.feast_postgres import PostgresReader
from opportune.adapters.feast_repo import PROJECT, SCHEMA, Place, libpq_url, place_of
from opportune.adapters.feast_services import note_service
from opportune.domain.instants import EPOCH, to_us
from opportune.domain.states import StateRow
from opportune.ports import Unavailable

#: After a failure nobody asks the store again for this long, so that a store that is down costs no waiting.
PAUSE_S = 1.0
_WRITE_CHUNK = 500
_PROBE = "opportune verify probe"
T = TypeVar("T")


class FeastFeatures:
    """Implements ports.FeatureStore. Thread-safe.

    One leased projector writes, in one process: on SQLite and PostgreSQL, where Feast's last write wins, comparing
    before writing inside one lock is therefore enough for an older `committed_at` never to replace a newer one. Redis
    compares too.
    """

    def __init__(
        self,
        home: Path,
        redis_url: str | None = None,
        project: str = PROJECT,
        database_url: str | None = None,
        online: str = "auto",
    ) -> None:
        """`online`: auto, sqlite, redis or postgres. Raises ValueError when that store has no address."""
        self.place = place_of(home, redis_url, database_url, online, project)
        self._writing = threading.RLock()
        self._store: Any = None
        self._down_until = 0.0
        self._why = ""
        self._reader = _reader_of(self.place)

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present with a version. Raises Unavailable at once, or after 0.1 s, when the store cannot be reached."""
        if not customer_ids:
            return {}
        if time.monotonic() < self._down_until:
            raise Unavailable(self._why)
        return self._guarded(lambda: self._reader.read(customer_ids))

    def project(self, rows: Sequence[StateRow]) -> None:
        """Write rows through Feast's own provider; of one customer the newest, and only if newer than what is there."""
        newest: dict[str, StateRow] = {}
        for row in sorted(rows, key=lambda row: row.committed_at):
            newest[row.customer_id] = row
        with self._writing:
            there = self._guarded(lambda: self._reader.read(list(newest)))
            late = [row for c, row in newest.items() if c not in there or there[c].committed_at < row.committed_at]
            if late:
                self._guarded(lambda: self._write(late))

    def remove(self, customer_ids: Sequence[str]) -> None:
        """Delete the rows of these customers."""
        if customer_ids:
            with self._writing:
                self._guarded(lambda: self._reader.remove(customer_ids))

    def apply(self) -> None:
        """Register the views with Feast and make the online tables. Safe to repeat; takes seconds (imports Feast)."""
        self.store()

    def store(self) -> Any:
        """The stock Feast FeatureStore with all views applied. Imports Feast: about 4 s the first time."""
        from opportune.adapters.feast_repo import open_store

        with self._writing:
            if self._store is None:
                self._store = self._guarded(lambda: open_store(self.place))
            return self._store

    def serve_model(self, label: str, manifest: Mapping[str, Any]) -> str:
        """Register the feature service of a model version (`purchase/5` -> `purchase_v5`); returns its name.

        It holds exactly the features the model reads, from the on-demand view; `<name>_training` holds the same from
        the offline view. Safe to repeat. Imports Feast.
        """
        from opportune.adapters.feast_repo import objects_of

        name = note_service(self.place, label, manifest)
        with self._writing:
            made = objects_of(self.place.home)
            if name not in made:
                raise ValueError(f"{label} reads features this catalogue does not have: train it again")
            store = self.store()
            self._guarded(lambda: store.apply([made[name], made[f"{name}_training"]]))
            self._guarded(store.refresh_registry)
        return name

    def verify(self, customer_ids: Sequence[str] = ()) -> int:
        """Hold the direct reader against Feast's get_online_features on these customers and on a probe row of its own.

        Returns how many rows were compared. Raises RuntimeError when they differ: do not serve then. Imports Feast.
        """
        probe = StateRow(customer_id=_PROBE, version=2**40 + 7, state=bytes(range(256)), committed_at=datetime.now(UTC))
        self.project([probe])
        try:
            asked = [*dict.fromkeys(customer_ids), _PROBE]
            direct = self.read(asked)
            answer = self.store().get_online_features(
                features=[f"{VIEW}:{name}" for name in FIELDS], entity_rows=[{"customer_id": c} for c in asked]
            )
            stock = answer.to_dict()
        finally:
            self.remove([_PROBE])
        by_customer = dict(zip(stock["customer_id"], zip(*(stock[f] for f in FIELDS), strict=True), strict=True))
        for customer_id in asked:
            row = direct.get(customer_id)
            mine = (row.state, row.version, to_us(row.committed_at)) if row else (None, None, None)
            if mine != by_customer[customer_id]:
                raise RuntimeError(f"the direct reader and Feast disagree on one of {len(asked)} rows: do not serve")
        if direct.get(_PROBE) is None:
            raise RuntimeError("the probe row written through Feast was not read back: do not serve")
        return len(asked)

    def close(self) -> None:
        """Let go of the online store's connections."""
        if isinstance(self._reader, PostgresReader):
            self._reader.close()
        if self._store is not None:
            _forget_connection(self._store._get_provider().online_store)

    def _write(self, rows: list[StateRow]) -> None:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        store = self.store()
        view = store.get_feature_view(VIEW)
        provider = store._get_provider()
        for at in range(0, len(rows), _WRITE_CHUNK):
            batch = [
                (
                    EntityKey(join_keys=["customer_id"], entity_values=[Value(string_val=row.customer_id)]),
                    {
                        "state": Value(bytes_val=row.state),
                        "version": Value(int64_val=row.version),
                        "committed_us": Value(int64_val=(us := to_us(row.committed_at))),
                    },
                    # Feast's SQLite store keeps whole seconds only: that is why committed_us is a feature of its own.
                    row.committed_at if us >= 0 else EPOCH,
                    None,
                )
                for row in rows[at : at + _WRITE_CHUNK]
            ]
            try:
                provider.online_write_batch(store.config, view, batch, None)
            except Exception:
                _forget_connection(provider.online_store)  # Feast's PostgreSQL store would keep the broken one for ever
                raise

    def _guarded(self, work: Callable[[], T]) -> T:
        """Run it; a connection problem becomes Unavailable and is remembered for PAUSE_S."""
        failures: tuple[type[Exception], ...] = (OSError, sqlite3.Error)
        if self.place.online == "redis":
            from redis.exceptions import RedisError

            failures = (*failures, RedisError)
        if self.place.database_url:
            import psycopg
            from sqlalchemy.exc import DBAPIError

            failures = (*failures, psycopg.Error, DBAPIError)
        try:
            answer = work()
        except failures as error:
            self._why = f"the Feast online store cannot be reached ({type(error).__name__}): check that it is running"
            self._down_until = time.monotonic() + PAUSE_S
            raise Unavailable(self._why) from error
        self._down_until = 0.0
        return answer


def _reader_of(place: Place) -> Reader:
    if place.online == "redis":
        return RedisReader(place.redis_url or "", place.project)
    if place.online == "postgres":
        return PostgresReader(libpq_url(place.database_url or ""), SCHEMA, place.project)
    return SqliteReader(place.folder / "online.db", place.project)


def _forget_connection(online_store: Any) -> None:
    """Close what connection a Feast online store holds, so that its next call opens one."""
    connection = getattr(online_store, "_conn", None)
    if connection is not None:
        online_store._conn = None
        connection.close()
