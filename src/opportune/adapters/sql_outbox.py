"""Outbox, idempotency keys, cursors and leases in SQL."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, delete, func, select, text, update

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_work import SqlWork
from opportune.domain.instants import from_us, to_us
from opportune.ports import IdempotentAnswer, OutboxItem

_outbox = tables.outbox.c
_ITEM = ("topic", "key", "available_at", "attempts", "token")
_PUT = (
    "ON CONFLICT (topic, key) DO UPDATE SET available_at = excluded.available_at, attempts = excluded.attempts,"
    " token = '', leased_until = NULL"
)
_DUE = (
    "topic = :topic AND available_at <= :now AND (leased_until IS NULL OR leased_until <= :now)"
    " ORDER BY available_at LIMIT :n"
)
_CLAIM = {
    True: text(
        "UPDATE outbox SET token = :token, leased_until = :until WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM outbox WHERE {_DUE} FOR UPDATE SKIP LOCKED)) RETURNING {', '.join(_ITEM)}"
    ),
    False: text(
        "UPDATE outbox SET token = :token, leased_until = :until WHERE rowid IN ("
        f"SELECT rowid FROM outbox WHERE {_DUE}) RETURNING {', '.join(_ITEM)}"
    ),
}
# Rows are locked in the order in which put() writes them, so the two never deadlock.
_MINE = (
    "WITH mine AS (SELECT o.topic, o.key FROM outbox o"
    " JOIN json_to_recordset(CAST(:which AS json)) AS w(topic text, key text, token text)"
    " ON o.topic = w.topic AND o.key = w.key AND o.token = w.token ORDER BY o.topic, o.key FOR UPDATE OF o) "
)
_DONE_POSTGRESQL = text(_MINE + "DELETE FROM outbox o USING mine m WHERE o.topic = m.topic AND o.key = m.key")
_RETRY_POSTGRESQL = text(
    _MINE + "UPDATE outbox o SET available_at = :at, attempts = o.attempts + 1, token = '', leased_until = NULL"
    " FROM mine m WHERE o.topic = m.topic AND o.key = m.key"
)
_SAME = "topic = :topic AND key = :key AND token = :token"
_DONE_SQLITE = text(f"DELETE FROM outbox WHERE {_SAME}")
_RETRY_SQLITE = text(
    f"UPDATE outbox SET available_at = :at, attempts = attempts + 1, token = '', leased_until = NULL WHERE {_SAME}"
)
_NEXT = text(
    "SELECT min(CASE WHEN leased_until > :now THEN leased_until ELSE :now END) FROM outbox"
    " WHERE topic = :topic AND available_at <= :now"
    " UNION ALL SELECT min(available_at) FROM outbox WHERE topic = :topic AND available_at > :now"
)
_DEPTH = select(func.count()).select_from(tables.outbox).where(_outbox.topic == bindparam("name"))
_OLDEST = select(func.min(_outbox.available_at)).where(_outbox.topic == bindparam("name"))


class SqlOutbox:
    """`ports.Outbox`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def put(self, items: Sequence[OutboxItem]) -> None:
        """Insert, or start the existing one anew: its `available_at` and `attempts`, no lease, no token."""
        rows = {(it.topic, it.key): (it.topic, it.key, to_us(it.available_at), it.attempts, "") for it in items}
        self._work.insert(tables.outbox, _ITEM, sorted(rows.values()), _PUT)

    def claim(self, topic: str, now: datetime, limit: int, lease_until: datetime) -> list[OutboxItem]:
        """Available and unleased (or lease run out) items, oldest first, under a new token."""
        statement, token = _CLAIM[self._work.is_postgresql], uuid.uuid4().hex
        until = to_us(lease_until)
        rows = self._work.fetch(statement, topic=topic, now=to_us(now), n=limit, until=until, token=token)
        ordered = sorted(rows, key=lambda row: (row[2], row[1]))
        return [
            OutboxItem(topic=row[0], key=row[1], available_at=from_us(row[2]), attempts=row[3], token=row[4])
            for row in ordered
        ]

    def done(self, items: Sequence[OutboxItem]) -> None:
        """Delete those whose claim token still matches."""
        self._settle(items, _DONE_POSTGRESQL, _DONE_SQLITE)

    def retry(self, items: Sequence[OutboxItem], available_at: datetime) -> None:
        """Give back those whose claim token still matches: one attempt more, available at the given instant."""
        self._settle(items, _RETRY_POSTGRESQL, _RETRY_SQLITE, at=to_us(available_at))

    def _settle(self, items: Sequence[OutboxItem], postgresql: Any, sqlite: Any, **values: Any) -> None:
        # An item that was never claimed has no token and settles nothing.
        which = [{"topic": it.topic, "key": it.key, "token": it.token} for it in items if it.token]
        if self._work.is_postgresql:
            if which:
                self._work.run(postgresql, which=orjson.dumps(which).decode(), **values)
        else:
            self._work.run_many(sqlite, [it | values for it in which])

    def depth(self, topic: str) -> int:
        """Items of a topic, claimed ones included."""
        return int(self._work.fetch(_DEPTH, name=topic)[0][0])

    def next_at(self, topic: str, now: datetime) -> datetime | None:
        """When `claim` next finds something of the topic; null when there is nothing."""
        found = [row[0] for row in self._work.fetch(_NEXT, topic=topic, now=to_us(now)) if row[0] is not None]
        return from_us(min(found)) if found else None

    def oldest(self, topic: str) -> datetime | None:
        """The earliest `available_at` of a topic, claimed ones included."""
        us = self._work.fetch(_OLDEST, name=topic)[0][0]
        return None if us is None else from_us(us)


