"""Journeys in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Executable, bindparam, select, update

from opportune.adapters import sql_journey_tables as tables
from opportune.adapters.journey_rows import INSTANCE, STEP, instance_of, instance_row, step_of, step_row
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.instants import to_us
from opportune.domain.journeys import Instance, StepTaken

_journeys, _steps, _versions = tables.journeys.c, tables.journey_steps.c, tables.journey_versions.c
_OF = (
    select(*(_journeys[name] for name in INSTANCE))
    .where(among(_journeys.customer_id, "ids"))
    .order_by(_journeys.started_at, _journeys.instance_id)
)
_RUNNING = _OF.where(_journeys.ended_at.is_(None))
_TAKEN = (
    select(*(_steps[name] for name in STEP))
    .where(among(_steps.instance_id, "ids"))
    .order_by(_steps.instance_id, _steps.n)
)
_INTO = update(tables.journeys).where(_journeys.customer_id == bindparam("gone")).values(customer_id=bindparam("into"))
_SOURCE = select(_versions.source).where(_versions.version == bindparam("version"))
#: Whose and which journey it is never changes here (only a merge moves it), nor how it started.
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in INSTANCE[8:])
_PUT = f"ON CONFLICT (instance_id) DO UPDATE SET {_CHANGES}"


class SqlJourneys:
    """`ports.Journeys`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """All instances of each customer, ended ones too, ordered by (started_at, instance_id)."""
        return self._by_customer(_OF, customer_ids)

    def running(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """As `of`, without those that have ended."""
        return self._by_customer(_RUNNING, customer_ids)

    def _by_customer(self, statement: Executable, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        found: dict[str, list[Instance]] = {}
        for row in self._work.fetch(statement, ids=customer_ids) if customer_ids else ():
            found.setdefault(row[1], []).append(instance_of(row))
        return found

    def put(self, instances: Sequence[Instance]) -> None:
        """Insert, or replace the one with the same id. Raises ValueError when two would run for one key."""
        last = {it.instance_id: it for it in instances}
        # Those that end first: they make room for another of the same key.
        rows = [instance_row(it) for it in sorted(last.values(), key=lambda it: (it.ended_at is None, it.instance_id))]
        n_ended = sum(it.ended_at is not None for it in last.values())
        for part in (rows[:n_ended], rows[n_ended:]):
            self._work.insert(tables.journeys, INSTANCE, part, _PUT)

    def take(self, steps: Sequence[StepTaken]) -> None:
        """Append to the history. Raises ValueError when a step was taken already."""
        self._work.insert(tables.journey_steps, STEP, [step_row(it) for it in steps])

    def taken(self, instance_ids: Collection[str]) -> dict[str, list[StepTaken]]:
        """Steps taken by each instance, in order."""
        found: dict[str, list[StepTaken]] = {}
        for row in self._work.fetch(_TAKEN, ids=instance_ids) if instance_ids else ():
            found.setdefault(row[0], []).append(step_of(row))
        return found

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: all instances move along."""
        self._work.run(_INTO, gone=from_customer, into=into_customer)

    def define(self, version: str, source: bytes, at: datetime) -> None:
        """Keep a definition by its version, once."""
        row = (version, source, to_us(at))
        self._work.insert(tables.journey_versions, ("version", "source", "at"), [row], "ON CONFLICT DO NOTHING")

    def definition(self, version: str) -> bytes | None:
        """The definition, or null."""
        rows = self._work.fetch(_SOURCE, version=version)
        return bytes(rows[0][0]) if rows else None
