"""The ledger's tables about budgets and the record of each campaign. Same conventions as sql_tables."""

from sqlalchemy import BigInteger, Column, Float, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from opportune.adapters.sql_tables import metadata


def _key() -> TypeEngine[str]:
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger(), nullable=False)


budget_periods = Table(
    "budget_periods",
    metadata,
    Column("budget", _key(), nullable=False),
    _number("starts_at"),
    _number("spent"),
    PrimaryKeyConstraint("budget", "starts_at", name="pk_budget_periods"),
)

budget_prices = Table(
    "budget_prices",
    metadata,
    Column("budget", _key(), primary_key=True),
    Column("price_minor", Float(53), nullable=False),
    Column("shares", _key(), nullable=False),
    _number("solved_at"),
)

campaign_records = Table(
    "campaign_records",
    metadata,
    Column("campaign", _key(), primary_key=True),
    _number("n_sent"),
    _number("n_reached"),
    _number("n_held"),
    _number("n_held_reached"),
    _number("n_lost"),
)
