"""Any CSV, JSON lines or Parquet file, read by a declared column mapping (playbook/mapping.py), in bounded memory.

Each row becomes one event, and one `identify` beside it when the mapping sets traits. A row that cannot be read becomes
a dead letter that names the row (from 1, the first row of data) and the column. Rows without a message id of their own
are named by file-independent content, so that reading them again stores nothing twice; rows that repeat exactly count
up, so that two equal purchases stay two.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from opportune.adapters.table_rows import Row, rows_of
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.refusals import MAX_EVENT_BYTES, RefusalCode, Refused, shown
from opportune.playbook.mapping import ColumnMapping

BATCH = 1000
#: Equal rows are told apart by their count among this many newest different rows.
_REMEMBERED = 50_000
#: Events that carry their product in a list; others carry its fields themselves, as the e-commerce events do.
_LISTING = ("Order ", "Checkout ", "Cart ", "Product List ")
_TRUE, _FALSE = frozenset(("true", "yes", "y", "1", "t")), frozenset(("false", "no", "n", "0", "f"))

Batch = tuple[list[Event], list[DeadLetter]]


def read_mapped(path: Path, mapping: ColumnMapping, now: datetime, batch_size: int = BATCH) -> Iterator[Batch]:
    """Batches of (events, dead letters). `now`: when the file is read.

    Raises OSError when the file cannot be opened, ValueError when it lacks a column or is damaged.
    """
    reader = _Reader(path.name, mapping, now)
    events: list[Event] = []
    letters: list[DeadLetter] = []
    for number, row in enumerate(rows_of(path, mapping.delimiter, mapping), 1):
        try:
            if isinstance(row, Refused):
                raise row
            events += reader.read(row)
        except Refused as refused:
            letters.append(reader.letter(number, row, refused))
        if len(events) + len(letters) >= batch_size:
            yield events, letters
            events, letters = [], []
    if events or letters:
        yield events, letters


class _Reader:
    def __init__(self, source: str, mapping: ColumnMapping, now: datetime) -> None:
        self._source, self._mapping, self._now = source, mapping, now
        self._zone = ZoneInfo(mapping.zone)
        self._seen: dict[str, int] = {}

    def read(self, row: Row) -> list[Event]:
        """The events of one row; none when its event name is mapped to null. Raises Refused."""
        m = self._mapping
        name = self._name(row)
        if name is None and not m.traits:
            return []
        identity = self._identity(row)
        item: dict[str, Any] = {
            "userId": _id(_cell(row, m.user_id)),
            "anonymousId": _id(_cell(row, m.anonymous_id)),
            "timestamp": self._instant(_cell(row, m.timestamp)),
        }
        found = []
        traits = {name: v for name, column in m.traits.items() if (v := self._value(row, column)) is not None}
        if traits:
            set_by = {**item, "messageId": identity + ":i", "traits": traits}
            found.append(read_envelope(set_by, self._reading(), EventKind.IDENTIFY))
        if name is not None:
            properties = {p: v for p, column in m.properties.items() if (v := self._value(row, column)) is not None}
            product = {f: v for f, column in m.product.items() if (v := self._value(row, column)) is not None}
            if product and name.startswith(_LISTING):
                properties["products"] = [product]
            else:
                properties.update(product)
            event = {**item, "messageId": identity, "event": name, "properties": properties}
            found.append(read_envelope(event, self._reading(), EventKind.TRACK))
        return found

    def letter(self, number: int, row: Row | Refused, refused: Refused) -> DeadLetter:
        """The dead letter of a row, with an id that is the same at every reading."""
        plain = {} if isinstance(row, Refused) else {k: None if v is None else shown(v) for k, v in row.items()}
        body = orjson.dumps(plain)[:MAX_EVENT_BYTES]
        digest = hashlib.sha256(f"{self._source}\x00{number}\x00".encode() + body).hexdigest()[:40]
        return DeadLetter(
            letter_id=f"row:{digest}",
            received_at=self._now,
            source=self._source,
            index=number,
            message_id=None,
            code=refused.code.value,
            message=f"row {number}: {refused.message}",
            body=body,
        )

    def _reading(self) -> Reading:
        return Reading(received_at=self._now, origin=Origin.IMPORT, new_id=str, retention=None)

    def _name(self, row: Row) -> str | None:
        m = self._mapping
        if m.event_column is None:
            return m.event
        said = _cell(row, m.event_column)
        if said is None or said == "":
            raise Refused(RefusalCode.EVENT_MISSING, f"column '{m.event_column}' is empty: it names the event")
        text = str(said)
        return m.event_names.get(text, text)

    def _identity(self, row: Row) -> str:
        m = self._mapping
        if m.message_id is not None:
            own = _id(_cell(row, m.message_id))
            if own is None:
                raise Refused(RefusalCode.ID_MISSING, f"column '{m.message_id}' is empty: it names the row")
            return own if len(own) <= 90 else "own:" + hashlib.sha256(own.encode()).hexdigest()[:40]
        text = "\x00".join(f"{c}={row.get(c)!r}" for c in sorted(m.columns)) + f"\x00{m.event}"
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:40]
        again = self._seen.pop(digest, 0)
        self._seen[digest] = again + 1
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return f"row:{digest}:{again}" if again else f"row:{digest}"

    def _instant(self, value: Any) -> str:
        """ISO 8601 with an offset. Raises Refused."""
        m = self._mapping
        if value is None or value == "":
            raise Refused(RefusalCode.TIMESTAMP_MISSING, f"column '{m.timestamp}' is empty: it says when it happened")
        try:
            at = self._parse(value)
            at = at.replace(tzinfo=self._zone) if at.tzinfo is None else at
            return at.astimezone(UTC).isoformat()
        except (ValueError, OverflowError, TypeError):
            how = {"iso": "ISO 8601", "unix_s": "seconds since 1970", "unix_ms": "milliseconds since 1970"}
            raise Refused(
                RefusalCode.TIMESTAMP_INVALID,
                f"column '{m.timestamp}': '{shown(value)}' is not {how.get(m.timestamp_format, m.timestamp_format)}: "
                "mend it, or set timestamp_format in the mapping",
            ) from None

    def _parse(self, value: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the mapping's zone is added
        form = self._mapping.timestamp_format
        if form in ("unix_s", "unix_ms"):
            return datetime.fromtimestamp(float(value) / (1000 if form == "unix_ms" else 1), UTC)
        text = str(value).strip()
        return datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007

    def _value(self, row: Row, column: str) -> Any:
        """A cell as a JSON value of its declared type; null when empty. Raises Refused."""
        value = _cell(row, column)
        if value is None or value == "" or value != value:
            return None
        kind = self._mapping.types.get(column)
        if kind is None:
            return _plain(value, column)
        try:
            if kind == "text":
                return str(value)
            if kind == "boolean":
                return _flag(value)
            number = self._number(value)
            if not number.is_finite() or (kind == "integer" and number != int(number)):
                raise ValueError
            return int(number) if kind == "integer" else float(number)
        except (ValueError, ArithmeticError):
            raise Refused(
                RefusalCode.ROW_INVALID,
                f"column '{column}': '{shown(value)}' is no {kind}: mend it, or change its type in the mapping",
            ) from None

    def _number(self, value: Any) -> Decimal:
        """Thousands may be grouped by three; a mark in any other place makes it no number. Raises ValueError."""
        if not isinstance(value, str):
            return Decimal(str(value))
        mark = self._mapping.decimal
        group = "," if mark == "." else "."
        text = value.strip()
        if group in text:
            whole = text.partition(mark)[0]
            if not re.fullmatch(rf"[-+]?\d{{1,3}}({re.escape(group)}\d{{3}})+", whole):
                raise ValueError(text)
            text = text.replace(group, "")
        return Decimal(text.replace(mark, "."))


def _cell(row: Row, column: str | None) -> Any:
    return None if column is None else row.get(column)


def _id(value: Any) -> str | None:
    """An id as text; whole numbers without `.0`; null when empty."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text or None


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(text)


def _plain(value: Any, column: str) -> Any:
    """What JSON can hold. Raises Refused."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        raise Refused(RefusalCode.ROW_INVALID, f"column '{column}' holds bytes: leave it out of the mapping")
    return value
