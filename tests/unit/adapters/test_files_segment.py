"""Files of JSON lines: streamed, imported as history, the same at every reading."""

import gzip
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opportune.adapters.segment_files import read_segment
from opportune.domain.events import DeadLetter, Event, Origin

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINE: dict[str, Any] = {
    "type": "track", "event": "X", "userId": "c", "messageId": "m", "timestamp": "2019-05-01T10:00:00Z",
}  # fmt: skip


def read(path: Path, size: int = 2000) -> tuple[list[Event], list[DeadLetter]]:
    events, letters = [], []
    for some, refused in read_segment(path, NOW, size):
        events += some
        letters += refused
    return events, letters


def write(path: Path, *lines: object) -> Path:
    text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n"
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_are_imported_under_their_own_time_however_old(tmp_path: Path, name: str) -> None:
    events, letters = read(write(tmp_path / name, LINE, "", {**LINE, "messageId": "m2"}))
    assert letters == []
    assert [e.message_id for e in events] == ["m", "m2"]
    first = events[0]
    assert first.origin is Origin.IMPORT
    assert first.event_at == first.known_at == datetime(2019, 5, 1, 10, tzinfo=UTC)
    assert first.ingested_at == first.received_at == NOW


def test_a_future_line_is_known_now(tmp_path: Path) -> None:
    (event,), _ = read(write(tmp_path / "a.jsonl", {**LINE, "timestamp": "2030-01-01T00:00:00Z"}))
    assert (event.event_at, event.flags) == (NOW, ("future",))


def test_sent_at_corrects_only_beside_received_at(tmp_path: Path) -> None:
    shifted = {**LINE, "sentAt": "2019-05-01T11:00:00Z"}
    events, _ = read(
        write(tmp_path / "a.jsonl", shifted, {**shifted, "messageId": "n", "receivedAt": "2019-05-02T11:00:00Z"})
    )
    assert events[0].event_at == datetime(2019, 5, 1, 10, tzinfo=UTC)
    assert events[1].event_at == datetime(2019, 5, 2, 10, tzinfo=UTC)


def test_a_line_without_message_id_is_named_by_its_content(tmp_path: Path) -> None:
    nameless = {k: v for k, v in LINE.items() if k != "messageId"}
    one, _ = read(write(tmp_path / "a.jsonl", nameless, {**nameless, "userId": "d"}))
    two, _ = read(write(tmp_path / "b.jsonl", LINE, nameless))
    assert one[0].message_id == two[1].message_id != one[1].message_id


def test_bad_lines_are_dead_letters_that_are_the_same_at_every_reading(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        "{",
        {**LINE, "timestamp": None},
        "7",
        {**LINE, "properties": {"a": "\x00"}},
        {**LINE, "properties": {"a": "x" * 40_000}},
        '{"a": NaN}',
        {**LINE, "timestamp": "1960-01-01T00:00:00Z"},
        "x" * 3_000_000,
        LINE,
    )
    events, letters = read(path)
    assert [x.code for x in letters] == [
        "line_not_json",
        "timestamp_missing",
        "not_an_object",
        "text_invalid",
        "event_too_large",
        "line_not_json",
        "before_1970",
        "event_too_large",
    ]
    assert [x.index for x in letters] == list(range(8))
    assert [e.message_id for e in events] == ["m"]
    assert all(len(x.body) <= 32 * 1024 for x in letters)
    assert [x.letter_id for x in read(path)[1]] == [x.letter_id for x in letters]


def test_damaged_gzip_says_where(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(LINE).encode() * 500)[:-20])
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz"):
        read(path)


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for i in range(6_000):
            file.write(json.dumps({**LINE, "messageId": f"m{i}", "properties": {"pad": "x" * 500}}) + "\n")
    tracemalloc.start()
    n = 0
    for events, _ in read_segment(path, NOW + timedelta(days=1), 200):
        assert len(events) <= 200
        n += len(events)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 6_000
    assert peak < 3 * 1024 * 1024
