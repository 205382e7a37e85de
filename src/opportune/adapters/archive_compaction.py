"""Compaction: many small Parquet parts of a bucket become one file, and no reader ever sees an event missing or twice.

The commit is one rename of the bucket's listing, which names the merged files that count and the files they replace.
Replaced files stay on disk for an hour for readers that listed them before; then the next compaction deletes them. A
merged file that no listing names was left by a crash: readers ignore it and the next compaction deletes it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from opportune.adapters.archive_rows import MARK, copy_measured, is_current
from opportune.adapters.feast_repo import exclusive
from opportune.domain.instants import HOUR_US, to_us

#: Which files of a bucket count after a compaction.
LISTING = "compacted.json"
#: Files of this size and more are left as they are.
BIG_BYTES = 256 * 1024 * 1024
GRACE_US = HOUR_US


def files_of(folder: Path) -> list[Path]:
    """The files of one bucket that count, in a fixed order."""
    listing = _read_listing(folder)  # before the parts: what is compacted meanwhile stays on disk for an hour
    parts = {path.name for path in folder.glob("part-*.parquet")} - listing["replaced"].keys()
    return [folder / name for name in sorted(parts | set(listing["files"]))]


def compact(folders: Sequence[Path], unfinished: str, now: datetime, min_files: int) -> dict[str, int]:
    """See ParquetArchive.compact. Raises RuntimeError when a merged file is not what went in: nothing changed then."""
    count = {"n_before": 0, "n_after": 0, "n_events": 0}
    for folder in folders:
        with exclusive(folder / ".compacting"):
            _sweep(folder, now)
            _measure_anew(files_of(folder))
            files = files_of(folder)
            small = [p for p in files if p.name != unfinished and p.stat().st_size < BIG_BYTES]
            count["n_before"] += len(files)
            if len(small) >= max(min_files, 2):
                count["n_events"] += _merge(folder, small, now)
            count["n_after"] += len(files_of(folder))
    return count


def measure_anew(folder: Path) -> int:
    """Take the measures of a bucket's events anew where they were taken by other code; returns those events.

    The file keeps its name and its place: readers see the old one or the new one, whole.
    """
    if not any(not is_current(path) for path in files_of(folder)):
        return 0
    with exclusive(folder / ".compacting"):
        return _measure_anew(files_of(folder))


def _measure_anew(files: Sequence[Path]) -> int:
    n_events = 0
    for path in files:
        if not is_current(path):
            draft = path.with_name(f".anew-{path.name}.{os.getpid()}.draft")
            n_events += copy_measured(path, draft)
            _synced(draft)
            draft.replace(path)
    return n_events


def _merge(folder: Path, small: list[Path], now: datetime) -> int:
    """Write one file of the small ones and list it in their place; returns its number of events."""
    names = [path.name for path in small]
    name = f"whole-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:24]}.parquet"
    draft = folder / f".{name}.{os.getpid()}.draft"
    n_events = _write(small, draft)
    _synced(draft)
    draft.replace(folder / name)
    listing = _read_listing(folder)
    kept = [file for file in listing["files"] if file not in names]
    replaced = listing["replaced"] | dict.fromkeys(names, to_us(now))
    _list(folder, {"files": sorted([*kept, name]), "replaced": replaced})
    return n_events


def _write(small: list[Path], draft: Path) -> int:
    """Every event of the files once, ordered by identity so that readers of few customers skip most of it."""
    import duckdb

    source = "read_parquet($files, union_by_name = true, hive_partitioning = false)"
    files = {"files": [str(path) for path in small]}
    quoted = str(draft).replace("'", "''")
    with duckdb.connect() as connection:
        spill = str(draft.parent / ".spill").replace("'", "''")
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET temp_directory = '{spill}'")
        connection.execute(
            f"COPY (SELECT DISTINCT ON (message_id) * FROM {source} ORDER BY id_key, event_at, message_id) "
            f"TO '{quoted}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480, KV_METADATA {{{_marks()}}})",
            files,
        )
        counted: Any = connection.execute(f"SELECT count(DISTINCT message_id) FROM {source}", files).fetchone()
        written: Any = connection.execute("SELECT count(*) FROM read_parquet($draft)", {"draft": str(draft)}).fetchone()
    if counted[0] != written[0]:
        draft.unlink()
        raise RuntimeError(f"compaction of {draft.parent.name} wrote {written[0]} of {counted[0]} events: report this")
    return int(written[0])


def _marks() -> str:
    return ", ".join(f"'{key}': '{value}'" for key, value in MARK.items())


def _sweep(folder: Path, now: datetime) -> None:
    """Delete what was replaced long enough ago, and what a crash left."""
    listing = _read_listing(folder)
    old = [name for name, us in listing["replaced"].items() if us <= to_us(now) - GRACE_US]
    for name in old:
        (folder / name).unlink(missing_ok=True)
    if old:  # after the files are gone, never before: a part that is not listed as replaced counts
        _synced_folder(folder)
        _list(folder, {**listing, "replaced": {k: v for k, v in listing["replaced"].items() if k not in old}})
    named = {*listing["files"], *listing["replaced"]}
    for path in (p for left in ("whole-*.parquet", ".whole-*.draft", ".anew-*.draft") for p in folder.glob(left)):
        if path.name not in named:
            path.unlink()


def _read_listing(folder: Path) -> dict[str, Any]:
    """`files`: compacted files that count. `replaced`: name -> instant (microseconds) since when it does not count."""
    try:
        listing: dict[str, Any] = json.loads((folder / LISTING).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"files": [], "replaced": {}}
    return listing


def _list(folder: Path, listing: dict[str, Any]) -> None:
    draft = folder / f".{LISTING}.draft"
    draft.write_text(json.dumps(listing, sort_keys=True), encoding="utf-8")
    _synced(draft)
    draft.replace(folder / LISTING)
    _synced_folder(folder)


def _synced(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _synced_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
