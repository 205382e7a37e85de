"""Watches in SQL."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, select

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_rows import from_json, to_json
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.instants import from_us, to_us
from opportune.domain.watches import Watch

WATCH = ("rule", "customer_id", "definition", "is_armed", "since", "levels")
_watches = tables.watches.c
_GET = (
    select(*(_watches[name] for name in WATCH))
    .where(among(_watches.customer_id, "ids"))
    .order_by(_watches.customer_id, _watches.rule)
)
_PUT = (
    "ON CONFLICT (customer_id, rule) DO UPDATE SET definition = excluded.definition, is_armed = excluded.is_armed,"
    " since = excluded.since, levels = excluded.levels"
)
_REMOVE = delete(tables.watches).where(among(_watches.customer_id, "ids"))


def _row(it: Watch) -> tuple[Any, ...]:
    return (it.rule, it.customer_id, it.definition, it.is_armed, to_us(it.since), to_json(it.levels))


def _watch(row: Sequence[Any]) -> Watch:
    return Watch(
        rule=row[0],
        customer_id=row[1],
        definition=row[2],
        is_armed=bool(row[3]),
        since=from_us(row[4]),
        levels=tuple(from_json(row[5])),
    )


class SqlWatches:
    """`ports.Watches`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, customer_ids: Collection[str]) -> dict[str, list[Watch]]:
        """By customer, ordered by rule."""
        found: dict[str, list[Watch]] = {}
        if customer_ids:
            for row in self._work.fetch(_GET, ids=customer_ids):
                found.setdefault(row[1], []).append(_watch(row))
        return found

    def put(self, watches: Sequence[Watch]) -> None:
        """Insert or replace."""
        last = {(it.customer_id, it.rule): it for it in watches}
        self._work.insert(tables.watches, WATCH, [_row(last[key]) for key in sorted(last)], _PUT)

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop all rows of these customers."""
        if customer_ids:
            self._work.run(_REMOVE, ids=customer_ids)
