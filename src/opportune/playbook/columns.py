"""What is in the columns of a table: counts, kinds and examples of the rows looked at, in bounded memory. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import available_timezones

#: Different values remembered per column; above it a column counts as having many.
MOST_VALUES = 5000
_NUMBER = re.compile(r"^[-+]?(?:\d{1,15}|\d{1,3}(?:[.,]\d{3})+)([.,]\d+)?$")
_COMMA = re.compile(r"^[-+]?[\d.]+,(\d{1,2}|\d{4,})$")
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_FORMATS = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%d.%m.%Y",
            "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d")  # fmt: skip
_ZONES = frozenset(available_timezones())


@dataclass(slots=True)
class Column:
    """One column. `values`: value -> count, until there are too many; `kinds`: what its filled cells look like."""

    name: str
    n_filled: int = 0
    values: Counter[str] = field(default_factory=Counter)
    is_full: bool = False  # more different values than are remembered
    kinds: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    n_commas: int = 0  # numbers whose decimals follow a comma

    def add(self, value: Any) -> None:
        """Look at one cell."""
        if value is None or value == "" or value != value:
            return
        self.n_filled += 1
        kind = kind_of(value)
        self.kinds[kind] += 1
        self.n_commas += kind == "number" and isinstance(value, str) and _COMMA.match(value.strip()) is not None
        if kind in ("text", "integer"):
            self.formats.update(form for form in _FORMATS if _reads(str(value), form))
        text = str(value)
        if text in self.values or len(self.values) < MOST_VALUES:
            self.values[text] += 1
        else:
            self.is_full = True

    def share(self, *kinds: str) -> float:
        """Share of the filled cells that are of these kinds."""
        return sum(self.kinds[k] for k in kinds) / self.n_filled if self.n_filled else 0.0

    @property
    def format(self) -> str | None:
        """The date pattern that reads most filled cells, at least four in five; null: none. Day first of equals."""
        best = max(_FORMATS, key=lambda form: self.formats[form])
        return best if self.n_filled and self.formats[best] >= 0.8 * self.n_filled else None


@dataclass(frozen=True, slots=True)
class Profile:
    """The columns of a table and how many rows were looked at."""

    n_rows: int
    columns: Sequence[Column]


def look(rows: Iterable[Mapping[str, Any]]) -> Profile:
    """Look at rows. Nested objects count by dotted path."""
    columns: dict[str, Column] = {}
    n = 0
    for row in rows:
        n += 1
        for name, value in _flat(row, ""):
            columns.setdefault(name, Column(name)).add(value)
    return Profile(n, list(columns.values()))


def kind_of(value: Any) -> str:
    """instant, boolean, integer, number, email, zone, list or text."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, datetime | date):
        return "instant"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, list):
        return "list"
    if not isinstance(value, str):
        return "number"
    text = value.strip()
    if match := _NUMBER.match(text):
        return "number" if match[1] else "integer"
    if text in _ZONES and "/" in text:
        return "zone"
    if _EMAIL.match(text):
        return "email"
    if text.lower() in ("true", "false"):
        return "boolean"
    return "instant" if len(text) >= 8 and _is_iso(text) else "text"


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _reads(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only asked whether it can be read
    except ValueError:
        return False
    return True


def _flat(row: Mapping[str, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
