"""Items and how they changed, who is interested in them, signs of life of sources."""

from alembic import op

revision = "0003"
down_revision = "0002"

_WORDS = {
    "sqlite": {"TEXT": "TEXT", "SEQ": "seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "HOT": ""},
    "postgresql": {
        "TEXT": 'TEXT COLLATE "C"',
        "SEQ": "seq BIGSERIAL NOT NULL PRIMARY KEY",
        "HOT": "WITH (fillfactor = 70)",
    },
}

_STATEMENTS = """
CREATE TABLE items (
    item_id {TEXT} NOT NULL PRIMARY KEY, updated_at BIGINT NOT NULL, price_minor BIGINT, stock BIGINT,
    category {TEXT}, title {TEXT}, url {TEXT}, image_url {TEXT}, attributes {TEXT} NOT NULL,
    is_active BOOLEAN NOT NULL, stamps {TEXT} NOT NULL) {HOT};

CREATE TABLE item_changes (
    {SEQ}, change_id {TEXT} NOT NULL, item_id {TEXT} NOT NULL, at BIGINT NOT NULL, recorded_at BIGINT NOT NULL,
    is_new BOOLEAN NOT NULL, category {TEXT}, old_price_minor BIGINT, price_minor BIGINT, old_stock BIGINT,
    stock BIGINT, was_available BOOLEAN NOT NULL, is_available BOOLEAN NOT NULL, told {TEXT} NOT NULL,
    CONSTRAINT uq_item_changes UNIQUE (change_id));
CREATE INDEX ix_item_changes_item ON item_changes (item_id, seq);

CREATE TABLE interests (
    subject {TEXT} NOT NULL, id_key {TEXT} NOT NULL, name {TEXT} NOT NULL, last_at BIGINT NOT NULL,
    CONSTRAINT pk_interests PRIMARY KEY (subject, id_key, name)) {HOT};

CREATE TABLE source_minutes (
    source {TEXT} NOT NULL, minute_at BIGINT NOT NULL, n BIGINT NOT NULL,
    CONSTRAINT pk_source_minutes PRIMARY KEY (source, minute_at)) {HOT};
"""


def upgrade() -> None:
    """Create the tables."""
    connection = op.get_bind()
    words = _WORDS[connection.dialect.name]
    for statement in _STATEMENTS.format(**words).split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)
