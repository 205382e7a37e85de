"""Retail transaction tables (Parquet or CSV) -> one Order Completed or Order Refunded per invoice, in bounded memory.

Columns: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country. An invoice number
that begins with C is a refund: its quantities and revenue become positive. `InvoiceDate` has no zone and is taken as
UTC; CSV may write it ISO 8601 or as the published table does (`12/1/2010 8:26`, month first). The date of an invoice is
that of its earliest line. Lines without CustomerID belong to nobody: skipped and counted. Lines that repeat exactly are
kept: the till wrote them so, they are lines of the same invoice. The message id is made of invoice and customer, so
that reading the file again stores nothing twice. No currency is stated: amounts are in the installation's own.

The lines of one invoice may be spread over the file as long as fewer than `OPEN_INVOICES` other invoices lie between.
"""

import csv
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import orjson

from opportune.domain.envelopes import FUTURE_AFTER, MAX_ID
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.instants import EPOCH
from opportune.domain.refusals import MAX_EVENT_BYTES, RefusalCode, Refused, is_clean_text, shown

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
BATCH = 500
OPEN_INVOICES = 2000
_ROWS = 20_000
_US_DATE = "%m/%d/%Y %H:%M"

Batch = tuple[list[Event], list[DeadLetter]]
Row = tuple[Any, ...]


@dataclass(slots=True)
class _Invoice:
    number: str
    customer: str
    at: datetime
    country: str | None
    products: list[dict[str, Any]] = field(default_factory=list)
    revenue: Decimal = Decimal(0)


class RetailReader(Iterator[Batch]):
    """Batches of (events, dead letters); beside them the counts so far, in lines."""

    def __init__(self, path: Path, now: datetime, batch_size: int = BATCH) -> None:
        self.n_lines = 0
        self.n_without_customer = 0
        self._path, self._now, self._batch_size = path, now, batch_size
        self._open: OrderedDict[tuple[str, str], _Invoice] = OrderedDict()
        self._batches = self._read()

    def __next__(self) -> Batch:
        return next(self._batches)

    def _read(self) -> Iterator[Batch]:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for row in _rows(self._path):
            index = self.n_lines
            self.n_lines += 1
            try:
                if not self._take(row):
                    self.n_without_customer += 1
            except Refused as refused:
                letters.append(self._letter(index, row, refused))
            if len(self._open) > OPEN_INVOICES:
                self._close(self._open.popitem(last=False)[1], events, letters)
            if len(events) + len(letters) >= self._batch_size:
                yield events, letters
                events, letters = [], []
        while self._open:
            self._close(self._open.popitem(last=False)[1], events, letters)
            if len(events) + len(letters) >= self._batch_size:
                yield events, letters
                events, letters = [], []
        if events or letters:
            yield events, letters

    def _take(self, row: Row) -> bool:
        """Add one line to its invoice; false when it has no customer. Raises Refused."""
        number, stock, description, quantity, at, price, customer, country = row
        who = _label(customer, "CustomerID")
        if who is None:
            return False
        invoice_no = _label(number, "InvoiceNo")
        if invoice_no is None:
            raise Refused(RefusalCode.ROW_INVALID, "InvoiceNo is empty: every line needs its invoice")
        units, each, happened_at = _units(quantity), _amount(price), _instant(at)
        if happened_at < EPOCH:
            raise Refused(RefusalCode.BEFORE_1970, f"InvoiceDate '{shown(at)}' lies before 1970: correct it")
        is_refund = invoice_no[0] in "Cc"
        product = {
            "product_id": _label(stock, "StockCode"),
            "name": _label(description, "Description"),
            "quantity": abs(units) if is_refund else units,
            "price": float(each),
        }
        where = _label(country, "Country")
        key = (invoice_no, who)
        invoice = self._open.get(key)
        if invoice is None:
            invoice = self._open[key] = _Invoice(invoice_no, who, happened_at, where)
        elif happened_at < invoice.at:
            invoice.at = happened_at
        self._open.move_to_end(key)
        invoice.products.append(product)
        invoice.revenue += each * units
        return True

    def _close(self, invoice: _Invoice, events: list[Event], letters: list[DeadLetter]) -> None:
        is_refund = invoice.number[0] in "Cc"
        revenue = abs(invoice.revenue) if is_refund else invoice.revenue
        if revenue < 0:
            refused = Refused(
                RefusalCode.ROW_INVALID, f"invoice {invoice.number} sums up below 0: a refund's number begins with C"
            )
            row = (invoice.number, None, None, None, invoice.at.isoformat(), str(revenue), invoice.customer, None)
            letters.append(self._letter(None, row, refused))
            return
        event_at = min(invoice.at, self._now)
        properties: dict[str, Any] = {
            "order_id": invoice.number,
            "revenue": float(round(revenue, 2)),
            "products": invoice.products,
        }
        if invoice.country is not None:
            properties["country"] = invoice.country
        events.append(
            Event(
                message_id=_message_id(invoice.number, invoice.customer),
                kind=EventKind.TRACK,
                name="Order Refunded" if is_refund else "Order Completed",
                user_id=invoice.customer,
                anonymous_id=None,
                original_at=invoice.at,
                sent_at=None,
                received_at=self._now,
                event_at=event_at,
                known_at=event_at,
                ingested_at=self._now,
                origin=Origin.IMPORT,
                properties=properties,
                flags=("future",) if invoice.at - self._now > FUTURE_AFTER else (),
            )
        )

    def _letter(self, index: int | None, row: Row, refused: Refused) -> DeadLetter:
        named = {name: None if value is None else shown(value) for name, value in zip(COLUMNS, row, strict=True)}
        body = orjson.dumps(named)[:MAX_EVENT_BYTES]
        fingerprint = hashlib.sha256(f"{self._path.name}\x00{index}\x00".encode() + body).hexdigest()[:40]
        return DeadLetter(
            letter_id=f"row:{fingerprint}",
            received_at=self._now,
            source=self._path.name,
            index=index,
            message_id=None,
            code=refused.code.value,
            message=refused.message,
            body=body,
        )


