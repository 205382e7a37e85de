"""Rows of any CSV (also gzip), JSON lines or Parquet file, one at a time, in bounded memory."""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from opportune.domain.refusals import MAX_EVENT_BYTES, RefusalCode, Refused
from opportune.playbook.mapping import ColumnMapping
from opportune.playbook.nearest import hint

_ROWS = 10_000
_MAX_LINE = 1024 * 1024

Row = Mapping[str, Any]


def rows_of(path: Path, delimiter: str = ",", mapping: ColumnMapping | None = None) -> Iterator[Row | Refused]:
    """Rows by column name (with a mapping: its columns only); a Refused in the place of a line that is no row."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        yield from _parquet(path, mapping)
        return
    with path.open("rb") as plain:
        stream: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=plain) if head[:2] == b"\x1f\x8b" else plain
        try:
            first = stream.readline(_MAX_LINE)
            if first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
                yield from _json_lines(first, stream, mapping)
            else:
                yield from _csv(path, first, stream, delimiter, mapping)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path.name}: the gzip data are damaged ({error})") from None


def delimiter_of(path: Path) -> str:
    """The character between the cells of a CSV file, by its first line; a comma for any other file."""
    with path.open("rb") as plain:
        head = plain.read(4)
        plain.seek(0)
        first = (gzip.GzipFile(fileobj=plain) if head[:2] == b"\x1f\x8b" else plain).readline(_MAX_LINE)
    if head == b"PAR1" or first.lstrip()[:1] == b"{":
        return ","
    return max(",;\t|", key=lambda mark: first.count(mark.encode()))


def _parquet(path: Path, mapping: ColumnMapping | None) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            _need(names, mapping, path)
            for batch in table.iter_batches(batch_size=_ROWS, columns=mapping.columns if mapping else None):
                yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path.name}: not a Parquet file that can be read ({error})") from None


def _csv(
    path: Path, first: bytes, rest: Iterable[bytes], delimiter: str, mapping: ColumnMapping | None
) -> Iterator[Row | Refused]:
    head = next(csv.reader([_text(first).removeprefix("\ufeff")], delimiter=delimiter), [])
    names = [name.strip() for name in head]
    _need(names, mapping, path)
    try:
        for cells in csv.reader(map(_text, rest), delimiter=delimiter):
            if not cells:
                continue
            if len(cells) != len(names):
                message = f"it has {len(cells)} cells, the head has {len(names)}: quote cells that hold '{delimiter}'"
                yield Refused(RefusalCode.ROW_INVALID, message)
                continue
            yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path.name}: not a CSV file that can be read ({error})") from None


def _text(line: bytes) -> str:
    """UTF-8, and where it is not, Latin-1."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _json_lines(first: bytes, rest: BinaryIO | gzip.GzipFile, mapping: ColumnMapping | None) -> Iterator[Row | Refused]:
    line = first.removeprefix(b"\xef\xbb\xbf")
    while line:
        if line.strip():
            if len(line) > MAX_EVENT_BYTES:
                while not line.endswith(b"\n") and (line := rest.readline(_MAX_LINE)):
                    continue
                yield Refused(RefusalCode.EVENT_TOO_LARGE, f"the line is over {MAX_EVENT_BYTES:,} bytes")
            else:
                yield _json_row(line, mapping)
        line = rest.readline(_MAX_LINE)


def _json_row(line: bytes, mapping: ColumnMapping | None) -> Row | Refused:
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Refused(RefusalCode.LINE_NOT_JSON, f"the line is not JSON: {error}")
    if not isinstance(item, dict):
        return Refused(RefusalCode.NOT_AN_OBJECT, "the line is not a JSON object")
    return item if mapping is None else {column: _at_path(item, column) for column in mapping.columns}


def _at_path(item: Any, path: str) -> Any:
    """The value of a key, or at a dotted path; null when it is not there."""
    if isinstance(item, dict) and path in item:
        return item[path]
    for part in path.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def _need(names: Sequence[str], mapping: ColumnMapping | None, path: Path) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path.name}: two columns are called '{twice}': rename one")
    for column in mapping.columns if mapping else ():
        if column not in names:
            near = hint(column, names) or f"; it has: {', '.join(names[:40])}"
            raise ValueError(f"{path.name}: there is no column '{column}' (mapping: {mapping.key_of(column)}){near}")  # type: ignore[union-attr]
