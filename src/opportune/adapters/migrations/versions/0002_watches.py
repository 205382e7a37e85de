"""On which side of a crossing customers stand."""

from alembic import op

revision = "0002"
down_revision = "0001"

_WORDS = {
    "sqlite": {"TEXT": "TEXT", "HOT": ""},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "HOT": "WITH (fillfactor = 70)"},
}

_STATEMENTS = """
CREATE TABLE watches (
    rule {TEXT} NOT NULL, customer_id {TEXT} NOT NULL, definition {TEXT} NOT NULL, is_armed BOOLEAN NOT NULL,
    since BIGINT NOT NULL, levels {TEXT} NOT NULL,
    CONSTRAINT pk_watches PRIMARY KEY (customer_id, rule)) {HOT};
"""


def upgrade() -> None:
    """Create the table."""
    connection = op.get_bind()
    words = _WORDS[connection.dialect.name]
    for statement in _STATEMENTS.format(**words).split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)
