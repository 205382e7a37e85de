"""Events and dead letters in SQL, and the cursor that never skips a late commit.

On PostgreSQL a sequence number is taken before its transaction commits, so a reader that remembers the highest number
it saw would skip one that commits later. Rows therefore carry their transaction id; readers order by (txid, seq) and
stop below the oldest transaction still running: below it nothing can appear any more. Running transactions that are
known to work in another database of the same server do not count, so that a neighbour never holds readers up.
SQLite has one writer at a time and numbers in commit order: txid is 0. Moving rows to another PostgreSQL server by
dump and restore changes what transaction ids mean: set `txid` to 0 there and start the cursors anew.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, select, text, update

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_rows import EVENT, LETTER, event_of, event_row, letter_of, letter_row, parse_cursor
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.events import DeadLetter, Event
from opportune.domain.instants import to_us

_events = tables.events.c
_EVENT_COLUMNS = [_events[name] for name in EVENT]

_KNOWN = select(_events.message_id).where(among(_events.message_id, "ids"))
_OF = (
    select(*_EVENT_COLUMNS)
    .where(among(_events.customer_id, "ids"))
    .order_by(_events.customer_id, _events.event_at, _events.message_id)
)
_SINCE = _OF.where(_events.event_at >= bindparam("since"))
_NAMED = _SINCE.where(among(_events.name, "names"))
_REASSIGN = update(tables.events).where(among(_events.id_key, "keys")).values(customer_id=bindparam("into"))
_TAIL = select(*_EVENT_COLUMNS).order_by(_events.seq.desc()).limit(bindparam("n"))
_TAIL_OF = _TAIL.where(among(_events.customer_id, "ids"))


# Every transaction id below is settled: committed and visible, or undone. In order: the oldest one running in this
# database when the snapshot was taken, else the first not yet begun; and never beyond this transaction itself.
_HORIZON = """LEAST(
    COALESCE(
        (SELECT min(CAST(CAST(x AS text) AS bigint)) FROM pg_snapshot_xip(pg_current_snapshot()) AS x
         WHERE NOT EXISTS (
            SELECT 1 FROM pg_stat_activity AS a WHERE a.datname <> current_database()
            AND CAST(CAST(a.backend_xid AS text) AS bigint) = CAST(CAST(x AS text) AS bigint) % 4294967296)),
        CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)),
    CAST(CAST(pg_current_xact_id_if_assigned() AS text) AS bigint))"""


def committed_after(table: Table, names: Sequence[str]) -> dict[bool, Any]:
    """The statement of `after`, by `is_postgresql`: rows past (txid, seq) that no running transaction can precede."""
    found = select(table.c.txid, table.c.seq, *(table.c[name] for name in names))
    found = found.where(text("(txid, seq) > (:txid, :seq)"))
    found = found.order_by(table.c.txid, table.c.seq).limit(bindparam("n"))
    return {False: found, True: found.where(text(f"txid < {_HORIZON}"))}


def read_after(work: SqlWork, statement: dict[bool, Any], cursor: str, limit: int) -> tuple[list[Any], str]:
    """Rows without (txid, seq), and the new cursor `txid:seq`. Raises ValueError for a cursor that is none."""
    txid, seq = parse_cursor(cursor)
    rows = work.fetch(statement[work.is_postgresql], txid=txid, seq=seq, n=limit)
    return [row[2:] for row in rows], f"{rows[-1][0]}:{rows[-1][1]}" if rows else cursor


_AFTER = committed_after(tables.events, EVENT)


class SqlEvents:
    """`ports.Events`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def known(self, message_ids: Collection[str]) -> set[str]:
        """Which of these are stored already."""
        return {row[0] for row in self._work.fetch(_KNOWN, ids=message_ids)} if message_ids else set()

    def append(self, events: Sequence[tuple[Event, str]]) -> set[str]:
        """Store (event, customer id) pairs, the first of equal message ids; returns the ids that were new."""
        rows: dict[str, tuple[Any, ...]] = {}
        for event, customer_id in events:
            if event.message_id not in rows:
                rows[event.message_id] = event_row(event, customer_id)
        if not rows:
            return set()
        if self._work.is_postgresql:
            # In one order everywhere: two batches with the same ids wait for, never deadlock, each other.
            return self._work.insert_new(tables.events, EVENT, [rows[message_id] for message_id in sorted(rows)])
        known = self.known(rows)
        fresh = {message_id: row for message_id, row in rows.items() if message_id not in known}
        self._work.insert(tables.events, EVENT, list(fresh.values()))
        return set(fresh)

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Event]]:
        """All events of each customer, ordered by (event_at, message_id)."""
        found: dict[str, list[Event]] = {}
        if customer_ids:
            for row in self._work.fetch(_OF, ids=customer_ids):
                found.setdefault(row[1], []).append(event_of(row))
        return found

    def named(
        self, customer_ids: Collection[str], names: Collection[str] | None, since: datetime
    ) -> dict[str, list[Event]]:
        """Events with one of these names (null: any) and `event_at` >= since, ordered by (event_at, message_id)."""
        found: dict[str, list[Event]] = {}
        if not customer_ids or (names is not None and not names):
            return found
        statement, which = (_SINCE, {}) if names is None else (_NAMED, {"names": names})
        for row in self._work.fetch(statement, ids=customer_ids, since=to_us(since), **which):
            found.setdefault(row[1], []).append(event_of(row))
        return found

    def reassign(self, id_keys: Collection[str], customer_id: str) -> None:
        """Move the events owned by these keys to another customer."""
        if id_keys:
            self._work.run(_REASSIGN, keys=id_keys, into=customer_id)

    def after(self, cursor: str, limit: int) -> tuple[list[tuple[Event, str]], str]:
        """Committed (event, customer id) pairs after a cursor, and the new cursor."""
        rows, moved = read_after(self._work, _AFTER, cursor, limit)
        return [(event_of(row), row[1]) for row in rows], moved

    def tail(self, customer_ids: Collection[str] | None, limit: int) -> list[Event]:
        """The newest events by arrival, newest first."""
        if customer_ids is None:
            rows = self._work.fetch(_TAIL, n=limit)
        else:
            rows = self._work.fetch(_TAIL_OF, ids=customer_ids, n=limit) if customer_ids else []
        found = [event_of(row) for row in rows]
        # Within one batch the stored order means nothing: there the event's own time decides.
        return sorted(found, key=lambda it: (it.ingested_at, it.event_at, it.message_id), reverse=True)


_letters = tables.dead_letters.c
_NEWEST = (
    select(*(_letters[name] for name in LETTER))
    .order_by(_letters.received_at.desc(), _letters.letter_id.desc())
    .limit(bindparam("n"))
)


class SqlDeadLetters:
    """`ports.DeadLetters`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep; a known `letter_id` is ignored."""
        self._work.insert(tables.dead_letters, LETTER, [letter_row(it) for it in letters], "ON CONFLICT DO NOTHING")

    def newest(self, limit: int) -> list[DeadLetter]:
        """The newest by arrival, newest first."""
        return [letter_of(row) for row in self._work.fetch(_NEWEST, n=limit)]
