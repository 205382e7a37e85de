"""An archive of any size, written as files without an event ever being made: what offline features are measured on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from opportune.adapters.archive_rows import schema
from opportune.adapters.parquet_archive import ParquetArchive, part_name
from opportune.domain.identity import N_BUCKETS, bucket_of
from opportune.domain.instants import to_us

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN_DAYS = 360
#: Event name -> how often.
MIX = {
    "Product Viewed": 0.38, "Page Viewed": 0.25, "Product Added": 0.12, "Product Removed": 0.03,
    "Order Completed": 0.08, "Order Refunded": 0.01, "Message Sent": 0.06, "Email Opened": 0.05,
    "Email Link Clicked": 0.02,
}  # fmt: skip


def write_archive(home: Path, n_events: int, n_customers: int, seed: int = 5) -> None:
    """Events straight into the archive's files, as the archive itself would have written them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(seed)
    buckets = np.array([bucket_of(f"c{i}") for i in range(n_customers)])
    who = draw.integers(0, n_customers, n_events)
    at_us = to_us(END) - draw.integers(0, SPAN_DAYS * 86_400_000_000, n_events)
    names = draw.choice(np.array(list(MIX)), n_events, p=list(MIX.values()))
    price = draw.integers(100, 9_000, n_events)
    archive = ParquetArchive(home)
    for bucket in range(N_BUCKETS):
        mine = np.flatnonzero(buckets[who] == bucket)
        stamps = pa.array(at_us[mine], pa.timestamp("us", tz="UTC"))
        product = np.char.startswith(names[mine], "Product")
        given: dict[str, Any] = {
            "message_id": [f"m{i}" for i in mine],
            "id_key": [f"u:c{i}" for i in who[mine]],
            "customer_id": [f"c{i}" for i in who[mine]],
            "kind": ["track"] * len(mine),
            "name": names[mine],
            "origin": np.where(names[mine] == "Message Sent", "own", "live"),
            "value_minor": pa.array(price[mine], mask=~np.char.startswith(names[mine], "Order")),
            "price_minor": pa.array(price[mine], mask=~product),
            "quantity": pa.array((price[mine] % 3 + 1).astype(np.int32), mask=~product),
            "product_id": pa.array([f"p{i % 200}" for i in mine], mask=~product),
            "category": pa.array([f"g{i % 12}" for i in mine], mask=~product),
            "letter": pa.array([f"l{i % 9}" for i in mine], mask=np.char.startswith(names[mine], "P")),
            "channel": ["email"] * len(mine),
            "is_machine": [False] * len(mine),
        }
        columns = [
            stamps if pa.types.is_timestamp(f.type) else pa.array(given[f.name], f.type) if f.name in given
            else pa.nulls(len(mine), f.type)
            for f in schema()
        ]  # fmt: skip
        folder = archive._folder(bucket)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, schema=schema()), folder / part_name("bench"), compression="zstd")
