"""The Segment HTTP Tracking API: bytes -> Events and dead letters. Pure; the only place that decodes ingestion JSON.

One bad item never fails a batch. orjson reads first; what it refuses as a whole (NaN, 1e999, lone surrogates, bytes
that are no UTF-8, absurd nesting) is read again by a lenient decoder, so that only the guilty item is refused.
"""

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from opportune.api.body import BodyUnreadable
from opportune.api.problems import bad
from opportune.domain.envelopes import MAX_MESSAGE_ID, RETENTION, Reading, read_envelope
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.refusals import MAX_EVENT_BYTES, MAX_NESTING, RefusalCode, Refused, check_values, is_clean_text

__all__ = ["KINDS_BY_PATH", "MAX_BATCH_EVENTS", "BodyUnreadable", "Parsed", "clean_object", "read_call"]

MAX_BATCH_EVENTS = 2500
BATCH = "batch"
#: Last part of the path (long, and the browser's short form) -> the call. `batch` is only an envelope.
KINDS_BY_PATH: Mapping[str, EventKind | None] = {
    **{kind.value: kind for kind in EventKind},
    **{kind.value[0]: kind for kind in EventKind},
    BATCH: None,
    "b": None,
}

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_CUT_BELOW = MAX_NESTING + 20
_MAX_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Parsed:
    """One call, read. `rejected`: `{"index", "messageId", "code", "message"}` per refused item, ready for the answer.

    `write_key`: the `writeKey` in the body, null when there is none or it may not be there. `n_items`: all items.
    """

    events: list[Event]
    letters: list[DeadLetter]
    rejected: list[dict[str, Any]]
    write_key: str | None
    n_items: int


def read_call(
    path_kind: str,
    body: bytes,
    received_at: datetime,
    *,
    write_key_in_body: bool = True,
    retention: timedelta | None = RETENTION,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    source: str = "http",
) -> Parsed:
    """Read the body of `/v1/{path_kind}`. Raises BodyUnreadable when nothing of it can be used, and nothing else.

    `new_id` names envelopes without `messageId`, and dead letters. `retention` null: no event is too old.
    """
    if path_kind not in KINDS_BY_PATH:
        raise BodyUnreadable("path_unknown", f"there is no call {path_kind[:40]!r}")
    kind = KINDS_BY_PATH[path_kind]
    whole, is_text_clean = _decode(body)
    if type(whole) is not dict:
        raise BodyUnreadable("not_an_object", "the body must be a JSON object")
    write_key = whole.pop("writeKey", None)
    if not (write_key_in_body and type(write_key) is str and is_clean_text(write_key)):
        write_key = None
    shared: dict[str, Any] = {}
    items: list[Any] = [whole]
    if kind is None:
        items, shared = _items(whole)
    reading = Reading(
        received_at=received_at, origin=Origin.LIVE, new_id=new_id, retention=retention, is_text_clean=is_text_clean
    )
    parsed = Parsed([], [], [], write_key, len(items))
    must_measure = len(body) > MAX_EVENT_BYTES
    for index, item in enumerate(items):
        try:
            if must_measure and (size := _size(item)) > MAX_EVENT_BYTES:
                raise Refused(
                    RefusalCode.EVENT_TOO_LARGE,
                    f"the event has {size:,} bytes: send at most {MAX_EVENT_BYTES:,}, and keep large content elsewhere",
                )
            parsed.events.append(read_envelope(_with_shared(item, shared) if shared else item, reading, kind))
        except Refused as refused:
            letter = _letter(item, index, refused, reading, source)
            parsed.letters.append(letter)
            parsed.rejected.append(
                {"index": index, "messageId": letter.message_id, "code": letter.code, "message": letter.message}
            )
    return parsed


def clean_object(value: dict[str, Any], field: str) -> dict[str, Any]:
    """An object of a caller (not an event) under the same sanitiser. Raises the API's 422 refusal naming the field."""
    try:
        check_values({field: value})
    except Refused as refused:
        raise bad(field, refused.code.value, refused.message) from None
    return value


