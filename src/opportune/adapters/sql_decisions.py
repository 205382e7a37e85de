"""The decision log, playbooks by hash, and exposures in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_events import committed_after, read_after
from opportune.adapters.sql_rows import (
    DECISION,
    EXPOSURE,
    decision_of,
    decision_row,
    exposure_of,
    exposure_row,
)
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.decisions import StoredDecision
from opportune.domain.instants import from_us, to_us

_decisions, _playbooks, _exposures = tables.decisions.c, tables.playbooks.c, tables.exposures.c
_COLUMNS = [_decisions[name] for name in DECISION]

_GET = select(*_COLUMNS).where(_decisions.decision_id == bindparam("id"))
_NEWEST = select(*_COLUMNS).order_by(_decisions.seq.desc()).limit(bindparam("n"))
_NEWEST_OF = _NEWEST.where(_decisions.customer_id == bindparam("customer"))
_AFTER = committed_after(tables.decisions, DECISION)


class SqlDecisions:
    """`ports.Decisions`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, decisions: Sequence[StoredDecision]) -> None:
        """Append. Raises ValueError when a decision id is taken."""
        self._work.insert(tables.decisions, DECISION, [decision_row(it) for it in decisions])

    def get(self, decision_id: str) -> StoredDecision | None:
        """One decision, or null."""
        rows = self._work.fetch(_GET, id=decision_id)
        return decision_of(rows[0]) if rows else None

    def newest(self, customer_id: str | None, limit: int) -> list[StoredDecision]:
        """The newest by arrival, newest first; null: of all customers."""
        if customer_id is None:
            rows = self._work.fetch(_NEWEST, n=limit)
        else:
            rows = self._work.fetch(_NEWEST_OF, customer=customer_id, n=limit)
        return [decision_of(row) for row in rows]

    def after(self, cursor: str, limit: int) -> tuple[list[StoredDecision], str]:
        """Committed decisions after a cursor, and the new cursor."""
        rows, moved = read_after(self._work, _AFTER, cursor, limit)
        return [decision_of(row) for row in rows], moved


_SOURCE = select(_playbooks.source).where(_playbooks.playbook_hash == bindparam("hash"))


class SqlPlaybooks:
    """`ports.Playbooks`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def put(self, playbook_hash: str, source: bytes, at: datetime) -> None:
        """Keep the text of a playbook by its hash, once."""
        row = (playbook_hash, source, to_us(at))
        self._work.insert(tables.playbooks, ("playbook_hash", "source", "at"), [row], "ON CONFLICT DO NOTHING")

    def get(self, playbook_hash: str) -> bytes | None:
        """The text, or null."""
        rows = self._work.fetch(_SOURCE, hash=playbook_hash)
        return bytes(rows[0][0]) if rows else None


_OF = (
    select(*(_exposures[name] for name in EXPOSURE))
    .where(_exposures.experiment == bindparam("name"))
    .order_by(_exposures.at, _exposures.unit)
)
_PAGE = (
    select(*(_exposures[name] for name in EXPOSURE))
    .where(_exposures.experiment == bindparam("name"), _exposures.unit > bindparam("after"))
    .order_by(_exposures.unit)
    .limit(bindparam("n"))
)
_UNITS = select(_exposures.unit).where(_exposures.experiment == bindparam("name"), among(_exposures.unit, "units"))
_COUNTS = (
    select(
        _exposures.experiment,
        _exposures.variation,
        func.count(),
        func.min(_exposures.at),
        func.max(_exposures.at),
    )
    .group_by(_exposures.experiment, _exposures.variation)
    .order_by(_exposures.experiment, _exposures.variation)
)


class SqlExposures:
    """`ports.Exposures`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """First per (experiment, unit) counts; `at` is an aware datetime. Raises KeyError for a missing field."""
        ordered = sorted((exposure_row(it) for it in rows), key=lambda row: row[:2])
        self._work.insert(tables.exposures, EXPOSURE, ordered, "ON CONFLICT DO NOTHING")

    def of(self, experiment: str) -> list[Mapping[str, Any]]:
        """Rows of one experiment ordered by (at, unit)."""
        return [exposure_of(row) for row in self._work.fetch(_OF, name=experiment)]

    def page(self, experiment: str, after_unit: str, limit: int) -> list[Mapping[str, Any]]:
        """Rows of one experiment with units greater than `after_unit`, in order."""
        rows = self._work.fetch(_PAGE, name=experiment, after=after_unit, n=limit)
        return [exposure_of(row) for row in rows]

    def known(self, experiment: str, units: Collection[str]) -> set[str]:
        """Which of these units were exposed."""
        return {row[0] for row in self._work.fetch(_UNITS, name=experiment, units=units)} if units else set()

    def counts(self) -> list[Mapping[str, Any]]:
        """Units, first and last exposure per (experiment, variation)."""
        return [
            {"experiment": name, "variation": arm, "n_units": n, "first_at": from_us(low), "last_at": from_us(high)}
            for name, arm, n, low, high in self._work.fetch(_COUNTS)
        ]
