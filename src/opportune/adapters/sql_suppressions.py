"""Suppression lists in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, select

from opportune.adapters import sql_suppression_tables as tables
from opportune.adapters.sql_work import SqlWork, among
from opportune.adapters.suppression_rows import SUPPRESSION, suppression_of, suppression_row
from opportune.domain.instants import to_us
from opportune.domain.suppressions import Suppression

_lines = tables.suppressions.c
_OF = select(*(_lines[name] for name in SUPPRESSION)).where(among(_lines.key, "keys")).order_by(_lines.seq)
_OF_THEN = (
    select(*(_lines[name] for name in SUPPRESSION))
    .where(among(_lines.key, "keys"), _lines.at <= bindparam("at"))
    .order_by(_lines.seq)
)
_ANY = select(_lines.seq).limit(1)


class SqlSuppressions:
    """`ports.Suppressions`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, lines: Sequence[Suppression]) -> list[Suppression]:
        """Append those that change what is in force; returns them."""
        wanted = {it.key: it for it in lines}
        known = self.of(wanted)
        fresh = [it for key, it in wanted.items() if it.changes(known.get(key))]
        self._work.insert(tables.suppressions, SUPPRESSION, [suppression_row(it) for it in fresh])
        return fresh

    def any(self) -> bool:
        """Whether anybody was ever listed."""
        return bool(self._work.fetch(_ANY))

    def of(self, keys: Collection[str], at: datetime | None = None) -> dict[str, Suppression]:
        """Entries in force by key, now or at an instant."""
        if not keys:
            return {}
        rows = self._work.fetch(_OF, keys=keys) if at is None else self._work.fetch(_OF_THEN, keys=keys, at=to_us(at))
        newest = {row[0]: suppression_of(row) for row in rows}
        return {key: it for key, it in newest.items() if it.is_on}
