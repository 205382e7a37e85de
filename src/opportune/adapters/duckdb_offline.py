"""Point-in-time features by DuckDB over archive Parquet plus ledger tail, one customer bucket at a time."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opportune.adapters.archive_rows import schema, table_of
from opportune.adapters.feast_repo import Place
from opportune.adapters.parquet_archive import N_BUCKETS, ParquetArchive, bucket_of
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.identity import customer_id_of, spans
from opportune.domain.instants import from_us, to_us
from opportune.features.catalog import NAMES
from opportune.features.hours import smoothed_rows
from opportune.features.measures import COLUMNS
from opportune.features.sql import HISTOGRAMS, features_sql
from opportune.features.zones import offsets

_EVER = (-(2**62), 2**62)
#: The customer of an identity key that no claim has touched: domain.identity.customer_id_of in SQL.
_UNCLAIMED = (
    "CASE WHEN starts_with(once.id_key, 'u:') THEN substr(once.id_key, 3) ELSE 'anon:' || substr(once.id_key, 3) END"
)
_COLUMNS = "id_key, name, origin, epoch_us(event_at) AS us, epoch_us(known_at) AS known_us, " + ", ".join(COLUMNS)
#: Identity spans: key -> (customer id, from, to) with instants in microseconds, [from, to).
Owners = dict[str, list[tuple[str, int, int]]]


class DuckDbOffline:
    """Implements ports.OfflineFeatures. Memory is bounded by one bucket (1/16 of the customers) plus the tail."""

    def __init__(self, home: Path, n_threads: int | None = None, place: Place | None = None) -> None:
        self._home, self._place = home, place
        self._archive = ParquetArchive(home)
        self._n_threads = n_threads

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
        sql, owners = features_sql(asked_names), _owners(claims)
        tails = _by_bucket(tail, owners)
        self._archive.measure_anew()
        parts = []
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
            if self._n_threads is not None:
                connection.execute(f"SET threads = {int(self._n_threads)}")
            for bucket, part in asked.groupby(buckets):
                mine = tails.get(int(str(bucket)), [])
                found = self._bucket(connection, int(str(bucket)), part, mine, owners, sql)
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

    def _bucket(
        self, connection: Any, bucket: int, asked: Any, tail: list[tuple[Event, str]], owners: Owners, sql: str
    ) -> Any:
        """Features of the asked rows of one bucket: what a cluster would run as one task."""
        import pyarrow as pa

        mine = [
            (key, customer_id, start, end)
            for key, held in owners.items()
            if any(bucket_of(customer_id) == bucket for customer_id, _, _ in held)
            for customer_id, start, end in held
        ]
        keys, customers, starts, ends = zip(*mine, strict=True) if mine else ((), (), (), ())
        owned = pa.table(
            {
                "id_key": pa.array(keys, pa.string()),
                "owner": pa.array(customers, pa.string()),
                "from_us": pa.array(starts, pa.int64()),
                "to_us": pa.array(ends, pa.int64()),
            }
        )
        empty = schema().empty_table()
        tables = {"asked": asked, "owned": owned, "tail": table_of(tail, with_body=False) if tail else empty}
        for name, table in tables.items():
            connection.register(f"{name}_", table)
        try:
            connection.execute("CREATE OR REPLACE TEMP VIEW r AS SELECT row_id, customer_id, at_us FROM asked_")
            connection.execute(f"CREATE OR REPLACE TEMP TABLE e AS {self._events_sql(bucket, sorted(set(keys)))}")
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE z (zone TEXT, from_us BIGINT, to_us BIGINT, offset_us BIGINT)"
            )
            if spans := _zone_spans(connection, asked):
                connection.execute("INSERT INTO z SELECT unnest(?), unnest(?), unnest(?), unnest(?)", spans)
            return _finished(connection.execute(sql).to_arrow_table())
        finally:
            for name in tables:
                connection.unregister(f"{name}_")

    def _events_sql(self, bucket: int, claimed: list[str]) -> str:
        """Each event once, with the spans in which it is its customer's.

        Events of a key that was merged lie in the bucket of whoever owned it when they were archived.
        """
        sources = ["SELECT * FROM tail_"]
        if files := self._archive.files(bucket):
            sources.append(f"SELECT * FROM {_parts(files)}")
        if claimed and (strays := [f for b in range(N_BUCKETS) if b != bucket for f in self._archive.files(b)]):
            sources.append(f"SELECT * FROM {_parts(strays)} WHERE id_key IN (SELECT id_key FROM owned_)")
        return f"""
            SELECT coalesce(owner, {_UNCLAIMED}) AS customer_id, coalesce(from_us, {_EVER[0]}) AS from_us,
              coalesce(to_us, {_EVER[1]}) AS to_us, once.* EXCLUDE (id_key)
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


def _owners(claims: Sequence[Claim]) -> Owners:
    """Who owns each claimed key and when; before its first span and in gaps a key is its own customer."""
    held: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for key, root, known_from, known_to in spans(claims):
        start = _EVER[0] if known_from is None else to_us(known_from)
        held[key].append((start, _EVER[1] if known_to is None else to_us(known_to), customer_id_of(root)))
    owners: Owners = {}
    for key, pieces in held.items():
        whole, at = [], _EVER[0]
        for start, end, customer_id in sorted(pieces):
            if start > at:
                whole.append((customer_id_of(key), at, start))
            whole.append((customer_id, start, end))
            at = end
        if at < _EVER[1]:
            whole.append((customer_id_of(key), at, _EVER[1]))
        owners[key] = whole
    return owners


def _by_bucket(tail: Sequence[tuple[Event, str]], owners: Owners) -> dict[int, list[tuple[Event, str]]]:
    """The tail by bucket: an event goes to the bucket of everybody who ever owned its key."""
    buckets: dict[str, set[int]] = {}
    split: dict[int, list[tuple[Event, str]]] = defaultdict(list)
    for event, customer_id in tail:
        key = event.id_key
        if key not in buckets:
            held = owners.get(key)
            buckets[key] = {bucket_of(c) for c, _, _ in held} if held else {bucket_of(customer_id_of(key))}
        for bucket in buckets[key]:
            split[bucket].append((event, customer_id))
    return split


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
