"""Watches in memory."""

from collections.abc import Collection, Sequence

from opportune.adapters.memory_work import MemoryWork
from opportune.domain.watches import Watch


class MemoryWatches:
    """`ports.Watches`: customer -> rule -> watch."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, list[Watch]]:
        """By customer, ordered by rule."""
        rows = self._work.rows("watches")
        return {it: [rows[it][rule] for rule in sorted(rows[it])] for it in set(customer_ids) if it in rows}

    def put(self, watches: Sequence[Watch]) -> None:
        """Insert or replace."""
        rows = self._work.change("watches")
        for watch in watches:
            rows[watch.customer_id] = {**rows.get(watch.customer_id, {}), watch.rule: watch}

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop all rows of these customers."""
        rows = self._work.change("watches")
        for it in customer_ids:
            rows.pop(it, None)
