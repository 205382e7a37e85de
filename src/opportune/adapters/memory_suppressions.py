"""Suppression lists in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.suppression_rows import suppression_of, suppression_row
from opportune.domain.suppressions import Suppression


class MemorySuppressions:
    """`ports.Suppressions`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, lines: Sequence[Suppression]) -> list[Suppression]:
        """Append those that change what is in force; returns them."""
        wanted = {it.key: it for it in lines}
        known = self.of(wanted)
        fresh = [it for key, it in wanted.items() if it.changes(known.get(key))]
        for it in fresh:
            self._work.link("suppressions", it.key, [suppression_row(it)])
        return fresh

    def any(self) -> bool:
        """Whether anybody was ever listed."""
        return bool(self._work.rows("suppressions"))

    def of(self, keys: Collection[str], at: datetime | None = None) -> dict[str, Suppression]:
        """Entries in force by key, now or at an instant."""
        rows = self._work.rows("suppressions")
        found: dict[str, Suppression] = {}
        for key in set(keys):
            lines = [it for it in map(suppression_of, rows.get(key, ())) if at is None or it.at <= at]
            if lines and lines[-1].is_on:
                found[key] = lines[-1]
        return found
