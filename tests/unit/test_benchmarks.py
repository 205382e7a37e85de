"""The feature benchmark measures what it says, at a size that costs nothing."""

from pathlib import Path

import pandas as pd
from benchmarks import features as bench
from benchmarks.features_plain import plain_sql
from tests.desks import FakeFeatureStore

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.identity import N_BUCKETS


def test_the_plain_query_and_ours_count_the_same_events(tmp_path: Path) -> None:
    """Every customer a row at each cut-off in both, and equal counts and sums wherever both have them."""
    import duckdb

    bench.write_archive(tmp_path, 3_000, 40)
    assert bench.run_ours(tmp_path, 40, 2) == bench.run_plain(tmp_path, 40, 2) == 80
    at = bench.cut_offs(1)[0]
    people = [f"c{i}" for i in range(40)]
    rows = pd.DataFrame({"customer_id": people, "at": pd.to_datetime([at] * 40, utc=True)})
    ours = DuckDbOffline(tmp_path).as_of(rows, [], []).set_index("customer_id")
    files = [f for b in range(N_BUCKETS) for f in ParquetArchive(tmp_path).files(b)]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("asked", pd.DataFrame({"customer_id": people}))
        plain = connection.execute(plain_sql(files, at)).df().set_index("customer_id").loc[people]
    assert list(ours["orders_n_all"]) == list(plain["order_completed_all"])
    assert ours["orders_n_all"].sum() > 100
    assert list(ours["spend_sum_all"]) == [float(v) for v in plain["order_completed_sum_all"]]
    off = (ours["views_n_30d"] - plain["product_viewed_30d"]).abs()  # our windows begin at a full hour
    assert off.max() <= 1


def test_ingestion_and_growth_are_measured_on_real_decisions(tmp_path: Path) -> None:
    """Each line has a figure, its reference and a ratio; nothing is left to be decided degraded."""
    lines, rows = bench.ingest_lines(tmp_path / "ingest", 200)
    assert lines[0][1].endswith("events/s")
    assert rows
    store = FakeFeatureStore()
    grown = list(bench.growth_lines(tmp_path, [20, 60], store, "memory"))
    assert [line[0].split(",")[0] for line in grown] == [
        "read and finish among 20 customers",
        "decision (dry run) among 20 customers",
        "read and finish among 60 customers",
        "decision (dry run) among 60 customers",
    ]
    assert len(store.rows) == 60
