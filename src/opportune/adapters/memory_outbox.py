"""Outbox, idempotency keys, cursors and leases in memory."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nsmallest

from opportune.adapters.memory_work import MemoryWork
from opportune.ports import IdempotentAnswer, OutboxItem

Leased = tuple[OutboxItem, datetime | None]


class MemoryOutbox:
    """`ports.Outbox`. Rows are (item, leased until)."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def put(self, items: Sequence[OutboxItem]) -> None:
        """Insert, or start the existing one anew: its `available_at` and `attempts`, no lease, no token."""
        rows = self._work.change("outbox")
        rows.update(((it.topic, it.key), (replace(it, token=""), None)) for it in items)

    def claim(self, topic: str, now: datetime, limit: int, lease_until: datetime) -> list[OutboxItem]:
        """Available and unleased (or lease run out) items, oldest first, under a new token."""

        def is_free(row: Leased) -> bool:
            item, leased_until = row
            return item.topic == topic and item.available_at <= now and (leased_until is None or leased_until <= now)

        rows, token = self._work.change("outbox"), uuid.uuid4().hex
        free = (row[0] for row in rows.values() if is_free(row))
        found = [replace(it, token=token) for it in nsmallest(limit, free, key=lambda it: (it.available_at, it.key))]
        rows.update(((it.topic, it.key), (it, lease_until)) for it in found)
        return found

    def _mine(self, items: Sequence[OutboxItem]) -> list[OutboxItem]:
        rows = self._work.rows("outbox")
        there = [(it, rows.get((it.topic, it.key))) for it in items if it.token]
        return [row[0] for it, row in there if row is not None and row[0].token == it.token]

    def done(self, items: Sequence[OutboxItem]) -> None:
        """Delete those whose claim token still matches."""
        for it in self._mine(items):
            self._work.change("outbox").pop((it.topic, it.key))

    def retry(self, items: Sequence[OutboxItem], available_at: datetime) -> None:
        """Give back those whose claim token still matches: one attempt more, available at the given instant."""
        for it in self._mine(items):
            again = replace(it, available_at=available_at, attempts=it.attempts + 1, token="")
            self._work.change("outbox")[it.topic, it.key] = (again, None)

    def depth(self, topic: str) -> int:
        """Items of a topic, claimed ones included."""
        return sum(1 for name, _ in self._work.rows("outbox") if name == topic)

    def next_at(self, topic: str, now: datetime) -> datetime | None:
        """When `claim` next finds something of the topic; null when there is nothing."""
        rows = (row for row in self._work.rows("outbox").values() if row[0].topic == topic)
        return min((max(it.available_at, leased_until or now, now) for it, leased_until in rows), default=None)

    def oldest(self, topic: str) -> datetime | None:
        """The earliest `available_at` of a topic, claimed ones included."""
        found = (it.available_at for (name, _), (it, _) in self._work.rows("outbox").items() if name == topic)
        return min(found, default=None)


class MemoryIdempotency:
    """`ports.Idempotency`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, key: str) -> IdempotentAnswer | None:
        """What is stored under a key, or null."""
        return self._work.rows("idempotency").get(key)

    def open(self, key: str, body_hash: str, at: datetime) -> bool:
        """False when the key exists already."""
        answer = IdempotentAnswer(body_hash=body_hash, body=None, created_at=at)
        return self._work.change("idempotency").setdefault(key, answer) is answer

    def close(self, key: str, body: bytes | None) -> None:
        """Store the answer; null drops the key."""
        rows = self._work.change("idempotency")
        if body is None:
            rows.pop(key, None)
        elif key in rows:
            rows[key] = replace(rows[key], body=body)

    def forget_before(self, at: datetime) -> None:
        """Drop keys created earlier than `at`."""
        rows = self._work.change("idempotency")
        for key in [key for key, answer in rows.items() if answer.created_at < at]:
            rows.pop(key)


class MemoryCursors:
    """`ports.Cursors`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, name: str) -> str | None:
        """The value, or null."""
        return self._work.rows("cursors").get(name)

    def put(self, name: str, value: str) -> None:
        """Set the value."""
        self._work.change("cursors")[name] = value

    def lease(self, name: str, owner: str, now: datetime, until: datetime) -> bool:
        """Take or renew a named lease; false while another owner holds it."""
        leases = self._work.change("leases")
        holder, held_until = leases.get(name, (owner, now))
        if holder != owner and held_until > now:
            return False
        leases[name] = (owner, until)
        return True
