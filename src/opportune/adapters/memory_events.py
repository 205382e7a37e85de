"""Events and dead letters in memory."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from itertools import islice

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import EVENT, Stored, event_of, event_row, letter_of, letter_row, parse_cursor
from opportune.domain.events import DeadLetter, Event
from opportune.domain.instants import to_us

_ID_KEY, _NAME, _EVENT_AT = EVENT.index("id_key"), EVENT.index("name"), EVENT.index("event_at")


class MemoryEvents:
    """`ports.Events`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def known(self, message_ids: Collection[str]) -> set[str]:
        """Which of these are stored already."""
        rows = self._work.rows("events")
        return {it for it in message_ids if it in rows}

    def append(self, events: Sequence[tuple[Event, str]]) -> set[str]:
        """Store (event, customer id) pairs, the first of equal message ids; returns the ids that were new."""
        rows, log = self._work.change("events"), self._work.change("events_log")
        fresh: dict[str, Stored] = {}
        for event, customer_id in events:
            if event.message_id not in rows:
                row = event_row(event, customer_id)
                rows[event.message_id] = fresh[event.message_id] = row
                log[self._work.next_seq("events")] = event.message_id
        for index, position in (("events_of", 1), ("events_by_key", _ID_KEY)):
            grouped: dict[str, list[str]] = {}
            for row in fresh.values():
                grouped.setdefault(row[position], []).append(row[0])
            for key, message_ids in grouped.items():
                self._work.link(index, key, message_ids)
        return set(fresh)

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Event]]:
        """All events of each customer, ordered by (event_at, message_id)."""
        return self._where(customer_ids, lambda row: True)

    def named(
        self, customer_ids: Collection[str], names: Collection[str] | None, since: datetime
    ) -> dict[str, list[Event]]:
        """Events with one of these names (null: any) and `event_at` >= since, ordered by (event_at, message_id)."""
        since_us = to_us(since)
        return self._where(
            customer_ids, lambda row: row[_EVENT_AT] >= since_us and (names is None or row[_NAME] in names)
        )

    def _where(self, customer_ids: Collection[str], wanted: Callable[[Stored], bool]) -> dict[str, list[Event]]:
        rows, index = self._work.rows("events"), self._work.rows("events_of")
        found = {}
        for it in set(customer_ids):
            mine = [row for message_id in index.get(it, ()) if wanted(row := rows[message_id])]
            if mine:
                found[it] = [event_of(row) for row in sorted(mine, key=lambda row: (row[_EVENT_AT], row[0]))]
        return found

    def reassign(self, id_keys: Collection[str], customer_id: str) -> None:
        """Move the events owned by these keys to another customer."""
        rows, index = self._work.change("events"), self._work.change("events_of")
        moving = [name for key in set(id_keys) for name in self._work.rows("events_by_key").get(key, ())]
        gone = set(moving)
        for owner in {rows[name][1] for name in moving}:
            index[owner] = tuple(name for name in index[owner] if name not in gone)
        for name in moving:
            rows[name] = (name, customer_id, *rows[name][2:])
        self._work.link("events_of", customer_id, moving)

    def after(self, cursor: str, limit: int) -> tuple[list[tuple[Event, str]], str]:
        """Committed (event, customer id) pairs after a cursor, and the new cursor."""
        _, seq = parse_cursor(cursor)
        rows, log = self._work.rows("events"), self._work.rows("events_log")
        last = min(seq + limit, len(log))
        found = [rows[log[n]] for n in range(seq + 1, last + 1)]
        return [(event_of(row), row[1]) for row in found], f"0:{last}" if found else cursor

    def tail(self, customer_ids: Collection[str] | None, limit: int) -> list[Event]:
        """The newest events by arrival, newest first."""
        rows, log = self._work.rows("events"), self._work.rows("events_log")
        newest = (rows[log[seq]] for seq in reversed(log))
        wanted = None if customer_ids is None else set(customer_ids)
        found = [event_of(row) for row in islice((row for row in newest if wanted is None or row[1] in wanted), limit)]
        return sorted(found, key=lambda it: (it.ingested_at, it.event_at, it.message_id), reverse=True)


class MemoryDeadLetters:
    """`ports.DeadLetters`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep; a known `letter_id` is ignored."""
        rows = self._work.change("dead_letters")
        for letter in letters:
            rows.setdefault(letter.letter_id, letter_row(letter))

    def newest(self, limit: int) -> list[DeadLetter]:
        """The newest by arrival, newest first."""
        rows = sorted(self._work.rows("dead_letters").values(), key=lambda row: (row[1], row[0]), reverse=True)
        return [letter_of(row) for row in rows[:limit]]