_answers = tables.idempotency.c
_ANSWER_GET = select(_answers.body_hash, _answers.body, _answers.created_at).where(_answers.key == bindparam("id"))
_ANSWER_CLOSE = update(tables.idempotency).where(_answers.key == bindparam("id")).values(body=bindparam("answer"))
_ANSWER_DROP = delete(tables.idempotency).where(_answers.key == bindparam("id"))
_ANSWER_FORGET = delete(tables.idempotency).where(_answers.created_at < bindparam("before"))


class SqlIdempotency:
    """`ports.Idempotency`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, key: str) -> IdempotentAnswer | None:
        """What is stored under a key, or null."""
        rows = self._work.fetch(_ANSWER_GET, id=key)
        if not rows:
            return None
        body_hash, body, created_at = rows[0]
        body = None if body is None else bytes(body)
        return IdempotentAnswer(body_hash=body_hash, body=body, created_at=from_us(created_at))

    def open(self, key: str, body_hash: str, at: datetime) -> bool:
        """False when the key exists already (waits for a transaction that is writing the same key)."""
        columns = ("key", "body_hash", "body", "created_at")
        row = (key, body_hash, None, to_us(at))
        return self._work.insert(tables.idempotency, columns, [row], "ON CONFLICT DO NOTHING") == 1

    def close(self, key: str, body: bytes | None) -> None:
        """Store the answer; null drops the key."""
        if body is None:
            self._work.run(_ANSWER_DROP, id=key)
        else:
            self._work.run(_ANSWER_CLOSE, id=key, answer=body)

    def forget_before(self, at: datetime) -> None:
        """Drop keys created earlier than `at`."""
        self._work.run(_ANSWER_FORGET, before=to_us(at))


_CURSOR_GET = select(tables.cursors.c.value).where(tables.cursors.c.name == bindparam("id"))
# One statement decides and takes: atomic across processes.
_LEASE = text(
    "INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :until)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until"
    " WHERE leases.owner = excluded.owner OR leases.until <= :now"
)


class SqlCursors:
    """`ports.Cursors`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, name: str) -> str | None:
        """The value, or null."""
        rows = self._work.fetch(_CURSOR_GET, id=name)
        return str(rows[0][0]) if rows else None

    def put(self, name: str, value: str) -> None:
        """Set the value."""
        tail = "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self._work.insert(tables.cursors, ("name", "value"), [(name, value)], tail)

    def lease(self, name: str, owner: str, now: datetime, until: datetime) -> bool:
        """Take or renew a named lease; false while another owner holds it."""
        return self._work.run(_LEASE, name=name, owner=owner, now=to_us(now), until=to_us(until)) == 1
