"""The ledger's tables about items, interest in them, and sources. Same conventions as sql_tables."""

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from opportune.adapters.sql_tables import instant_column, key_type, metadata, seq_column, text_column

items = Table(
    "items",
    metadata,
    Column("item_id", key_type(), primary_key=True),
    instant_column("updated_at"),
    Column("price_minor", BigInteger()),
    Column("stock", BigInteger()),
    text_column("category", nullable=True),
    text_column("title", nullable=True),
    text_column("url", nullable=True),
    text_column("image_url", nullable=True),
    text_column("attributes"),
    Column("is_active", Boolean(), nullable=False),
    text_column("stamps"),
)

item_changes = Table(
    "item_changes",
    metadata,
    seq_column(),
    text_column("change_id"),
    text_column("item_id"),
    instant_column("at"),
    instant_column("recorded_at"),
    Column("is_new", Boolean(), nullable=False),
    text_column("category", nullable=True),
    Column("old_price_minor", BigInteger()),
    Column("price_minor", BigInteger()),
    Column("old_stock", BigInteger()),
    Column("stock", BigInteger()),
    Column("was_available", Boolean(), nullable=False),
    Column("is_available", Boolean(), nullable=False),
    text_column("told"),
    UniqueConstraint("change_id", name="uq_item_changes"),
    Index("ix_item_changes_item", "item_id", "seq"),
    sqlite_autoincrement=True,
)

interests = Table(
    "interests",
    metadata,
    text_column("subject"),
    text_column("id_key"),
    text_column("name"),
    instant_column("last_at"),
    PrimaryKeyConstraint("subject", "id_key", "name", name="pk_interests"),
)

source_minutes = Table(
    "source_minutes",
    metadata,
    text_column("source"),
    instant_column("minute_at"),
    Column("n", BigInteger(), nullable=False),
    PrimaryKeyConstraint("source", "minute_at", name="pk_source_minutes"),
)
