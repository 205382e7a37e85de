"""Journeys: instances, the steps they took, the definitions they stay on."""

from alembic import op

revision = "0004"
down_revision = "0003"

_WORDS = {
    "sqlite": {
        "TEXT": "TEXT", "BYTES": "BLOB", "SEQ": "seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "HOT": "",
    },
    "postgresql": {
        "TEXT": 'TEXT COLLATE "C"', "BYTES": "BYTEA", "SEQ": "seq BIGSERIAL NOT NULL PRIMARY KEY",
        "HOT": "WITH (fillfactor = 70)",
    },
}  # fmt: skip

_STATEMENTS = """
CREATE TABLE journeys (
    instance_id {TEXT} NOT NULL PRIMARY KEY, customer_id {TEXT} NOT NULL, journey {TEXT} NOT NULL,
    key {TEXT} NOT NULL, version {TEXT} NOT NULL, started_at BIGINT NOT NULL, started_by {TEXT} NOT NULL,
    properties {TEXT} NOT NULL, step {TEXT} NOT NULL, begun_at BIGINT, until_at BIGINT, round INTEGER NOT NULL,
    message_ids {TEXT} NOT NULL, n_said_before INTEGER NOT NULL, heard {TEXT} NOT NULL,
    listens {TEXT} NOT NULL, n_taken INTEGER NOT NULL,
    ended_at BIGINT, ending {TEXT}) {HOT};
CREATE INDEX ix_journeys_customer ON journeys (customer_id, started_at);
CREATE UNIQUE INDEX uq_journeys_running ON journeys (customer_id, journey, key) WHERE ended_at IS NULL;

CREATE TABLE journey_steps (
    {SEQ}, instance_id {TEXT} NOT NULL, n INTEGER NOT NULL, step {TEXT} NOT NULL, result {TEXT} NOT NULL,
    at BIGINT NOT NULL, detail {TEXT} NOT NULL,
    CONSTRAINT uq_journey_steps UNIQUE (instance_id, n));

CREATE TABLE journey_versions (version {TEXT} NOT NULL PRIMARY KEY, source {BYTES} NOT NULL, at BIGINT NOT NULL);
"""


def upgrade() -> None:
    """Create the tables."""
    connection = op.get_bind()
    for statement in _STATEMENTS.format(**_WORDS[connection.dialect.name]).split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)
