"""Suppression lists from CSV files with a header.

Columns: one or more of `customer_id`, `email`, `phone`, `email_sha256`, `phone_sha256`, one of them filled in each row;
beside them, if wanted, `purpose` (`all`, the default, or `marketing`), `state` (`on`, the default, or `off` to lift)
and `source` (the default is the name of the file). Other columns are passed over.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from opportune.domain.suppressions import NAMING, Named, named

_PURPOSES, _STATES = ("all", "marketing"), ("on", "off")


def read_suppressions(file: Path, now: datetime) -> Iterator[Named]:
    """The entries of one file, in order. Raises ValueError that names file, line and what is wrong with it."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            columns = [name for name in NAMING if name in (rows.fieldnames or ())]
            if not columns:
                raise ValueError(f"{file}: the header names none of {', '.join(NAMING)}")
            for row in rows:
                if any((value or "").strip() for value in row.values() if not isinstance(value, list)):
                    yield _entry(row, columns, f"{file}:{rows.line_num}", file.name, now)
    except UnicodeDecodeError as problem:
        raise ValueError(f"{file}: it is not UTF-8: {problem.reason} at byte {problem.start}") from None
    except csv.Error as problem:
        raise ValueError(f"{file}: it cannot be read as CSV: {problem}") from None


def _entry(row: dict[str, str | None], columns: list[str], where: str, name: str, now: datetime) -> Named:
    given = [(column, value) for column in columns if (value := (row.get(column) or "").strip())]
    if len(given) != 1:
        raise ValueError(f"{where}: one of {', '.join(columns)} must be filled in; {len(given)} are")
    purpose, state = _one_of(row, "purpose", _PURPOSES, where), _one_of(row, "state", _STATES, where)
    stops: Literal["all", "marketing"] = "marketing" if purpose == "marketing" else "all"
    ((how, value),) = given
    try:
        return named(how, value, stops, state == "on", (row.get("source") or "").strip()[:200] or name, now)
    except ValueError as problem:
        raise ValueError(f"{where}: {how} `{value[:60]}`: {problem}") from None


def _one_of(row: dict[str, str | None], column: str, known: tuple[str, ...], where: str) -> str:
    value = (row.get(column) or "").strip().lower() or known[0]
    if value not in known:
        raise ValueError(f"{where}: {column} is `{value[:60]}`: write {' or '.join(known)}")
    return value
