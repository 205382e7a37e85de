"""Timers in SQL: one hot table claimed by lease, one history."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import and_, bindparam, delete, func, select, text, update

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_rows import TIMER, timer_of, timer_row
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.instants import from_us, to_us
from opportune.domain.timers import PastTimer, Timer, TimerFate

Place = tuple[str, str, str]

_timers, _history = tables.timers.c, tables.timer_history.c
_COLUMNS = ", ".join(TIMER)
_DUE = "due_at <= :now AND (leased_until IS NULL OR leased_until <= :now) ORDER BY due_at LIMIT :n"
_CLAIM = {
    # By physical place: the plan is the same for ten and for a million pending timers.
    True: text(
        "UPDATE timers SET leased_until = :until, owner = :owner WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM timers WHERE {_DUE} FOR UPDATE SKIP LOCKED)) RETURNING {_COLUMNS}"
    ),
    False: text(
        "UPDATE timers SET leased_until = :until, owner = :owner WHERE rowid IN ("
        f"SELECT rowid FROM timers WHERE {_DUE}) RETURNING {_COLUMNS}"
    ),
}
_ARM = (
    "ON CONFLICT (customer_id, rule, key) DO UPDATE SET due_at = excluded.due_at, set_at = excluded.set_at,"
    " set_by = excluded.set_by, expires_at = excluded.expires_at, payload = excluded.payload,"
    " version = timers.version + 1, leased_until = NULL, owner = NULL"
)
_KEPT = "rule, customer_id, key, due_at, set_at, set_by, version"
_RECORD = (
    "json_to_recordset(CAST(:which AS json)) AS w(rule text, customer_id text, key text, version integer, set_by text)"
)
_MATCH = (
    "t.customer_id = w.customer_id AND t.rule = w.rule AND t.key = w.key"
    " AND t.version = w.version AND t.set_by = w.set_by"
)
_RETIRE_POSTGRESQL = text(
    f"WITH gone AS (DELETE FROM timers t USING {_RECORD} WHERE {_MATCH} RETURNING t.*)"
    f" INSERT INTO timer_history ({_KEPT}, fate, at) SELECT {_KEPT}, :fate, :at FROM gone"
)
_STILL = {
    True: text(f"SELECT t.rule, t.customer_id, t.key FROM {_RECORD} JOIN timers t ON {_MATCH}"),
    # CROSS JOIN: SQLite keeps this order, so each place asked for is one look-up.
    False: text(
        "SELECT t.rule, t.customer_id, t.key FROM json_each(:which) AS w CROSS JOIN timers t WHERE "
        + " AND ".join(
            f"t.{name} = json_extract(w.value, '$.{name}')"
            for name in ("customer_id", "rule", "key", "version", "set_by")
        )
    ),
}
_SAME = "rule = :rule AND customer_id = :customer_id AND key = :key AND version = :version AND set_by = :set_by"
_KEEP_SQLITE = text(
    f"INSERT INTO timer_history ({_KEPT}, fate, at) SELECT {_KEPT}, :fate, :at FROM timers WHERE {_SAME}"
)
_DROP_SQLITE = text(f"DELETE FROM timers WHERE {_SAME}")
_PUT_OFF = {
    True: text(f"UPDATE timers t SET leased_until = :until FROM {_RECORD} WHERE {_MATCH}"),
    False: text(f"UPDATE timers SET leased_until = :until WHERE {_SAME}"),
}
_OF = (
    select(*(_timers[name] for name in TIMER))
    .where(among(_timers.customer_id, "ids"))
    .order_by(_timers.due_at, _timers.rule, _timers.key)
)
_FIRED = (
    select(_history.customer_id, _history.rule, _history.key, _history.at)
    .where(and_(among(_history.customer_id, "ids"), _history.at >= bindparam("since"), _history.fate == "fired"))
    .order_by(_history.at, _history.seq)
)
_PAST = (
    select(*(_history[name] for name in ("customer_id", "rule", "key", "set_at", "set_by", "fate", "at")))
    .where(and_(among(_history.customer_id, "ids"), _history.at >= bindparam("since")))
    .order_by(_history.at, _history.seq)
)
# What is due already waits at most for its lease; what is not due has none. Each half is one look into the index.
_NEXT = text(
    "SELECT min(CASE WHEN leased_until > :now THEN leased_until ELSE :now END) FROM timers WHERE due_at <= :now"
    " UNION ALL SELECT min(due_at) FROM timers WHERE due_at > :now"
)
_PENDING = select(func.count()).select_from(tables.timers)
_NEXT_DUE = select(func.min(tables.timers.c.due_at))
_DROP_OF = delete(tables.timers).where(_timers.customer_id == bindparam("gone"))
_HISTORY_INTO = (
    update(tables.timer_history).where(_history.customer_id == bindparam("gone")).values(customer_id=bindparam("into"))
)


def _places(timers: Sequence[Timer]) -> list[dict[str, Any]]:
    names = ("rule", "customer_id", "key", "version", "set_by")
    return [{name: getattr(it, name) for name in names} for it in timers]


class SqlTimers:
    """`ports.Timers`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def arm(self, timers: Sequence[Timer]) -> None:
        """Insert, or restart the one with the same (rule, customer, key): version + 1, lease cleared."""
        self._insert([timer_row(it) for it in timers])

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        waiting = sorted(rows, key=lambda row: row[:3])
        while waiting:
            # One statement may meet a row once: repeats in the batch go in further rounds, in their order.
            met: Counter[Any] = Counter()
            now: list[tuple[Any, ...]] = []
            later: list[tuple[Any, ...]] = []
            for row in waiting:
                (later if met[row[:3]] else now).append(row)
                met[row[:3]] += 1
            self._work.insert(tables.timers, TIMER, now, _ARM)
            waiting = later

    def cancel(self, which: Sequence[Place], fate: TimerFate, at: datetime) -> int:
        """Remove timers by (rule, customer id, key) into the history; returns how many were there."""
        wanted = set(which)
        there = [
            it for it in self._all_of({place[1] for place in wanted}) if (it.rule, it.customer_id, it.key) in wanted
        ]
        self.finish(there, fate, at)
        return len(there)

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Timer]]:
        """Pending timers, leased ones included, by customer, ordered by due_at."""
        found: dict[str, list[Timer]] = {}
        for timer in self._all_of(customer_ids):
            found.setdefault(timer.customer_id, []).append(timer)
        return found

    def _all_of(self, customer_ids: Collection[str]) -> list[Timer]:
        return [timer_of(row) for row in self._work.fetch(_OF, ids=customer_ids)] if customer_ids else []

    def claim(self, now: datetime, limit: int, lease_until: datetime, owner: str) -> list[Timer]:
        """Due and unleased (or lease run out) timers, oldest first, leased to `owner`; never waits for a claim."""
        statement = _CLAIM[self._work.is_postgresql]
        rows = self._work.fetch(statement, now=to_us(now), n=limit, until=to_us(lease_until), owner=owner)
        return [timer_of(row) for row in sorted(rows, key=lambda row: (row[3], *row[:3]))]

    def still(self, timers: Sequence[Timer]) -> set[Place]:
        """Of these, the (rule, customer, key) still pending as they were: same version, set by the same envelope."""
        if not timers:
            return set()
        which = orjson.dumps(_places(timers)).decode()
        # The version counts from 1 again after a timer has left, so who set it is compared as well.
        return {(row[0], row[1], row[2]) for row in self._work.fetch(_STILL[self._work.is_postgresql], which=which)}

    def put_off(self, timers: Sequence[Timer], until: datetime) -> None:
        """Lease them, still as they were, until then."""
        if not timers:
            return
        which = _places(timers)
        if self._work.is_postgresql:
            self._work.run(_PUT_OFF[True], which=orjson.dumps(which).decode(), until=to_us(until))
        else:
            self._work.run_many(_PUT_OFF[False], [it | {"until": to_us(until)} for it in which])

    def finish(self, timers: Sequence[Timer], fate: TimerFate, at: datetime) -> None:
        """Move to the history. One that was restarted or left in the meantime is not touched."""
        if not timers:
            return
        which = _places(timers)
        end = {"fate": fate.value, "at": to_us(at)}
        if self._work.is_postgresql:
            self._work.run(_RETIRE_POSTGRESQL, which=orjson.dumps(which).decode(), **end)
        else:
            self._work.run_many(_KEEP_SQLITE, [it | end for it in which])
            self._work.run_many(_DROP_SQLITE, which)

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: same (rule, key) on both sides keeps the later `due_at`; leases are cleared, history moves along."""
        there = self.of((from_customer, into_customer))
        kept = {(it.rule, it.key): it for it in there.get(into_customer, [])}
        moved = [
            (it.rule, into_customer, it.key, *timer_row(it)[3:])
            for it in there.get(from_customer, [])
            if (it.rule, it.key) not in kept or it.due_at > kept[it.rule, it.key].due_at
        ]
        self._work.run(_DROP_OF, gone=from_customer)
        self._insert(moved)
        self._work.run(_HISTORY_INTO, gone=from_customer, into=into_customer)

    def fired(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[tuple[str, str, datetime]]]:
        """(rule, key, fired at) at or after `since`, oldest first, by customer."""
        found: dict[str, list[tuple[str, str, datetime]]] = {}
        if customer_ids:
            for customer_id, rule, key, at in self._work.fetch(_FIRED, ids=customer_ids, since=to_us(since)):
                found.setdefault(customer_id, []).append((rule, key, from_us(at)))
        return found

    def past(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[PastTimer]]:
        """Timers that left the hot table at or after `since`, of every fate, oldest first."""
        found: dict[str, list[PastTimer]] = {}
        if customer_ids:
            for customer_id, rule, key, set_at, set_by, fate, at in self._work.fetch(
                _PAST, ids=customer_ids, since=to_us(since)
            ):
                line = PastTimer(
                    rule=rule, key=key, set_at=from_us(set_at), set_by=set_by, fate=TimerFate(fate), at=from_us(at)
                )
                found.setdefault(customer_id, []).append(line)
        return found

    def pending(self) -> int:
        """Timers in the hot table."""
        return int(self._work.fetch(_PENDING)[0][0])

    def next_due(self) -> datetime | None:
        """When the earliest pending timer is due; null: nothing is waiting."""
        found = self._work.fetch(_NEXT_DUE)[0][0]
        return None if found is None else from_us(found)

    def next_at(self, now: datetime) -> datetime | None:
        """When `claim` next finds something; null when nothing is pending."""
        found = [row[0] for row in self._work.fetch(_NEXT, now=to_us(now)) if row[0] is not None]
        return from_us(min(found)) if found else None
