"""The archive: events as Parquet, one folder per customer bucket, with what was measured on each as columns."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from opportune.domain.events import Event
from opportune.features.measures import COLUMNS, Measures, extract

#: Fixed for the life of an archive: a customer's events are all in one bucket, whatever the number of customers.
N_BUCKETS = 16

_TIMES = ("original_at", "sent_at", "received_at", "event_at", "known_at", "ingested_at")
_TEXTS = ("message_id", "id_key", "customer_id", "kind", "name", "origin")


def bucket_of(customer_id: str) -> int:
    """The bucket of a customer, 0..15: a stable hash, the same in every process."""
    return hashlib.blake2b(customer_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()[0] % N_BUCKETS


class ParquetArchive:
    """Parquet files in `home/archive/events/bucket=NN/part-<hash of the cursor>.parquet`.

    One atomic write per (append, bucket). A part that exists is left alone, so an append that was cut off is
    finished by appending the same cursor again.
    """

    def __init__(self, home: Path) -> None:
        self._root = home / "archive" / "events"

    def append(self, events: Sequence[tuple[Event, str]], cursor: str) -> None:
        """Write (event, customer id) pairs. Idempotent per cursor. Raises OSError when the disk refuses."""
        import pyarrow.parquet as pq

        name = f"part-{hashlib.sha256(cursor.encode()).hexdigest()[:24]}.parquet"
        by_bucket: dict[int, list[tuple[Event, str]]] = defaultdict(list)
        for event, customer_id in events:
            by_bucket[bucket_of(customer_id)].append((event, customer_id))
        for bucket, pairs in sorted(by_bucket.items()):
            folder = self._folder(bucket)
            path = folder / name
            if path.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{name}.{os.getpid()}.draft"
            pq.write_table(table_of(pairs), draft, compression="zstd")
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(path)

    def files(self, bucket: int) -> list[str]:
        """Paths of the finished parts of one bucket, in a fixed order."""
        return sorted(str(path) for path in self._folder(bucket).glob("part-*.parquet"))

    def _folder(self, bucket: int) -> Path:
        return self._root / f"bucket={bucket:02d}"


def schema() -> Any:
    """The Arrow schema of a part: envelope, measures, and the rest of the envelope as JSON in `body`."""
    import pyarrow as pa

    kinds = {
        "value_minor": pa.int64(),
        "price_minor": pa.int64(),
        "quantity": pa.int32(),
        "is_machine": pa.bool_(),
    }
    return pa.schema(
        [(name, pa.string()) for name in _TEXTS]
        + [(name, pa.timestamp("us", tz="UTC")) for name in _TIMES]
        + [(name, kinds.get(name, pa.string())) for name in COLUMNS]
        + [("body", pa.binary())]
    )


def table_of(pairs: Sequence[tuple[Event, str]], with_body: bool = True) -> Any:
    """An Arrow table of (event, customer id) pairs in the archive's schema; `body` null when not asked for."""
    import pyarrow as pa

    measured: list[Measures] = [extract(event) for event, _ in pairs]
    columns: dict[str, list[Any]] = {
        "message_id": [event.message_id for event, _ in pairs],
        "id_key": [event.id_key for event, _ in pairs],
        "customer_id": [customer_id for _, customer_id in pairs],
        "kind": [event.kind.value for event, _ in pairs],
        "name": [event.name for event, _ in pairs],
        "origin": [event.origin.value for event, _ in pairs],
        "body": [_body(event) if with_body else None for event, _ in pairs],
    }
    for name in _TIMES:
        columns[name] = [getattr(event, name) for event, _ in pairs]
    for name in COLUMNS:
        columns[name] = [getattr(measures, name) for measures in measured]
    return pa.table({name: columns[name] for name in schema().names}, schema=schema())


def _body(event: Event) -> bytes:
    return orjson.dumps(
        {
            "user_id": event.user_id,
            "anonymous_id": event.anonymous_id,
            "previous_id": event.previous_id,
            "group_id": event.group_id,
            "properties": event.properties,
            "traits": event.traits,
            "context": event.context,
            "flags": event.flags,
        },
        option=orjson.OPT_SORT_KEYS,
    )
