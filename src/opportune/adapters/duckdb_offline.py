"""Point-in-time features by DuckDB over archive Parquet plus ledger tail, one customer bucket at a time."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from opportune.adapters.archive_rows import schema, table_of
from opportune.adapters.feast_repo import Place
from opportune.adapters.offline_owners import EVER, Held, by_bucket, owned_table, owners_of
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.identity import N_BUCKETS, bucket_of
from opportune.domain.instants import from_us
from opportune.features.catalog import NAMES
from opportune.features.hours import smoothed_rows
from opportune.features.measures import COLUMNS
from opportune.features.sql import HISTOGRAMS, features_sql
from opportune.features.zones import offsets

#: The customer of an identity key that no claim has touched: domain.identity.customer_id_of in SQL.
_UNCLAIMED = (
    "CASE WHEN starts_with(once.id_key, 'u:') THEN substr(once.id_key, 3) ELSE 'anon:' || substr(once.id_key, 3) END"
)
#: Buckets are taken together up to so much of the archive and so many asked rows. A tail event counts as so much.
GROUP_BYTES, _GROUP_ROWS, _EVENT_BYTES = 8_000_000, 10_000, 100
_COLUMNS = "id_key, name, origin, epoch_us(event_at) AS us, epoch_us(known_at) AS known_us, " + ", ".join(COLUMNS)


class DuckDbOffline:
    """Implements ports.OfflineFeatures. Memory: the events of those asked for in one bucket, and the tail.

    `group_bytes`: buckets are taken together up to so much of the archive.
    """

    def __init__(
        self,
        home: Path,
        n_threads: int | None = None,
        place: Place | None = None,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._home, self._place = home, place
        self._archive = ParquetArchive(home)
        self._n_threads, self._group_bytes = n_threads, group_bytes
        self._last: tuple[list[Claim], Held] = ([], Held({}))

    def as_of(
        self,
        rows: Any,
        tail: Sequence[tuple[Event, str]],
        claims: Sequence[Claim],
        names: Sequence[str] | None = None,
    ) -> Any:
        """The rows plus one column per feature named (null: of the whole catalogue), same order and index.

        Null is NaN (ages of what never happened), of texts None; vectors are arrays. Raises ValueError when
        `customer_id` or `at` is missing or `at` is not aware, KeyError for a name the catalogue does not have.
        """
        import duckdb
        import pandas as pd

        if "customer_id" not in rows or "at" not in rows:
            raise ValueError("as_of needs the columns customer_id (str) and at (aware UTC instants)")
        asked = pd.DataFrame(
            {
                "row_id": range(len(rows)),
                "customer_id": rows["customer_id"].astype(str).to_numpy(),
                "at_us": _microseconds(rows["at"]),
            }
        )
        buckets = asked["customer_id"].map({c: bucket_of(c) for c in asked["customer_id"].unique()})
        asked_names = NAMES if names is None else tuple(dict.fromkeys(names))
        sql, held = features_sql(asked_names), self._held(claims)
        tails = by_bucket(tail, held.owners)
        self._archive.measure_anew()
        parts = []
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
            if self._n_threads is not None:
                connection.execute(f"SET threads = {int(self._n_threads)}")
            for group in self._groups(buckets, tails):
                mine = [pair for bucket in group for pair in tails.get(bucket, ())]
                found = self._group(connection, group, asked[buckets.isin(group)], mine, held, sql)
                parts.append(found[["row_id", *asked_names]])
        found = pd.concat(parts).set_index("row_id").sort_index() if parts else pd.DataFrame(columns=list(asked_names))
        if len(found) != len(rows):
            raise RuntimeError(f"{len(rows)} rows were asked for and {len(found)} came back: report this")
        whole = rows.copy()
        for name in asked_names:
            whole[name] = found[name].to_numpy()
        return whole

    def training_set(
        self,
        rows: Any,
        tail: Sequence[tuple[Event, str]],
        claims: Sequence[Claim],
        names: Sequence[str] | None = None,
    ) -> Any:
        """As `as_of`, looked up through Feast's get_historical_features. Raises RuntimeError when a row is lost."""
        from opportune.adapters.feast_offline import FeastOffline

        return FeastOffline(self._home, place=self._place).look_up(self.as_of(rows, tail, claims, names))

    def _held(self, claims: Sequence[Claim]) -> Held:
        """Who held what by these claims; kept, because a run asks page after page with the same."""
        last, held = self._last
        if last != list(claims):  # the same objects are told alike at once
            held = Held(owners_of(claims))
            self._last = (list(claims), held)
        return held

    def _groups(self, buckets: Any, tails: Mapping[int, Sized]) -> list[set[int]]:
        """The buckets asked for, small ones together: planning a query costs as much as thousands of its events."""
        groups: list[set[int]] = []
        bytes_left = rows_left = 0
        for bucket, n_rows in sorted(buckets.value_counts().items()):
            n_bytes = sum(Path(file).stat().st_size for file in self._archive.files(bucket))
            n_bytes += len(tails.get(bucket, ())) * _EVENT_BYTES
            bytes_left, rows_left = bytes_left - n_bytes, rows_left - int(n_rows)
            if bytes_left < 0 or rows_left < 0:
                groups.append(set())
                bytes_left, rows_left = self._group_bytes - n_bytes, _GROUP_ROWS - int(n_rows)
            groups[-1].add(int(bucket))
        return groups

    def _group(
        self, connection: Any, buckets: set[int], asked: Any, tail: list[tuple[Event, str]], held: Held, sql: str
    ) -> Any:
        """Features of the asked rows of a bucket, or of a few small ones: what a cluster would run as one task."""
        import pyarrow as pa

        owned, keys = held.of(asked["customer_id"].unique())
        tail = [pair for pair in tail if pair[0].id_key in keys]
        tables = {
            "asked": asked,
            "owned": owned_table(owned),
            "keys": pa.table({"id_key": pa.array(sorted(keys), pa.string())}),
            "tail": table_of(tail, with_body=False) if tail else schema().empty_table(),
        }
        for name, table in tables.items():
            connection.register(f"{name}_", table)
        try:
            connection.execute("CREATE OR REPLACE TEMP VIEW r AS SELECT row_id, customer_id, at_us FROM asked_")
            newest_us = int(asked["at_us"].max())
            connection.execute(f"CREATE OR REPLACE TEMP TABLE e AS {self._events_sql(buckets, newest_us, bool(owned))}")
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE z (zone TEXT, from_us BIGINT, to_us BIGINT, offset_us BIGINT)"
            )
            if spans := _zone_spans(connection, asked):
                connection.execute("INSERT INTO z SELECT unnest(?), unnest(?), unnest(?), unnest(?)", spans)
            return _finished(connection.execute(sql).to_arrow_table())
        finally:
            for name in tables:
                connection.unregister(f"{name}_")

    def _events_sql(self, buckets: set[int], newest_us: int, has_owned: bool) -> str:
        """Each event of those asked for, once, with the spans in which it is its customer's.

        Events of a key that was merged lie in the bucket of whoever owned it when they were archived.
        """
        sources = ["SELECT * FROM tail_"]
        mine = f"epoch_us(event_at) <= {newest_us} AND id_key IN (SELECT id_key FROM"
        if files := [f for b in sorted(buckets) for f in self._archive.files(b)]:
            sources.append(f"SELECT * FROM {_parts(files)} WHERE {mine} keys_)")
        strays = [f for b in range(N_BUCKETS) if has_owned and b not in buckets for f in self._archive.files(b)]
        if strays:
            sources.append(f"SELECT * FROM {_parts(strays)} WHERE {mine} owned_)")
        return f"""
            SELECT coalesce(owner, {_UNCLAIMED}) AS customer_id, coalesce(from_us, {EVER[0]}) AS from_us,
              coalesce(to_us, {EVER[1]}) AS to_us, once.* EXCLUDE (id_key)
            FROM (
              SELECT {_COLUMNS} FROM (SELECT DISTINCT ON (message_id) * EXCLUDE (body) FROM (
                {" UNION ALL BY NAME ".join(sources)}
              ))
            ) AS once LEFT JOIN owned_ ON owned_.id_key = once.id_key
        """