def _decode(body: bytes) -> tuple[Any, bool]:
    """(decoded body, whether its text is known to be clean)."""
    try:
        return orjson.loads(body), b"\\u0000" not in body
    except orjson.JSONDecodeError as error:
        fault = str(error)
    text = body.decode("utf-8-sig", "surrogateescape")
    try:
        return _lenient(text), False
    except RecursionError:
        text = _cut_deep(text)
    except ValueError:
        raise BodyUnreadable("body_not_json", f"the body is not JSON: {fault}") from None
    try:
        return _lenient(text), False
    except (ValueError, RecursionError):
        raise BodyUnreadable("body_not_json", f"the body is not JSON: {fault}") from None


def _lenient(text: str) -> Any:
    """What orjson refuses as a whole: NaN, infinities, surrogates, huge numbers and raw control characters.

    The sanitiser refuses, item by item, what no database keeps; a line break or a tab inside a text is fine.
    """
    read = json.JSONDecoder(
        parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else math.inf, strict=False
    )
    return read.decode(text)


def _cut_deep(text: str) -> str:
    """The text with everything far below the nesting limit replaced by null: still refused, now decodable."""
    kept: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("[", "{"):
            depth += 1
            if depth == _CUT_BELOW + 1:
                kept.append(text[start : token.start()])
        elif mark in ("]", "}"):
            if depth == _CUT_BELOW + 1:
                kept.append("null")
                start = token.end()
            depth -= 1
    return "".join([*kept, text[start:]]) if depth <= _CUT_BELOW else ""


def _items(whole: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """(items of a batch, top-level fields that apply to each)."""
    items = whole.get(BATCH)
    if type(items) is not list:
        raise BodyUnreadable("batch_missing", 'batch is missing: send {"batch": [event, ...]}')
    if len(items) > MAX_BATCH_EVENTS:
        raise BodyUnreadable(
            "batch_too_large", f"the batch has {len(items):,} events: send at most {MAX_BATCH_EVENTS:,} at a time", 413
        )
    return items, {f: whole[f] for f in ("context", "integrations", "sentAt") if whole.get(f) is not None}


def _with_shared(item: Any, shared: Mapping[str, Any]) -> Any:
    """The item with the batch's fields; its own win, field by field inside context and integrations."""
    if type(item) is not dict:
        return item
    joined = dict(item)
    for field, value in shared.items():
        own = joined.get(field)
        if own is None:
            joined[field] = value
        elif type(own) is dict and type(value) is dict:
            joined[field] = {**value, **own}
    return joined


def _size(item: Any) -> int:
    return len(_compact(item))


def _compact(item: Any) -> bytes:
    """The item as JSON; text that is no Unicode is escaped, what lies far below the nesting limit is null."""
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:
        return json.dumps(_shallow(item, 0)).encode("ascii")


def _shallow(value: Any, depth: int) -> Any:
    # Loops, because a comprehension costs a second frame per level.
    if depth > _CUT_BELOW and type(value) in (dict, list):
        return None
    if isinstance(value, list):
        cut: list[Any] = []
        for inner in value:
            cut.append(_shallow(inner, depth + 1))
        return cut
    if isinstance(value, dict):
        named: dict[str, Any] = {}
        for name, inner in value.items():
            named[name] = _shallow(inner, depth + 1)
        return named
    return value


def _letter(item: Any, index: int, refused: Refused, reading: Reading, source: str) -> DeadLetter:
    message_id = item.get("messageId") if type(item) is dict else None
    if type(message_id) is not str or not is_clean_text(message_id):
        message_id = None
    if type(item) is dict:
        item = {field: value for field, value in item.items() if field != "writeKey"}
    return DeadLetter(
        letter_id=reading.new_id(),
        received_at=reading.received_at,
        source=source,
        index=index,
        message_id=message_id[:MAX_MESSAGE_ID] if message_id else None,
        code=refused.code.value,
        message=refused.message,
        body=_compact(item)[:MAX_EVENT_BYTES],
    )
