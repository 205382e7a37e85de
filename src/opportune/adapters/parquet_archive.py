"""The archive: events as Parquet, one folder per customer bucket, with what was measured on each as columns."""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from opportune.adapters.archive_compaction import compact, files_of, measure_anew
from opportune.adapters.archive_rows import TIMES, event_of, table_of
from opportune.domain.events import Event
from opportune.domain.identity import N_BUCKETS, bucket_of, customer_id_of

log = logging.getLogger("opportune.archive")


class ParquetArchive:
    """Parquet files in `home/archive/events/bucket=NN/part-<hash of the cursor>.parquet`.

    One atomic write per (append, bucket). A part that exists is left alone, so an append that was cut off is
    finished by appending the same cursor again.
    """

    def __init__(self, home: Path) -> None:
        self._root = home / "archive" / "events"
        self._current: set[str] = set()  # files whose measures were seen to be those of this code

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

    def measure_anew(self) -> int:
        """Measure anew what was archived by code that measured otherwise; returns those events. Cheap when there is
        nothing to do. Raises OSError when the disk refuses: the old files are then whole, and still in their place.
        """
        n = 0
        for bucket in range(N_BUCKETS):
            if not self._current.issuperset(files := self.files(bucket)):
                n += measure_anew(self._folder(bucket))
                self._current.update(files)
        if n:
            log.warning("%d archived events were measured anew: an older version had archived them", n)
        return n

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
                f"{', '.join(f'epoch_us({name}) AS {name}' for name in TIMES)}, body "
                "FROM read_parquet($files, union_by_name = true) "
                "WHERE id_key BETWEEN $low AND $high AND id_key IN (SELECT unnest($keys))",
                {"files": files, "low": keys[0], "high": keys[-1], "keys": keys},
            ).fetchall()
        return [event_of(row) for row in found]

    def _folder(self, bucket: int) -> Path:
        return self._root / f"bucket={bucket:02d}"


def part_name(cursor: str) -> str:
    """The file name of the parts of one append."""
    return f"part-{hashlib.sha256(cursor.encode()).hexdigest()[:24]}.parquet"
