"""Budgets with what is spent of them, their prices, and the record of each campaign."""

from alembic import op

revision = "0006"
down_revision = "0005"

_WORDS = {
    "sqlite": {"TEXT": "TEXT", "FLOAT": "FLOAT", "HOT": ""},
    # Rows rewritten all day: leave room on the page so that an update stays on it.
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "FLOAT": "DOUBLE PRECISION", "HOT": "WITH (fillfactor = 50)"},
}

_STATEMENTS = """
CREATE TABLE budget_periods (
    budget {TEXT} NOT NULL, starts_at BIGINT NOT NULL, spent BIGINT NOT NULL,
    CONSTRAINT pk_budget_periods PRIMARY KEY (budget, starts_at)) {HOT};

CREATE TABLE budget_prices (
    budget {TEXT} NOT NULL PRIMARY KEY, price_minor {FLOAT} NOT NULL, shares {TEXT} NOT NULL,
    solved_at BIGINT NOT NULL);

CREATE TABLE campaign_records (
    campaign {TEXT} NOT NULL PRIMARY KEY, n_sent BIGINT NOT NULL, n_reached BIGINT NOT NULL, n_held BIGINT NOT NULL,
    n_held_reached BIGINT NOT NULL, n_lost BIGINT NOT NULL);
"""


def upgrade() -> None:
    """Create the tables."""
    connection = op.get_bind()
    words = _WORDS[connection.dialect.name]
    for statement in _STATEMENTS.format(**words).split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)
