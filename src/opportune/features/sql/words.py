"""Names and texts inside the generated SQL."""

from collections.abc import Iterable

from opportune.domain.instants import HOUR_US


def edge(width: int) -> str:
    """The column of `rows_` that holds a window's excluded old edge."""
    return f"edge_{width // HOUR_US}h"


def text(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Text literals, comma between."""
    return ", ".join(text(value) for value in values)
