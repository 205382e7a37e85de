"""The ledger's table of suppression lists. Same conventions as sql_tables. Append-only."""

from sqlalchemy import Index, Table

from opportune.adapters.sql_tables import _flag as flag
from opportune.adapters.sql_tables import _instant as instant
from opportune.adapters.sql_tables import _seq as seq
from opportune.adapters.sql_tables import _text as text_column
from opportune.adapters.sql_tables import metadata

suppressions = Table(
    "suppressions",
    metadata,
    seq(),
    text_column("key"),
    text_column("purpose"),
    flag("is_on"),
    text_column("source"),
    instant("at"),
    Index("ix_suppressions_key", "key", "seq"),
    sqlite_autoincrement=True,
)
