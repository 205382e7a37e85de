"""Files of items."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opportune.adapters.item_files import read_items
from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.flows.update_items import NEWS, take_in_items

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = [
    {"item_id": "p1", "price": 19.9, "stock": 3, "category": "shoes", "attributes.colour": "red", "is_active": True},
    {"item_id": "p2", "price": 5.0, "stock": None, "category": None, "attributes.colour": None, "is_active": False},
]


def write(path: Path, kind: str) -> Path:
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    elif kind == "csv":
        lines = [";".join("" if v is None else str(v) for v in row.values()) for row in ROWS]
        path.write_text("\n".join([";".join(ROWS[0]), *lines]))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_same_items_come_out_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    """Cells of text become numbers and flags; empty ones say nothing; dotted columns are attributes."""
    ((updates, letters),) = read_items(write(tmp_path / "items", kind), NOW)
    assert letters == []
    assert [(u.item_id, dict(u.fields)) for u in updates] == [
        (
            "p1",
            {"price_minor": 1990, "stock": 3, "category": "shoes", "attributes": {"colour": "red"}, "is_active": True},
        ),
        ("p2", {"price_minor": 500, "is_active": False}),
    ]


def test_a_bad_row_becomes_a_dead_letter_and_nobody_hears_of_an_import(tmp_path: Path) -> None:
    """With its number and what to do; reading the file again changes nothing and adds no letter."""
    path = tmp_path / "items.csv"
    path.write_text("item_id,stock,updated_at\np1,3,2026-02-01T00:00:00Z\np2,many,\n,4,\n")
    ledger, clock = MemoryLedger(), FixedClock(NOW)
    for n_changed in (1, 0):
        report = take_in_items(read_items(path, NOW), ledger, clock)
        assert report == {"n_read": 3, "n_accepted": 1, "n_changed": n_changed, "n_refused": 2}
    with ledger.read() as uow:
        letters = uow.dead_letters.newest(9)
        assert uow.outbox.depth(NEWS) == 0
        assert uow.items.get(["p1"])["p1"].stock == 3
    assert len(letters) == 2
    assert {letter.message.split(":")[0] for letter in letters} == {"row 2", "row 3"}
