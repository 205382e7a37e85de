"""Files of JSON lines in the shape of batch items (`.jsonl`, also gzip): imported history, read in bounded memory.

An imported line must say when it happened (`timestamp`, else `originalTimestamp`). A line without `messageId` is named
by its content, so that reading the file again stores nothing twice; two identical lines without one are one event.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import DeadLetter, Event, Origin
from opportune.domain.refusals import MAX_EVENT_BYTES, RefusalCode, Refused, is_clean_text

BATCH = 2000
#: Bytes of one line; what is longer is refused without being read into memory.
_MAX_LINE = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"

Batch = tuple[list[Event], list[DeadLetter]]


def read_segment(path: Path, now: datetime, batch_size: int = BATCH) -> Iterator[Batch]:
    """Batches of (events, dead letters).

    Raises OSError when the file cannot be opened, ValueError when its gzip data are damaged.
    `now`: when the file is read. Dead letters carry the file's name, the line number from 0, and an id of their own
    that is the same at every reading.
    """
    events: list[Event] = []
    letters: list[DeadLetter] = []
    for index, raw, is_cut in _lines(path):
        line = raw.removeprefix(_BOM).strip() if index == 0 else raw.strip()
        if not line:
            continue
        try:
            events.append(_read_line(line, is_cut, now))
        except Refused as refused:
            letters.append(_letter(path.name, index, line, refused, now))
        if len(events) + len(letters) >= batch_size:
            yield events, letters
            events, letters = [], []
    if events or letters:
        yield events, letters


def _read_line(line: bytes, is_cut: bool, now: datetime) -> Event:
    if is_cut or len(line) > MAX_EVENT_BYTES:
        size = f"over {_MAX_LINE:,}" if is_cut else f"{len(line):,}"
        raise Refused(
            RefusalCode.EVENT_TOO_LARGE, f"the line has {size} bytes: an event has at most {MAX_EVENT_BYTES:,}"
        )
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Refused(RefusalCode.LINE_NOT_JSON, f"the line is not JSON: {error}") from None
    reading = Reading(
        received_at=now,
        origin=Origin.IMPORT,
        new_id=lambda: "line:" + hashlib.sha256(line).hexdigest()[:40],
        retention=None,
        is_text_clean=b"\\u0000" not in line,
    )
    return read_envelope(item, reading)


def _letter(source: str, index: int, line: bytes, refused: Refused, now: datetime) -> DeadLetter:
    return DeadLetter(
        letter_id="line:" + hashlib.sha256(f"{source}\x00{index}\x00".encode() + line).hexdigest()[:40],
        received_at=now,
        source=source,
        index=index,
        message_id=_message_id(line),
        code=refused.code.value,
        message=refused.message,
        body=line[:MAX_EVENT_BYTES],
    )


def _message_id(line: bytes) -> str | None:
    try:
        item: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    found = item.get("messageId") if isinstance(item, dict) else None
    return found[:100] if isinstance(found, str) and found and is_clean_text(found) else None


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 0, line, whether it was cut at the limit)."""
    with path.open("rb") as plain:
        is_packed = plain.peek(2)[:2] == _GZIP_MAGIC if isinstance(plain, io.BufferedReader) else False
        stream: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=plain) if is_packed else plain
        index = 0
        try:
            while line := stream.readline(_MAX_LINE):
                is_cut = len(line) == _MAX_LINE and not line.endswith(b"\n")
                yield index, line, is_cut
                while is_cut and (rest := stream.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                    continue
                index += 1
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path.name}: the gzip data are damaged after line {index} ({error})") from None
