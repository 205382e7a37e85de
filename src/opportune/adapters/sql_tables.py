"""The ledger's tables. Instants are BIGINT microseconds since 1970-01-01 UTC, JSON compact text, packed data bytes.

`migrations/` builds them; a test compares the two. Append-only: claims, consents, events, send_history, timer_history,
decisions, exposures, outcomes. (A merge may change the customer that owns a row, never what the row says; a consent
line derived from an event that turns out to be another customer's is made anew for that one.)
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    FetchedValue,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

#: The newest file in migrations/versions: a database at this revision is opened without starting alembic.
REVISION = "0005"
VERSION_TABLE = "opportune_version"

metadata = MetaData()


def _key() -> TypeEngine[str]:
    """Text ordered by code point on every database, as Python orders it."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _serial() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str, nullable: bool = False) -> Column[str]:
    return Column(name, _key(), nullable=nullable)


def _instant(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger(), nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(), nullable=False)


def _seq() -> Column[int]:
    return Column("seq", _serial(), primary_key=True, autoincrement=True)


def _txid() -> Column[int]:
    """The writing transaction (PostgreSQL; 0 on SQLite, whose single writer commits in order): see sql_events."""
    return Column("txid", BigInteger(), FetchedValue(), nullable=False)


#: For the tables of other files.
key_type, text_column, instant_column, seq_column = _key, _text, _instant, _seq

customer_locks = Table("customer_locks", metadata, Column("customer_id", _key(), primary_key=True))

customers = Table(
    "customers",
    metadata,
    Column("customer_id", _key(), primary_key=True),
    _text("traits"),
    _text("trait_stamps"),
    _instant("first_seen_at", nullable=True),
    _instant("last_seen_at", nullable=True),
)

identities = Table(
    "identities",
    metadata,
    Column("id_key", _key(), primary_key=True),
    _text("customer_id"),
    Index("ix_identities_customer", "customer_id"),
)

claims = Table(
    "claims",
    metadata,
    _seq(),
    _text("message_id"),
    _text("from_key"),
    _text("into_key"),
    _flag("is_alias"),
    _instant("event_at"),
    _instant("known_at"),
    UniqueConstraint("message_id", "from_key", "into_key", name="uq_claims"),
    Index("ix_claims_from", "from_key"),
    Index("ix_claims_into", "into_key"),
    sqlite_autoincrement=True,
)

consents = Table(
    "consents",
    metadata,
    Column("consent_id", _key(), primary_key=True),
    _text("customer_id"),
    _text("channel"),
    _text("topic"),
    _text("state"),
    _instant("at"),
    _text("source"),
    _instant("recorded_at"),
    _text("proof"),
    Index("ix_consents_customer", "customer_id", "at"),
)

events = Table(
    "events",
    metadata,
    _seq(),
    _txid(),
    _text("message_id"),
    _text("customer_id"),
    _text("id_key"),
    _text("kind"),
    _text("name"),
    _text("user_id", nullable=True),
    _text("anonymous_id", nullable=True),
    _instant("original_at", nullable=True),
    _instant("sent_at", nullable=True),
    _instant("received_at"),
    _instant("event_at"),
    _instant("known_at"),
    _instant("ingested_at"),
    _text("origin"),
    _text("body"),
    UniqueConstraint("message_id", name="uq_events"),
    Index("ix_events_customer", "customer_id", "event_at", "message_id"),
    Index("ix_events_id_key", "id_key"),
    Index("ix_events_txid", "txid", "seq"),
    sqlite_autoincrement=True,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("letter_id", _key(), primary_key=True),
    _instant("received_at"),
    _text("source"),
    Column("position", Integer()),
    _text("message_id", nullable=True),
    _text("code"),
    _text("message"),
    Column("body", LargeBinary(), nullable=False),
    Index("ix_dead_letters_received", "received_at", "letter_id"),
)

states = Table(
    "feature_states",
    metadata,
    Column("customer_id", _key(), primary_key=True),
    Column("version", BigInteger(), nullable=False),
    Column("state", LargeBinary(), nullable=False),
    _instant("committed_at"),
)

timers = Table(
    "timers",
    metadata,
    _text("rule"),
    _text("customer_id"),
    _text("key"),
    _instant("due_at"),
    _instant("set_at"),
    _text("set_by"),
    _instant("expires_at", nullable=True),
    _text("payload"),
    Column("version", Integer(), nullable=False),
    _instant("leased_until", nullable=True),
    _text("owner", nullable=True),
    PrimaryKeyConstraint("customer_id", "rule", "key", name="pk_timers"),
    Index("ix_timers_due", "due_at"),
)

