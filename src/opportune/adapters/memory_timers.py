"""Timers in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime
from heapq import nsmallest

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import TIMER, Stored, timer_of, timer_row
from opportune.domain.instants import from_us, to_us
from opportune.domain.timers import PastTimer, Timer, TimerFate

Place = tuple[str, str, str]
_DUE_AT, _SET_AT, _SET_BY = (TIMER.index(name) for name in ("due_at", "set_at", "set_by"))


class MemoryTimers:
    """`ports.Timers`. A row carries its lease (microseconds, 0 = none) behind the timer's columns."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def arm(self, timers: Sequence[Timer]) -> None:
        """Insert, or restart the one with the same (rule, customer, key): version + 1, lease cleared."""
        for timer in timers:
            self._put(timer_row(timer))

    def _put(self, row: Stored) -> None:
        rows, place = self._work.change("timers"), row[:3]
        if place in rows:
            rows[place] = (*row[:-1], rows[place][8] + 1, 0)
        else:
            rows[place] = (*row, 0)
            self._work.link("timers_of", row[1], [place])

    def _drop(self, place: Place) -> None:
        self._work.change("timers").pop(place)
        index = self._work.change("timers_of")
        index[place[1]] = tuple(it for it in index[place[1]] if it != place)

    def cancel(self, which: Sequence[Place], fate: TimerFate, at: datetime) -> int:
        """Remove timers by (rule, customer id, key) into the history; returns how many were there."""
        rows = self._work.rows("timers")
        there = [timer_of(rows[place]) for place in set(which) if place in rows]
        self.finish(there, fate, at)
        return len(there)

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Timer]]:
        """Pending timers, leased ones included, by customer, ordered by due_at."""
        rows, index = self._work.rows("timers"), self._work.rows("timers_of")
        found = {}
        for it in set(customer_ids):
            mine = sorted((rows[place] for place in index.get(it, ())), key=lambda row: (row[_DUE_AT], row[0], row[2]))
            if mine:
                found[it] = [timer_of(row) for row in mine]
        return found

    def claim(self, now: datetime, limit: int, lease_until: datetime, owner: str) -> list[Timer]:
        """Due and unleased (or lease run out) timers, oldest first, leased to `owner`."""
        del owner  # nobody asks whose lease it is: what counts is that it holds
        rows, now_us = self._work.change("timers"), to_us(now)
        free = (row for row in rows.values() if row[_DUE_AT] <= now_us and row[-1] <= now_us)
        due = nsmallest(limit, free, key=lambda row: (row[_DUE_AT], *row[:3]))
        for row in due:
            rows[row[:3]] = (*row[:-1], to_us(lease_until))
        return [timer_of(row) for row in due]

    def still(self, timers: Sequence[Timer]) -> set[Place]:
        """Of these, the (rule, customer, key) still pending as they were: same version, set by the same envelope."""
        return {(it.rule, it.customer_id, it.key) for it in timers if self._is_there(it)}

    def _is_there(self, timer: Timer) -> bool:
        row = self._work.rows("timers").get((timer.rule, timer.customer_id, timer.key))
        return row is not None and (row[8], row[_SET_BY]) == (timer.version, timer.set_by)

    def put_off(self, timers: Sequence[Timer], until: datetime) -> None:
        """Lease them, still as they were, until then."""
        for timer in timers:
            if self._is_there(timer):
                rows, place = self._work.change("timers"), (timer.rule, timer.customer_id, timer.key)
                rows[place] = (*rows[place][:-1], to_us(until))

    def finish(self, timers: Sequence[Timer], fate: TimerFate, at: datetime) -> None:
        """Move to the history. One that was restarted or left in the meantime is not touched."""
        for timer in timers:
            if self._is_there(timer):
                row = self._work.rows("timers")[timer.rule, timer.customer_id, timer.key]
                line = (timer.rule, timer.key, to_us(at), fate.value, row[_SET_AT], row[_SET_BY])
                self._work.link("timer_history", timer.customer_id, [line])
                self._drop((timer.rule, timer.customer_id, timer.key))

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: same (rule, key) on both sides keeps the later `due_at`; leases are cleared, history moves along."""
        there = self.of((from_customer, into_customer))
        kept = {(it.rule, it.key): it for it in there.get(into_customer, [])}
        for timer in there.get(from_customer, []):
            self._drop((timer.rule, from_customer, timer.key))
            other = kept.get((timer.rule, timer.key))
            if other is None or timer.due_at > other.due_at:
                self._put((timer.rule, into_customer, timer.key, *timer_row(timer)[3:]))
        lines = self._work.change("timer_history").pop(from_customer, ())
        self._work.link("timer_history", into_customer, lines)

    def fired(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[tuple[str, str, datetime]]]:
        """(rule, key, fired at) at or after `since`, oldest first, by customer."""
        history, since_us = self._work.rows("timer_history"), to_us(since)
        found = {}
        for it in set(customer_ids):
            lines = [line for line in history.get(it, ()) if line[3] == TimerFate.FIRED.value and line[2] >= since_us]
            if lines:
                ordered = sorted(lines, key=lambda line: line[2])
                found[it] = [(rule, key, from_us(us)) for rule, key, us, *_ in ordered]
        return found

    def past(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[PastTimer]]:
        """Timers that left the hot table at or after `since`, of every fate, oldest first."""
        history, since_us = self._work.rows("timer_history"), to_us(since)
        found = {}
        for it in set(customer_ids):
            lines = sorted((line for line in history.get(it, ()) if line[2] >= since_us), key=lambda line: line[2])
            if lines:
                found[it] = [
                    PastTimer(
                        rule=rule, key=key, set_at=from_us(set_us), set_by=by, fate=TimerFate(fate), at=from_us(us)
                    )
                    for rule, key, us, fate, set_us, by in lines
                ]
        return found

    def pending(self) -> int:
        """Timers in the hot table."""
        return len(self._work.rows("timers"))

    def next_due(self) -> datetime | None:
        """When the earliest pending timer is due; null: nothing is waiting."""
        found = min((row[_DUE_AT] for row in self._work.rows("timers").values()), default=None)
        return None if found is None else from_us(found)

    def next_at(self, now: datetime) -> datetime | None:
        """When `claim` next finds something; null when nothing is pending."""
        now_us = to_us(now)
        free = (max(row[_DUE_AT], row[-1], now_us) for row in self._work.rows("timers").values())
        first = min(free, default=None)
        return None if first is None else from_us(first)
