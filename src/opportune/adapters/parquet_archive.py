"""The archive: events as Parquet, one folder per customer bucket, with what was measured on each as columns."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from opportune.adapters.archive_compaction import compact, files_of
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.identity import N_BUCKETS, bucket_of, customer_id_of
from opportune.domain.instants import from_us
from opportune.features.measures import COLUMNS, KINDS, Measures, extract

_TIMES = ("original_at", "sent_at", "received_at", "event_at", "known_at", "ingested_at")
_TEXTS = ("message_id", "id_key", "customer_id", "kind", "name", "origin")


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

        name = part_name(cursor)
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
        """Paths of the finished files of one bucket, in a fixed order; each event once or, where sent twice, alike."""
        return [str(path) for path in files_of(self._folder(bucket))]

    def compact(self, cursor: str, now: datetime, min_files: int = 2) -> dict[str, int]:
        """Merge small files per bucket, leaving alone the part of an append of `cursor` that may be unfinished.

        Returns n_before and n_after (files that readers see) and n_events (in the files that were merged). Atomic per
        bucket; a second run finds nothing to do.
        """
        folders = [folder for b in range(N_BUCKETS) if (folder := self._folder(b)).is_dir()]
        return compact(folders, part_name(cursor), now, min_files)

    def events_of(self, id_keys: Collection[str], customer_ids: Collection[str]) -> list[Event]:
        """Every archived event of these identity keys, each once, in no particular order.

        `customer_ids`: everybody who may have owned one of the keys when it was archived.
        """
        import duckdb

        buckets = sorted({bucket_of(c) for c in (*customer_ids, *map(customer_id_of, id_keys))})
        files = [path for bucket in buckets for path in self.files(bucket)]
        if not files or not id_keys:
            return []
        keys = sorted(id_keys)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(
                "SELECT DISTINCT ON (message_id) message_id, kind, name, origin, "
                f"{', '.join(f'epoch_us({name}) AS {name}' for name in _TIMES)}, body "
                "FROM read_parquet($files, union_by_name = true) "
                "WHERE id_key BETWEEN $low AND $high AND id_key IN (SELECT unnest($keys))",
                {"files": files, "low": keys[0], "high": keys[-1], "keys": keys},
            ).fetchall()
        return [_event(row) for row in found]

    def _folder(self, bucket: int) -> Path:
        return self._root / f"bucket={bucket:02d}"


def part_name(cursor: str) -> str:
    """The file name of the parts of one append."""
    return f"part-{hashlib.sha256(cursor.encode()).hexdigest()[:24]}.parquet"


def schema() -> Any:
    """The Arrow schema of a part: envelope, measures, and the rest of the envelope as JSON in `body`."""
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(), "text": pa.string()}
    return pa.schema(
        [(name, pa.string()) for name in _TEXTS]
        + [(name, pa.timestamp("us", tz="UTC")) for name in _TIMES]
        + [(name, kinds[KINDS.get(name, "text")]) for name in COLUMNS]
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


def _event(row: Sequence[Any]) -> Event:
    """The event of an archived row: message_id, kind, name, origin, six instants in microseconds, body."""
    body = orjson.loads(row[-1])
    times: dict[str, Any] = {
        name: None if us is None else from_us(us) for name, us in zip(_TIMES, row[4:-1], strict=True)
    }
    return Event(
        message_id=row[0],
        kind=EventKind(row[1]),
        name=row[2],
        origin=Origin(row[3]),
        **{**body, "flags": tuple(body["flags"])},
        **times,
    )
