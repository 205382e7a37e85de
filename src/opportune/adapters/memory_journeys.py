"""Journeys in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime

from opportune.adapters.journey_rows import ENDED_AT, STARTED_AT, instance_of, instance_row, step_of, step_row
from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import Stored
from opportune.domain.journeys import Instance, StepTaken


class MemoryJourneys:
    """`ports.Journeys`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """All instances of each customer, ended ones too, ordered by (started_at, instance_id)."""
        found = {it: [instance_of(row) for row in self._rows_of(it)] for it in set(customer_ids)}
        return {it: instances for it, instances in found.items() if instances}

    def running(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """As `of`, without those that have ended."""
        found = {it: [instance_of(r) for r in self._rows_of(it) if r[ENDED_AT] is None] for it in set(customer_ids)}
        return {it: instances for it, instances in found.items() if instances}

    def _rows_of(self, customer_id: str) -> list[Stored]:
        rows = self._work.rows("journeys")
        mine = [rows[it] for it in self._work.rows("journeys_of").get(customer_id, ())]
        return sorted(mine, key=lambda row: (row[STARTED_AT], row[0]))

    def put(self, instances: Sequence[Instance]) -> None:
        """Insert, or replace the one with the same id."""
        rows = self._work.change("journeys")
        for row in map(instance_row, instances):
            if row[0] not in rows:
                self._work.link("journeys_of", row[1], [row[0]])
            rows[row[0]] = row
        for customer_id in {it.customer_id for it in instances}:
            self._check(customer_id)

    def _check(self, customer_id: str) -> None:
        running = [row[1:4] for row in self._rows_of(customer_id) if row[ENDED_AT] is None]
        if len(set(running)) < len(running):
            raise ValueError("two instances of one journey would run for the same customer and key")

    def take(self, steps: Sequence[StepTaken]) -> None:
        """Append to the history. Raises ValueError when a step was taken already."""
        taken = self._work.change("journey_steps")
        for row in map(step_row, steps):
            if any(row[1] == other[1] for other in taken.get(row[0], ())):
                raise ValueError(f"step {row[1]} of journey instance {row[0]} was taken already")
            self._work.link("journey_steps", row[0], [row])

    def taken(self, instance_ids: Collection[str]) -> dict[str, list[StepTaken]]:
        """Steps taken by each instance, in order."""
        rows = self._work.rows("journey_steps")
        return {it: [step_of(r) for r in sorted(rows[it], key=lambda r: r[1])] for it in instance_ids if it in rows}

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: all instances move along."""
        moved = self._work.change("journeys_of").pop(from_customer, ())
        rows = self._work.change("journeys")
        for it in moved:
            rows[it] = (it, into_customer, *rows[it][2:])
        self._work.link("journeys_of", into_customer, moved)
        self._check(into_customer)

    def define(self, version: str, source: bytes, at: datetime) -> None:
        """Keep a definition by its version, once."""
        self._work.change("journey_versions").setdefault(version, (source, at))

    def definition(self, version: str) -> bytes | None:
        """The definition, or null."""
        found = self._work.rows("journey_versions").get(version)
        return None if found is None else found[0]