def _zone_spans(connection: Any, asked: Any) -> list[list[Any]] | None:
    """The offsets of every zone the events name over the years asked for, as columns; null when they name none."""
    named = connection.execute(
        "SELECT DISTINCT unnest([zone, zone_trait]) AS zone FROM e WHERE zone IS NOT NULL OR zone_trait IS NOT NULL"
    ).fetchall()
    years = [from_us(int(us)).year for us in (asked["at_us"].min(), asked["at_us"].max())]
    spans = [(zone, *span) for (zone,) in named if zone for span in offsets(zone, years[0], years[-1])]
    return [list(column) for column in zip(*spans, strict=True)] or None


def _finished(table: Any) -> Any:
    """The query's answer as a frame, its histograms smoothed."""
    here = {name: feature for name, feature in HISTOGRAMS.items() if f"{name}_slots" in table.column_names}
    found = table.drop_columns([f"{name}_{it}" for name in here for it in ("slots", "weights")]).to_pandas()
    for name, feature in here.items():
        slots, weights = (_lists(table.column(f"{name}_{it}")) for it in ("slots", "weights"))
        found[name] = list(smoothed_rows(slots, weights, feature.size))
    return found


def _lists(column: Any) -> list[Any]:
    held: list[Any] = column.to_pandas().tolist()
    return held


def _microseconds(instants: Any) -> Any:
    """A pandas column of aware instants as int64 microseconds since 1970."""
    import pandas as pd

    column = pd.Series(pd.to_datetime(instants))
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        raise ValueError("`at` must hold aware UTC instants")
    return column.dt.tz_convert("UTC").dt.as_unit("us").astype("int64").to_numpy()


def _parts(files: Sequence[str]) -> str:
    paths = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    return f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"
