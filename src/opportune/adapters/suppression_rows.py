"""Suppressions <-> stored rows, one form for SQLite, PostgreSQL and memory."""

from opportune.adapters.sql_rows import Row, Stored
from opportune.domain.instants import from_us, to_us
from opportune.domain.suppressions import ListedBy, Suppression

SUPPRESSION = ("key", "purpose", "is_on", "source", "at")


def suppression_row(it: Suppression) -> Stored:
    """Row of a line of a suppression list."""
    return (it.key, it.purpose, it.is_on, it.source, to_us(it.at))


def suppression_of(row: Row) -> Suppression:
    """Line of a suppression list of a row."""
    by, _, digest = row[0].partition(":")
    purpose, is_on = row[1], bool(row[2])
    return Suppression(by=ListedBy(by), digest=digest, purpose=purpose, is_on=is_on, source=row[3], at=from_us(row[4]))
