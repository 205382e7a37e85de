"""One event for every reason to refuse one."""

import json
from typing import Any

from opportune.domain.refusals import RefusalCode as Code


def _track(**change: Any) -> bytes:
    return json.dumps({"type": "track", "event": "X", "userId": "r", **change}).encode()


def _raw(properties: bytes) -> bytes:
    return b'{"type":"track","event":"X","userId":"r","properties":' + properties + b"}"


#: code -> (the bad event, what its dead letter must name)
BY_HTTP: dict[Code, tuple[bytes, str]] = {
    Code.NOT_AN_OBJECT: (b'"no event"', "object"),
    Code.EVENT_TOO_LARGE: (_track(properties={"a": "x" * 33_000}), "bytes"),
    Code.NESTING_TOO_DEEP: (_raw(b'{"a":' + b"[" * 250 + b"]" * 250 + b"}"), "properties"),
    Code.TEXT_INVALID: (_track(properties={"note": "a\x00b"}), "properties.note"),
    Code.NUMBER_OUT_OF_RANGE: (_raw(b'{"price":1e999}'), "properties.price"),
    Code.TYPE_UNKNOWN: (_track(type="click"), "type"),
    Code.WRONG_TYPE: (_track(properties=[1]), "properties"),
    Code.ID_MISSING: (_track(userId=None), "userId"),
    Code.ID_TOO_LONG: (_track(userId="x" * 300), "userId"),
    Code.ID_RESERVED: (_track(userId="anon:x"), "userId"),
    Code.EVENT_MISSING: (_track(event=None), "event"),
    Code.NAME_TOO_LONG: (_track(event="x" * 300), "event"),
    Code.TIMESTAMP_INVALID: (_track(timestamp="yesterday"), "timestamp"),
    Code.BEFORE_1970: (_track(timestamp="1969-12-31T23:59:59Z"), "timestamp"),
    Code.BEYOND_RETENTION: (_track(timestamp="2001-01-01T00:00:00Z"), "timestamp"),
}  # fmt: skip


def _lines(prefix: str, bad: str) -> list[str]:
    at = "2026-01-01T00:00:00Z"
    good = [
        {"type": "track", "event": "X", "userId": "f", "messageId": f"{prefix}{i}", "timestamp": at} for i in range(99)
    ]
    return [*(json.dumps(item) for item in good[:42]), bad, *(json.dumps(item) for item in good[42:])]


_HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
_ROWS = [f"9{i:05d},S1,CUP,2,2010-12-01 08:26:00,2.55,17850,United Kingdom" for i in range(99)]
_BAD_ROW = "999999,S1,CUP,many,2010-12-01 08:26:00,2.55,17850,United Kingdom"

#: code -> (format, a file of 100 lines with one bad one, what its dead letter must name)
IN_FILES: dict[Code, tuple[str, list[str], str]] = {
    Code.LINE_NOT_JSON: ("segment", _lines("line", '{"type": "track", '), "JSON"),
    Code.TIMESTAMP_MISSING: ("segment", _lines("time", _track(messageId="no-time").decode()), "timestamp"),
    Code.ROW_INVALID: ("retail", [_HEAD, *_ROWS[:42], _BAD_ROW, *_ROWS[42:]], "Quantity"),
}


def batch_with(code: Code) -> tuple[bytes, str]:
    """(a batch of 100 whose event 42 is the bad one, what its dead letter must name)."""
    bad, field = BY_HTTP[code]
    good = [_track(messageId=f"{code.value}-{i}") for i in range(100)]
    return b'{"batch":[' + b",".join([*good[:42], bad, *good[43:]]) + b"]}", field
