"""Retail tables: one order or refund per invoice, whatever the file looks like."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.retail_files import COLUMNS, RetailReader, read_retail
from opportune.domain.events import DeadLetter, Event, Origin
from opportune.flows.ingest import ingest
from opportune.playbook.load import load_files

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATA = Path(os.environ.get("OPPORTUNE_TEST_DATA", "../shared/data")) / "online_retail_dev.parquet"
DAY = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - as the file has it
Line = tuple[Any, ...]
LINES: list[Line] = [
    ("536365", "85123A", "HOLDER", 6, DAY, 2.55, "17850", "United Kingdom"),
    ("536366", "22633", "WARMER", 2, DAY.replace(minute=28), 1.85, "17850", "United Kingdom"),
    ("536365", "71053", "LANTERN", 6, DAY.replace(minute=27), 3.39, "17850", "United Kingdom"),
    ("536365", "71053", "LANTERN", 6, DAY.replace(minute=27), 3.39, "17850", "United Kingdom"),
    ("C536379", "D", "Discount", -1, DAY.replace(hour=9), 27.5, "14527", "France"),
    ("536400", "X", "nobody's", 1, DAY, 1.0, None, "France"),
]


def parquet(path: Path, lines: list[Line]) -> Path:
    columns = {name: [line[i] for line in lines] for i, name in enumerate(COLUMNS)}
    pq.write_table(pyarrow.table(columns), path)
    return path


def csv(path: Path, lines: list[Line], encoding: str = "utf-8") -> Path:
    rows = [",".join("" if x is None else str(x) for x in line) for line in lines]
    path.write_bytes("\r\n".join([",".join(COLUMNS), *rows]).encode(encoding))
    return path


def read(path: Path, size: int = 500) -> tuple[list[Event], list[DeadLetter], RetailReader]:
    reader = read_retail(path, NOW, size)
    events, letters = [], []
    for some, refused in reader:
        events += some
        letters += refused
    return events, letters, reader


@pytest.mark.parametrize("write", [parquet, csv])
def test_an_invoice_is_one_order_and_a_c_invoice_one_refund_with_positive_amounts(tmp_path: Path, write: Any) -> None:
    events, letters, reader = read(write(tmp_path / "retail", LINES))
    assert letters == []
    assert (reader.n_lines, reader.n_without_customer) == (6, 1)
    by_id = {e.message_id: e for e in events}
    assert set(by_id) == {"retail:536365:17850", "retail:536366:17850", "retail:C536379:14527"}
    order = by_id["retail:536365:17850"]
    assert (order.name, order.user_id, order.origin) == ("Order Completed", "17850", Origin.IMPORT)
    assert order.event_at == order.known_at == order.original_at == DAY.replace(tzinfo=UTC)
    assert order.properties["revenue"] == 55.98  # the line that stands there twice counts twice
    assert len(order.properties["products"]) == 3
    assert order.properties["products"][0] == {"product_id": "85123A", "name": "HOLDER", "quantity": 6, "price": 2.55}
    refund = by_id["retail:C536379:14527"]
    assert (refund.name, refund.properties["revenue"]) == ("Order Refunded", 27.5)
    assert refund.properties["products"][0]["quantity"] == 1


def test_the_published_csv_is_read_with_its_dates_and_its_latin_1(tmp_path: Path) -> None:
    line = ("536365", "85123A", "SET OF 6 \xa31 MUGS", 6, "12/1/2010 8:26", 2.55, "17850.0", "EIRE")
    (event,), _, _ = read(csv(tmp_path / "a.csv", [line], "latin-1"))
    assert event.event_at == DAY.replace(tzinfo=UTC)
    assert event.user_id == "17850"
    assert event.properties["products"][0]["name"] == "SET OF 6 \xa31 MUGS"


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("Quantity", "many", "row_invalid"),
        ("Quantity", "1.5", "row_invalid"),
        ("UnitPrice", "free", "row_invalid"),
        ("UnitPrice", "nan", "row_invalid"),
        ("UnitPrice", "1e999", "row_invalid"),
        ("InvoiceDate", "someday", "timestamp_invalid"),
        ("InvoiceDate", "1960-01-01", "before_1970"),
        ("InvoiceNo", None, "row_invalid"),
        ("StockCode", "a\x00b", "text_invalid"),
        ("CustomerID", "9" * 300, "id_too_long"),
        ("Quantity", -6, "row_invalid"),
    ],
)
def test_a_bad_line_is_a_dead_letter_that_names_the_column(tmp_path: Path, column: str, value: Any, code: str) -> None:
    bad = tuple(value if name == column else cell for name, cell in zip(COLUMNS, LINES[1], strict=True))
    path = csv(tmp_path / "a.csv", [bad, LINES[0]])
    events, letters, _ = read(path)
    assert [x.code for x in letters] == [code]
    assert letters[0].source == "a.csv"
    assert [e.properties["order_id"] for e in events if e.properties["revenue"] >= 0] == ["536365"]
    assert [x.letter_id for x in read(path)[1]] == [x.letter_id for x in letters]


def test_a_table_without_the_columns_says_which(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("InvoiceNo,Quantity\n1,2\n")
    with pytest.raises(ValueError, match=r"no column StockCode, .*Country: a retail table has"):
        read(path)
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"b\.parquet"):
        read(broken)


def test_reading_the_same_file_again_stores_nothing_twice(tmp_path: Path) -> None:
    path, ledger, playbook = parquet(tmp_path / "a.parquet", LINES), MemoryLedger(), load_files({"p.yaml": b"{}"})

    class Still:
        def now(self) -> datetime:
            return NOW

    counts = []
    for _ in range(2):
        for events, letters in read_retail(path, NOW, 2):
            report = ingest(events, letters, ledger, playbook, Still())
            counts.append((report.n_accepted, report.n_duplicate))
    assert counts == [(2, 0), (1, 0), (0, 2), (0, 1)]


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the real data files are not here (OPPORTUNE_TEST_DATA)")
def test_the_real_table_gives_every_invoice_once_and_all_its_money() -> None:
    events, letters, reader = read(DATA)
    assert letters == []
    assert (reader.n_lines, reader.n_without_customer) == (165_422, 0)
    assert len({e.message_id for e in events}) == len(events) == 9_676
    assert sum(len(e.properties["products"]) for e in events) == 165_422
    assert sum(e.name == "Order Refunded" for e in events) == 1_689
    table = pq.read_table(DATA, columns=["Quantity", "UnitPrice"]).to_pandas()
    money = sum(e.properties["revenue"] * (1 if e.name == "Order Completed" else -1) for e in events)
    assert money == pytest.approx(float((table.Quantity * table.UnitPrice).sum()), abs=0.01)