def read_retail(path: Path, now: datetime, batch_size: int = BATCH) -> RetailReader:
    """Read a table. Raises OSError when it cannot be opened, ValueError when columns are missing or it is damaged."""
    return RetailReader(path, now, batch_size)


def _rows(path: Path) -> Iterator[Row]:
    """Rows as tuples in the order of COLUMNS, whatever order the file has."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    yield from _parquet_rows(path) if is_parquet else _csv_rows(path)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            _need(table.schema_arrow.names, path)
            for batch in table.iter_batches(batch_size=_ROWS, columns=list(COLUMNS)):
                columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in COLUMNS]
                yield from zip(*columns, strict=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path.name}: not a Parquet file that can be read ({error})") from None


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        reader = csv.reader(_text_lines(file))
        try:
            head = [name.strip() for name in next(reader, [])]
            _need(head, path)
            at = [head.index(name) for name in COLUMNS]
            for cells in reader:
                if cells:
                    yield tuple(cells[i] if i < len(cells) and cells[i] != "" else None for i in at)
        except csv.Error as error:
            raise ValueError(f"{path.name}: not a CSV file that can be read ({error})") from None


def _text_lines(file: Iterable[bytes]) -> Iterator[str]:
    """UTF-8, and line by line Latin-1 where it is not (the published table is)."""
    for i, line in enumerate(file):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        yield text.removeprefix("\ufeff") if i == 0 else text


def _need(names: Sequence[str], path: Path) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ValueError(f"{path.name}: no column {', '.join(missing)}: a retail table has {', '.join(COLUMNS)}")


def _label(value: Any, column: str) -> str | None:
    """Text of a cell; numbers without `.0`; null when empty. Raises Refused."""
    if type(value) is str and len(value) <= MAX_ID and value.isascii() and "\x00" not in value:
        return (value.strip().removesuffix(".0") if column == "CustomerID" else value.strip()) or None
    if value is None or value != value:  # NaN is how some writers say empty
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if column == "CustomerID":
        text = text.removesuffix(".0")
    if not is_clean_text(text):
        raise Refused(RefusalCode.TEXT_INVALID, f"{column} holds a NUL character or a lone surrogate: remove it")
    if len(text) > MAX_ID and column != "Description":
        raise Refused(RefusalCode.ID_TOO_LONG, f"{column} has {len(text)} characters: at most {MAX_ID}")
    return text or None


def _units(value: Any) -> int:
    try:
        units = int(value)
        if abs(units) < 2**31 and float(value) == units:
            return units
    except (TypeError, ValueError, OverflowError):
        pass
    raise Refused(RefusalCode.ROW_INVALID, f"Quantity '{shown(value)}' is no whole number of at most 31 bits")


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
        if amount.is_finite() and abs(amount) < 10**12:
            return amount
    except InvalidOperation:
        pass
    raise Refused(RefusalCode.ROW_INVALID, f"UnitPrice '{shown(value)}' is no amount")


def _instant(value: Any) -> datetime:
    try:
        at = value if isinstance(value, datetime) else _parse(str(value).strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(
            RefusalCode.TIMESTAMP_INVALID, f"InvoiceDate '{shown(value)}' is no date: write it like 2011-08-31 10:05"
        ) from None


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.strptime(text, _US_DATE)  # noqa: DTZ007 - its zone is added by the caller


def _message_id(number: str, customer: str) -> str:
    text = f"retail:{number}:{customer}"
    return text if len(text) <= 100 else "retail:" + hashlib.sha256(text.encode()).hexdigest()