watches = Table(
    "watches",
    metadata,
    _text("rule"),
    _text("customer_id"),
    _text("definition"),
    _flag("is_armed"),
    _instant("since"),
    _text("levels"),
    PrimaryKeyConstraint("customer_id", "rule", name="pk_watches"),
)

timer_history = Table(
    "timer_history",
    metadata,
    _seq(),
    _text("rule"),
    _text("customer_id"),
    _text("key"),
    _instant("due_at"),
    _instant("set_at"),
    _text("set_by"),
    Column("version", Integer(), nullable=False),
    _text("fate"),
    _instant("at"),
    Index("ix_timer_history_customer", "customer_id", "at"),
    sqlite_autoincrement=True,
)

_IN_ACCOUNT = text("account_id IS NOT NULL")
sends = Table(
    "sends",
    metadata,
    Column("message_id", _key(), primary_key=True),
    _text("customer_id"),
    _text("decision_id"),
    Column("rank", Integer(), nullable=False),
    _text("campaign"),
    _text("trigger"),
    _text("channel"),
    _text("topic"),
    _text("purpose"),
    _text("variant", nullable=True),
    _text("tags"),
    _text("state"),
    _text("deliver"),
    _instant("send_at"),
    _instant("expires_at"),
    _instant("reserved_at"),
    _flag("obeys_caps"),
    _flag("counts"),
    _flag("is_virtual"),
    _text("payload"),
    _text("trigger_key", nullable=True),
    _instant("handed_off_at", nullable=True),
    _text("account_id", nullable=True),
    _instant("leaving_at", nullable=True),
    Index("ix_sends_customer", "customer_id", "send_at"),
    Index("ix_sends_account", "account_id", "send_at", sqlite_where=_IN_ACCOUNT, postgresql_where=_IN_ACCOUNT),
    Index(
        "ix_sends_due",
        "send_at",
        sqlite_where=text("state = 'reserved'"),
        postgresql_where=text("state = 'reserved'"),
    ),
)

send_history = Table(
    "send_history",
    metadata,
    _seq(),
    _text("message_id"),
    _instant("at"),
    _text("what"),
    _text("reason", nullable=True),
    Index("ix_send_history_message", "message_id"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "decisions",
    metadata,
    _seq(),
    _txid(),
    _text("decision_id"),
    _text("customer_id"),
    _instant("decided_at"),
    _text("playbook_hash"),
    _text("trigger", nullable=True),
    _text("mode"),
    Column("n_messages", Integer(), nullable=False),
    Column("case_json", LargeBinary(), nullable=False),
    Column("decision_json", LargeBinary(), nullable=False),
    UniqueConstraint("decision_id", name="uq_decisions"),
    Index("ix_decisions_customer", "customer_id", "seq"),
    Index("ix_decisions_txid", "txid", "seq"),
    sqlite_autoincrement=True,
)

playbooks = Table(
    "playbooks",
    metadata,
    Column("playbook_hash", _key(), primary_key=True),
    Column("source", LargeBinary(), nullable=False),
    _instant("at"),
)

exposures = Table(
    "exposures",
    metadata,
    _text("experiment"),
    _text("unit"),
    _text("variation"),
    _text("customer_id"),
    _text("decision_id"),
    _instant("at"),
    PrimaryKeyConstraint("experiment", "unit", name="pk_exposures"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("outcome_id", _key(), primary_key=True),
    _text("message_id"),
    _text("customer_id"),
    _text("kind"),
    _instant("at"),
    _instant("recorded_at"),
    _flag("is_machine"),
    _text("properties"),
    Index("ix_outcomes_message", "message_id", "at"),
)

outbox = Table(
    "outbox",
    metadata,
    _text("topic"),
    _text("key"),
    _instant("available_at"),
    Column("attempts", Integer(), nullable=False),
    _text("token"),
    _instant("leased_until", nullable=True),
    PrimaryKeyConstraint("topic", "key", name="pk_outbox"),
    Index("ix_outbox_available", "topic", "available_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", _key(), primary_key=True),
    _text("body_hash"),
    Column("body", LargeBinary()),
    _instant("created_at"),
    Index("ix_idempotency_created", "created_at"),
)

cursors = Table("cursors", metadata, Column("name", _key(), primary_key=True), _text("value"))

leases = Table(
    "leases",
    metadata,
    Column("name", _key(), primary_key=True),
    _text("owner"),
    _instant("until"),
)
