"""The decision log, playbooks by hash, and exposures in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import decision_of, decision_row, exposure_of, exposure_row, parse_cursor
from opportune.domain.decisions import StoredDecision


class MemoryDecisions:
    """`ports.Decisions`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, decisions: Sequence[StoredDecision]) -> None:
        """Append. Raises ValueError when a decision id is taken."""
        rows = self._work.change("decisions")
        ids = {it.decision_id for it in decisions}
        if ids & rows.keys() or len(ids) < len(decisions):
            raise ValueError(f"decision ids taken: {sorted(ids & rows.keys())}")
        log = self._work.change("decisions_log")
        for decision in decisions:
            rows[decision.decision_id] = decision_row(decision)
            log[self._work.next_seq("decisions")] = decision.decision_id

    def get(self, decision_id: str) -> StoredDecision | None:
        """One decision, or null."""
        row = self._work.rows("decisions").get(decision_id)
        return None if row is None else decision_of(row)

    def newest(self, customer_id: str | None, limit: int) -> list[StoredDecision]:
        """The newest by arrival, newest first; null: of all customers."""
        rows, log = self._work.rows("decisions"), self._work.rows("decisions_log")
        newest = (rows[log[seq]] for seq in reversed(log))
        return [decision_of(row) for row in islice((r for r in newest if customer_id in (None, r[1])), limit)]

    def after(self, cursor: str, limit: int) -> tuple[list[StoredDecision], str]:
        """Committed decisions after a cursor, and the new cursor."""
        _, seq = parse_cursor(cursor)
        rows, log = self._work.rows("decisions"), self._work.rows("decisions_log")
        last = min(seq + limit, len(log))
        found = [decision_of(rows[log[n]]) for n in range(seq + 1, last + 1)]
        return found, f"0:{last}" if found else cursor


class MemoryPlaybooks:
    """`ports.Playbooks`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def put(self, playbook_hash: str, source: bytes, at: datetime) -> None:
        """Keep the text of a playbook by its hash, once."""
        self._work.change("playbooks").setdefault(playbook_hash, (source, at))

    def get(self, playbook_hash: str) -> bytes | None:
        """The text, or null."""
        found = self._work.rows("playbooks").get(playbook_hash)
        return None if found is None else found[0]


class MemoryExposures:
    """`ports.Exposures`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """First per (experiment, unit) counts; `at` is an aware datetime. Raises KeyError for a missing field."""
        known = self._work.change("exposures")
        for row in (exposure_row(it) for it in rows):
            known.setdefault(row[:2], row)

    def of(self, experiment: str) -> list[Mapping[str, Any]]:
        """Rows of one experiment ordered by (at, unit)."""
        rows = [row for row in self._work.rows("exposures").values() if row[0] == experiment]
        return [exposure_of(row) for row in sorted(rows, key=lambda row: (row[5], row[1]))]

    def page(self, experiment: str, after_unit: str, limit: int) -> list[Mapping[str, Any]]:
        """Rows of one experiment with units greater than `after_unit`, in order."""
        rows = [r for r in self._work.rows("exposures").values() if r[0] == experiment and r[1] > after_unit]
        return [exposure_of(row) for row in sorted(rows, key=lambda row: str(row[1]))[:limit]]

    def known(self, experiment: str, units: Collection[str]) -> set[str]:
        """Which of these units were exposed."""
        rows = self._work.rows("exposures")
        return {unit for unit in units if (experiment, unit) in rows}

    def counts(self) -> list[Mapping[str, Any]]:
        """Units, first and last exposure per (experiment, variation)."""
        found: dict[tuple[str, str], list[datetime]] = {}
        for row in map(exposure_of, self._work.rows("exposures").values()):
            found.setdefault((row["experiment"], row["variation"]), []).append(row["at"])
        return [
            {"experiment": name, "variation": arm, "n_units": len(ats), "first_at": min(ats), "last_at": max(ats)}
            for (name, arm), ats in sorted(found.items())
        ]
