"""Any table by a declared column mapping: the same events from CSV, JSON lines and Parquet; bad rows say why."""

import gzip
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from opportune.adapters.mapped_files import read_mapped
from opportune.domain.events import DeadLetter, Event, EventKind
from opportune.playbook.mapping import ColumnMapping, parse_mapping
from opportune.playbook.problems import PlaybookInvalid

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MAPPING = b"""
event_column: kind
event_names: {buy: Order Completed, add: Product Added, noise: null}
user_id: who
timestamp: at
zone: Europe/Berlin
properties: {order_id: number, total: amount}
product: {product_id: sku}
traits: {email: mail}
types: {amount: number}
"""
ROWS = [
    {
        "kind": "buy",
        "who": "7",
        "at": "2026-01-05 10:00",
        "number": "o1",
        "amount": "1,012.5",
        "sku": "p1",
        "mail": "a@x.org",
    },
    {"kind": "add", "who": "8", "at": "2026-07-05T10:00:00Z", "number": "", "amount": "", "sku": "p2", "mail": ""},
    {"kind": "noise", "who": "8", "at": "2026-01-05 10:00", "number": "", "amount": "", "sku": "", "mail": ""},
    {"kind": "buy", "who": "", "at": "2026-01-05 10:00", "number": "o2", "amount": "3", "sku": "", "mail": ""},
    {"kind": "buy", "who": "9", "at": "yesterday", "number": "o3", "amount": "3", "sku": "", "mail": ""},
    {"kind": "buy", "who": "9", "at": "2026-01-05 10:00", "number": "o4", "amount": "12,5", "sku": "", "mail": ""},
]


def mapping(text: bytes = MAPPING) -> ColumnMapping:
    return parse_mapping(text, "map.yaml")


def written(folder: Path, form: str) -> Path:
    path = folder / f"rows.{form}"
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif form == "csv":
        cells = [",".join(f'"{v}"' for v in row.values()) for row in ROWS]
        path.write_text("\n".join([",".join(ROWS[0]), *cells]) + "\n")
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(written(folder, "csv").read_bytes()))
    else:
        path.write_bytes(b"\n".join(orjson.dumps(row) for row in ROWS))
    return path


def read(path: Path, how: ColumnMapping, size: int = 1000) -> tuple[list[Event], list[DeadLetter]]:
    batches = list(read_mapped(path, how, NOW, size))
    return [e for b in batches for e in b[0]], [x for b in batches for x in b[1]]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "parquet"])
def test_rows_become_events_whatever_the_file_is(form: str, tmp_path: Path) -> None:
    """Names, zones, types, products and traits as the mapping says; bad rows name their number and column."""
    events, letters = read(written(tmp_path, form), mapping())
    who, bought, added = events
    assert (who.kind, who.user_id, who.traits) == (EventKind.IDENTIFY, "7", {"email": "a@x.org"})
    assert (bought.name, bought.event_at) == ("Order Completed", datetime(2026, 1, 5, 9, tzinfo=UTC))
    assert bought.properties == {"order_id": "o1", "total": 1012.5, "products": [{"product_id": "p1"}]}
    assert (added.name, added.properties, "future" in added.flags) == ("Product Added", {"product_id": "p2"}, True)
    assert [(x.index, x.message.split(": ")[0], x.code) for x in letters] == [
        (4, "row 4", "id_missing"),
        (5, "row 5", "timestamp_invalid"),
        (6, "row 6", "row_invalid"),
    ]
    assert "column 'amount': '12,5' is no number" in letters[2].message


def test_reading_again_names_the_same_events_and_equal_rows_stay_two(tmp_path: Path) -> None:
    """Ids come from content, counted among equals, so that importing again stores nothing twice."""
    path = tmp_path / "t.csv"
    path.write_text("who,at\nc1,2026-01-01\nc1,2026-01-01\nc2,2026-01-01\n")
    how = mapping(b"event: Visit\nuser_id: who\ntimestamp: at")
    first, again = read(path, how)[0], read(path, how, 1)[0]
    assert [e.message_id for e in first] == [e.message_id for e in again]
    assert len({e.message_id for e in first}) == 3


def test_european_numbers_and_own_times_are_declared(tmp_path: Path) -> None:
    """Decimal comma, epoch milliseconds and patterns; nothing is guessed."""
    path = tmp_path / "t.csv"
    path.write_text("who;at;sum\nc1;1767222000000;1.234,50\n")
    text = b"event: E\nuser_id: who\ntimestamp: at\ntimestamp_format: unix_ms\nproperties: {v: sum}\n"
    text += b"types: {sum: number}\ndecimal: ','\ndelimiter: ';'"
    [event] = read(path, mapping(text))[0]
    assert (event.properties["v"], event.event_at) == (1234.5, datetime(2025, 12, 31, 23, tzinfo=UTC))


def test_a_missing_column_is_named_with_its_key_and_the_nearest_one(tmp_path: Path) -> None:
    """Before anything is imported."""
    path = tmp_path / "t.csv"
    path.write_text("customer,at\n")
    with pytest.raises(ValueError, match=r"no column 'custmer' \(mapping: user_id\); did you mean `customer`"):
        read(path, mapping(b"event: E\nuser_id: custmer\ntimestamp: at"))


def test_a_mapping_says_everything_that_is_wrong_with_it_and_where() -> None:
    """File, line and key, as for a playbook."""
    with pytest.raises(PlaybookInvalid) as found:
        mapping(b"event: E\nusr_id: who\ntimestamp: at\nzone: Mars/Phobos\n")
    said = [str(p) for p in found.value.problems]
    assert any(s.startswith("map.yaml:2: usr_id: is no key of a mapping") for s in said)
    assert any("map.yaml:4: zone: 'Mars/Phobos' is no zone" in s for s in said)
    with pytest.raises(PlaybookInvalid, match="somebody must own the event"):
        mapping(b"event: E\ntimestamp: at")


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """12,000 rows cost no more than a few batches of a thousand."""
    path = tmp_path / "t.csv"
    with path.open("w") as file:
        file.write("who,at\n")
        file.writelines(f"c{n},2026-01-01T00:00:{n % 60:02}\n" for n in range(12_000))
    how = mapping(b"event: Visit\nuser_id: who\ntimestamp: at")
    tracemalloc.start()
    n = sum(len(events) for events, _ in read_mapped(path, how, NOW))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 12_000
    assert peak < 10_000_000
