"""The ledger's tables about journeys. Same conventions as sql_tables. Append-only: journey_steps, journey_versions."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, UniqueConstraint, text

from opportune.adapters.sql_tables import _instant as instant
from opportune.adapters.sql_tables import _key as key_type
from opportune.adapters.sql_tables import _seq as seq
from opportune.adapters.sql_tables import _text as text_column
from opportune.adapters.sql_tables import metadata

journeys = Table(
    "journeys",
    metadata,
    Column("instance_id", key_type(), primary_key=True),
    text_column("customer_id"),
    text_column("journey"),
    text_column("key"),
    text_column("version"),
    instant("started_at"),
    text_column("started_by"),
    text_column("properties"),
    text_column("step"),
    instant("begun_at", nullable=True),
    instant("until_at", nullable=True),
    Column("round", Integer(), nullable=False),
    text_column("message_ids"),
    Column("n_said_before", Integer(), nullable=False),
    text_column("heard"),
    text_column("listens"),
    Column("n_taken", Integer(), nullable=False),
    instant("ended_at", nullable=True),
    text_column("ending", nullable=True),
    Index("ix_journeys_customer", "customer_id", "started_at"),
    Index(
        "uq_journeys_running",
        "customer_id",
        "journey",
        "key",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

journey_steps = Table(
    "journey_steps",
    metadata,
    seq(),
    text_column("instance_id"),
    Column("n", Integer(), nullable=False),
    text_column("step"),
    text_column("result"),
    instant("at"),
    text_column("detail"),
    UniqueConstraint("instance_id", "n", name="uq_journey_steps"),
    sqlite_autoincrement=True,
)

journey_versions = Table(
    "journey_versions",
    metadata,
    Column("version", key_type(), primary_key=True),
    Column("source", LargeBinary(), nullable=False),
    instant("at"),
)
