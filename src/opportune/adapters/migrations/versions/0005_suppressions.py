"""Suppression lists: fingerprints of customers, addresses and numbers, append-only."""

from alembic import op

revision = "0005"
down_revision = "0004"

_WORDS = {
    "sqlite": {"TEXT": "TEXT", "SEQ": "seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "SEQ": "seq BIGSERIAL NOT NULL PRIMARY KEY"},
}

_STATEMENTS = """
CREATE TABLE suppressions (
    {SEQ}, key {TEXT} NOT NULL, purpose {TEXT} NOT NULL, is_on BOOLEAN NOT NULL, source {TEXT} NOT NULL,
    at BIGINT NOT NULL);
CREATE INDEX ix_suppressions_key ON suppressions (key, seq)
"""


def upgrade() -> None:
    """Add the table."""
    connection = op.get_bind()
    for statement in _STATEMENTS.format(**_WORDS[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)
