"""Compaction: fewer files, the same events, whatever happens in between."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.contract.test_offline_online import frame, pairs_of
from tests.unit.features.naive import NOON, event

from opportune.adapters import archive_compaction
from opportune.adapters.archive_rows import schema
from opportune.adapters.duckdb_offline import GROUP_BYTES, DuckDbOffline
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.identity import N_BUCKETS, bucket_of

LOG = [
    event(f"m{i:03}", "Order Completed", NOON - timedelta(hours=i), f"c{i % 7}", revenue=i, nested={"a": [i, "é"]})
    for i in range(120)
]
PEOPLE = [f"c{i}" for i in range(7)]


def filled(home: Path, n_parts: int = 6) -> ParquetArchive:
    """The log in several appends, the first of them sent twice under another cursor, as after a restored ledger."""
    archive = ParquetArchive(home)
    step = len(LOG) // n_parts
    for i in range(n_parts):
        archive.append(pairs_of(LOG[i * step : (i + 1) * step]), f"cursor{i}")
    archive.append(pairs_of(LOG[:step]), "again")
    return archive


def ids_seen(archive: ParquetArchive) -> list[str]:
    """Message ids a reader meets, twice where it meets them twice."""
    found: list[str] = []
    for bucket in range(N_BUCKETS):
        if files := archive.files(bucket):
            found += [row[0] for row in duckdb.execute("SELECT message_id FROM read_parquet(?)", [files]).fetchall()]
    return sorted(found)


def by_id(events: list[Event]) -> list[Event]:
    """In one order."""
    return sorted(events, key=lambda e: e.message_id)


def test_archived_events_come_back_as_they_went_in(tmp_path: Path) -> None:
    """events_of gives whole envelopes, properties, times and all, of the keys asked for and of no others."""
    archive = filled(tmp_path)
    for _ in range(2):
        assert by_id(archive.events_of(["u:c1", "u:c2"], ["c1", "c2"])) == [e for e in LOG if e.user_id in ("c1", "c2")]
        assert archive.events_of(["u:nobody"], []) == []
        archive.compact("next", NOON)


def test_compaction_keeps_every_event_once_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """One file a bucket, the schema unchanged, events sent twice merged; running again does nothing."""
    archive = filled(tmp_path)
    before = DuckDbOffline(tmp_path).as_of(frame([(c, NOON) for c in PEOPLE]), [], [])
    assert len(ids_seen(archive)) == 140
    done = archive.compact("next", NOON)
    assert ids_seen(archive) == [e.message_id for e in LOG]
    assert done["n_before"] > done["n_after"] == len({bucket_of(c) for c in PEOPLE})
    assert done["n_events"] == len(LOG)
    files = [f for b in range(N_BUCKETS) for f in archive.files(b)]
    assert all(pq.read_schema(f).equals(schema()) for f in files)
    pd.testing.assert_frame_equal(DuckDbOffline(tmp_path).as_of(frame([(c, NOON) for c in PEOPLE]), [], []), before)
    again = archive.compact("next", NOON)
    assert again == {"n_before": done["n_after"], "n_after": done["n_after"], "n_events": 0}
    assert [f for b in range(N_BUCKETS) for f in archive.files(b)] == files


def test_a_reader_that_listed_the_files_before_can_still_read_them_for_an_hour(tmp_path: Path) -> None:
    """Replaced files are deleted by a later compaction only; what they held is never seen twice meanwhile."""
    archive = filled(tmp_path)
    listed = [f for b in range(N_BUCKETS) for f in archive.files(b)]
    archive.compact("next", NOON)
    archive.compact("next", NOON + timedelta(minutes=59))
    assert all(Path(f).exists() for f in listed)
    archive.compact("next", NOON + timedelta(hours=1))
    assert not any(Path(f).exists() for f in listed)
    assert ids_seen(archive) == [e.message_id for e in LOG]
    archive.append(pairs_of([event("new", "Page Viewed", NOON, "c1")]), "next")
    archive.compact("later", NOON + timedelta(hours=2))
    assert ids_seen(archive) == sorted(["new", *(e.message_id for e in LOG)])


def test_an_append_that_was_cut_off_is_finished_after_a_compaction(tmp_path: Path) -> None:
    """The parts of the cursor that comes next are left alone, so that appending it again doubles and loses nothing."""
    archive = filled(tmp_path, 3)
    more = pairs_of([event(f"n{i}", "Page Viewed", NOON, f"c{i}") for i in range(7)])
    archive.append([pair for pair in more if bucket_of(pair[1]) < 8], "next")  # cut off after half the buckets
    archive.compact("next", NOON)
    archive.append(more, "next")
    archive.compact("after", NOON + timedelta(hours=2))
    assert ids_seen(archive) == sorted([*(e.message_id for e, _ in more), *(e.message_id for e in LOG)])


@pytest.mark.parametrize("step", ["_write", "_synced", "_list", "_synced_folder"])
def test_a_crash_at_any_step_leaves_every_event_readable_once(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off before, at or after the commit, readers see the whole log; the next run finishes and cleans up."""
    archive = filled(tmp_path, 3)
    before = set(ids_seen(archive))

    def crash(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(archive_compaction, step, crash)
        with pytest.raises(OSError, match="no space"):
            archive.compact("next", NOON)
    assert set(ids_seen(archive)) == before == {e.message_id for e in LOG}
    archive.compact("next", NOON + timedelta(hours=2))
    archive.compact("next", NOON + timedelta(hours=4))
    assert ids_seen(archive) == [e.message_id for e in LOG]
    left = {p.name for p in (tmp_path / "archive").rglob("*") if p.is_file() and p.suffix in (".parquet", ".draft")}
    assert left == {Path(f).name for b in range(N_BUCKETS) for f in archive.files(b)}


def test_what_was_archived_before_a_merge_is_found_after_compaction(tmp_path: Path) -> None:
    """As-of before the merge sees two people, after it one, wherever the events lie."""
    log = [event("a", "Order Completed", NOON - timedelta(days=2), None, "x", revenue=5)]
    log.append(event("b", "Order Completed", NOON - timedelta(days=1), "c1", revenue=7))
    archive = ParquetArchive(tmp_path)
    archive.append(pairs_of(log[:1]), "one")
    archive.append(pairs_of(log[1:]), "two")
    at = NOON - timedelta(hours=1)
    link = Claim(message_id="l", from_key="a:x", into_key="u:c1", is_alias=False, event_at=at, known_at=at)
    rows = frame([("c1", NOON), ("c1", at - timedelta(minutes=1)), ("anon:x", at - timedelta(minutes=1))])
    for group_bytes in (0, GROUP_BYTES):
        found = DuckDbOffline(tmp_path, group_bytes=group_bytes).as_of(rows, [], [link])
        assert list(found["spend_sum_all"]) == [12.0, 7.0, 5.0]
        archive.compact("three", NOON)
    assert by_id(archive.events_of(["a:x", "u:c1"], ["c1", "anon:x"])) == log
