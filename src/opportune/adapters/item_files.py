"""Files of items: JSON lines (also gzip), CSV or Parquet, read in bounded memory.

Columns are the fields of an item (`item_id price_minor stock category title url image_url is_active updated_at`, and
`price` in major units); `attributes.<name>` goes into the attributes. An empty cell says nothing of its field.
"""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from opportune.adapters.table_rows import Row, delimiter_of, rows_of
from opportune.domain.events import DeadLetter
from opportune.domain.instants import format_instant
from opportune.domain.item_updates import ItemRefused, read_update
from opportune.domain.items import ItemUpdate
from opportune.domain.refusals import MAX_EVENT_BYTES, RefusalCode, Refused, shown

BATCH = 1000
_WHOLE = ("price_minor", "stock")
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_OWN = "attributes."

Batch = tuple[list[ItemUpdate], list[DeadLetter]]


def read_items(path: Path, now: datetime, batch_size: int = BATCH) -> Iterator[Batch]:
    """Batches of (updates, dead letters). `now`: when the file is read, and what a missing `updated_at` means.

    Raises OSError when the file cannot be opened, ValueError when it is damaged.
    """
    updates: list[ItemUpdate] = []
    letters: list[DeadLetter] = []
    for number, row in enumerate(rows_of(path, delimiter_of(path)), 1):
        try:
            if isinstance(row, Refused):
                raise ItemRefused(None, row.code.value, row.message)
            updates.append(read_update(_plain(row), now))
        except ItemRefused as refused:
            letters.append(_letter(path.name, number, row, refused, now))
        if len(updates) + len(letters) >= batch_size:
            yield updates, letters
            updates, letters = [], []
    if updates or letters:
        yield updates, letters


def _plain(row: Row) -> dict[str, Any]:
    """The row as an item's fields: cells of text turned into what their field holds, empty ones left out."""
    item: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in row.items():
        cell = _cell(name, value)
        if cell is None:
            continue
        if name.startswith(_OWN):
            own[name.removeprefix(_OWN)] = cell
        else:
            item[name] = cell
    if own:
        item["attributes"] = {**item.get("attributes", {}), **own}
    return item


def _cell(name: str, value: Any) -> Any:
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, datetime):
        return format_instant(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if name == "item_id":
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if name in _WHOLE:
        return _whole(value)
    if name == "is_active" and not isinstance(value, bool):
        return _FLAGS.get(str(value).strip().lower(), value)
    return value


def _whole(value: Any) -> Any:
    """A whole number out of text or a float; anything else as it is, to be refused by name."""
    try:
        number = Decimal(str(value).strip())
        return int(number) if number == number.to_integral_value() else value
    except ArithmeticError:
        return value


def _letter(source: str, number: int, row: Row | Refused, refused: ItemRefused, now: datetime) -> DeadLetter:
    said = {} if isinstance(row, Refused) else {shown(k): None if v is None else shown(v) for k, v in row.items()}
    body = orjson.dumps(said)[:MAX_EVENT_BYTES]
    digest = hashlib.sha256(f"items\x00{source}\x00{number}\x00".encode() + body).hexdigest()[:40]
    return DeadLetter(
        letter_id=f"item:{digest}",
        received_at=now,
        source=source,
        index=number,
        message_id=None,
        code=RefusalCode.ROW_INVALID.value,
        message=f"row {number}: {refused.message}",
        body=body,
    )
