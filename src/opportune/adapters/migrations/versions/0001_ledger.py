"""The first ledger: people, events, states, timers, sends, decisions, outbox."""

from alembic import op

revision = "0001"
down_revision = None

#: {TEXT} orders by code point; {SEQ} counts up and is never reused; {TXID} is the writing transaction.
_WORDS = {
    "sqlite": {
        "TEXT": "TEXT",
        "BYTES": "BLOB",
        "SEQ": "seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "TXID": "txid BIGINT NOT NULL DEFAULT 0",
        "HOT": "",
    },
    "postgresql": {
        "TEXT": 'TEXT COLLATE "C"',
        "BYTES": "BYTEA",
        "SEQ": "seq BIGSERIAL NOT NULL PRIMARY KEY",
        "TXID": "txid BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)",
        # Rows rewritten all day: leave room on the page so that an update stays on it.
        "HOT": "WITH (fillfactor = 70)",
    },
}

_STATEMENTS = """
CREATE TABLE customer_locks (customer_id {TEXT} NOT NULL PRIMARY KEY);

CREATE TABLE customers (
    customer_id {TEXT} NOT NULL PRIMARY KEY, traits {TEXT} NOT NULL, trait_stamps {TEXT} NOT NULL,
    first_seen_at BIGINT, last_seen_at BIGINT) {HOT};

CREATE TABLE identities (id_key {TEXT} NOT NULL PRIMARY KEY, customer_id {TEXT} NOT NULL);
CREATE INDEX ix_identities_customer ON identities (customer_id);

CREATE TABLE claims (
    {SEQ}, message_id {TEXT} NOT NULL, from_key {TEXT} NOT NULL, into_key {TEXT} NOT NULL,
    is_alias BOOLEAN NOT NULL, event_at BIGINT NOT NULL, known_at BIGINT NOT NULL,
    CONSTRAINT uq_claims UNIQUE (message_id, from_key, into_key));
CREATE INDEX ix_claims_from ON claims (from_key);
CREATE INDEX ix_claims_into ON claims (into_key);

CREATE TABLE consents (
    consent_id {TEXT} NOT NULL PRIMARY KEY, customer_id {TEXT} NOT NULL, channel {TEXT} NOT NULL,
    topic {TEXT} NOT NULL, state {TEXT} NOT NULL, at BIGINT NOT NULL, source {TEXT} NOT NULL,
    recorded_at BIGINT NOT NULL, proof {TEXT} NOT NULL);
CREATE INDEX ix_consents_customer ON consents (customer_id, at);

CREATE TABLE events (
    {SEQ}, {TXID}, message_id {TEXT} NOT NULL, customer_id {TEXT} NOT NULL, id_key {TEXT} NOT NULL,
    kind {TEXT} NOT NULL, name {TEXT} NOT NULL, user_id {TEXT}, anonymous_id {TEXT}, original_at BIGINT,
    sent_at BIGINT, received_at BIGINT NOT NULL, event_at BIGINT NOT NULL, known_at BIGINT NOT NULL,
    ingested_at BIGINT NOT NULL, origin {TEXT} NOT NULL, body {TEXT} NOT NULL,
    CONSTRAINT uq_events UNIQUE (message_id));
CREATE INDEX ix_events_customer ON events (customer_id, event_at, message_id);
CREATE INDEX ix_events_id_key ON events (id_key);
CREATE INDEX ix_events_txid ON events (txid, seq);

CREATE TABLE dead_letters (
    letter_id {TEXT} NOT NULL PRIMARY KEY, received_at BIGINT NOT NULL, source {TEXT} NOT NULL, position INTEGER,
    message_id {TEXT}, code {TEXT} NOT NULL, message {TEXT} NOT NULL, body {BYTES} NOT NULL);
CREATE INDEX ix_dead_letters_received ON dead_letters (received_at, letter_id);

CREATE TABLE feature_states (
    customer_id {TEXT} NOT NULL PRIMARY KEY, version BIGINT NOT NULL, state {BYTES} NOT NULL,
    committed_at BIGINT NOT NULL) {HOT};

CREATE TABLE timers (
    rule {TEXT} NOT NULL, customer_id {TEXT} NOT NULL, key {TEXT} NOT NULL, due_at BIGINT NOT NULL,
    set_at BIGINT NOT NULL, set_by {TEXT} NOT NULL, expires_at BIGINT, payload {TEXT} NOT NULL,
    version INTEGER NOT NULL, leased_until BIGINT, owner {TEXT},
    CONSTRAINT pk_timers PRIMARY KEY (customer_id, rule, key)) {HOT};
CREATE INDEX ix_timers_due ON timers (due_at);

CREATE TABLE timer_history (
    {SEQ}, rule {TEXT} NOT NULL, customer_id {TEXT} NOT NULL, key {TEXT} NOT NULL, due_at BIGINT NOT NULL,
    set_at BIGINT NOT NULL, set_by {TEXT} NOT NULL, version INTEGER NOT NULL, fate {TEXT} NOT NULL, at BIGINT NOT NULL);
CREATE INDEX ix_timer_history_customer ON timer_history (customer_id, at);

CREATE TABLE sends (
    message_id {TEXT} NOT NULL PRIMARY KEY, customer_id {TEXT} NOT NULL, decision_id {TEXT} NOT NULL,
    rank INTEGER NOT NULL, campaign {TEXT} NOT NULL, "trigger" {TEXT} NOT NULL, channel {TEXT} NOT NULL,
    topic {TEXT} NOT NULL, purpose {TEXT} NOT NULL, variant {TEXT}, tags {TEXT} NOT NULL, state {TEXT} NOT NULL,
    deliver {TEXT} NOT NULL, send_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, reserved_at BIGINT NOT NULL,
    obeys_caps BOOLEAN NOT NULL, counts BOOLEAN NOT NULL, is_virtual BOOLEAN NOT NULL, payload {TEXT} NOT NULL,
    trigger_key {TEXT}, handed_off_at BIGINT) {HOT};
CREATE INDEX ix_sends_customer ON sends (customer_id, send_at);
CREATE INDEX ix_sends_due ON sends (send_at) WHERE state = 'reserved';

CREATE TABLE send_history (
    {SEQ}, message_id {TEXT} NOT NULL, at BIGINT NOT NULL, what {TEXT} NOT NULL, reason {TEXT});
CREATE INDEX ix_send_history_message ON send_history (message_id);

CREATE TABLE decisions (
    {SEQ}, {TXID}, decision_id {TEXT} NOT NULL, customer_id {TEXT} NOT NULL, decided_at BIGINT NOT NULL,
    playbook_hash {TEXT} NOT NULL, "trigger" {TEXT}, mode {TEXT} NOT NULL, n_messages INTEGER NOT NULL,
    case_json {BYTES} NOT NULL, decision_json {BYTES} NOT NULL,
    CONSTRAINT uq_decisions UNIQUE (decision_id));
CREATE INDEX ix_decisions_customer ON decisions (customer_id, seq);
CREATE INDEX ix_decisions_txid ON decisions (txid, seq);

CREATE TABLE playbooks (playbook_hash {TEXT} NOT NULL PRIMARY KEY, source {BYTES} NOT NULL, at BIGINT NOT NULL);

CREATE TABLE exposures (
    experiment {TEXT} NOT NULL, unit {TEXT} NOT NULL, variation {TEXT} NOT NULL, customer_id {TEXT} NOT NULL,
    decision_id {TEXT} NOT NULL, at BIGINT NOT NULL,
    CONSTRAINT pk_exposures PRIMARY KEY (experiment, unit));

CREATE TABLE outcomes (
    outcome_id {TEXT} NOT NULL PRIMARY KEY, message_id {TEXT} NOT NULL, customer_id {TEXT} NOT NULL,
    kind {TEXT} NOT NULL, at BIGINT NOT NULL, recorded_at BIGINT NOT NULL, is_machine BOOLEAN NOT NULL,
    properties {TEXT} NOT NULL);
CREATE INDEX ix_outcomes_message ON outcomes (message_id, at);

CREATE TABLE outbox (
    topic {TEXT} NOT NULL, key {TEXT} NOT NULL, available_at BIGINT NOT NULL, attempts INTEGER NOT NULL,
    token {TEXT} NOT NULL, leased_until BIGINT,
    CONSTRAINT pk_outbox PRIMARY KEY (topic, key)) {HOT};
CREATE INDEX ix_outbox_available ON outbox (topic, available_at);

CREATE TABLE idempotency (
    key {TEXT} NOT NULL PRIMARY KEY, body_hash {TEXT} NOT NULL, body {BYTES}, created_at BIGINT NOT NULL);
CREATE INDEX ix_idempotency_created ON idempotency (created_at);

CREATE TABLE cursors (name {TEXT} NOT NULL PRIMARY KEY, value {TEXT} NOT NULL);
CREATE TABLE leases (name {TEXT} NOT NULL PRIMARY KEY, owner {TEXT} NOT NULL, until BIGINT NOT NULL);
"""

#: lz4 costs a tenth of the default compression on the decision path; a server built without it keeps the default.
_COMPRESSION = """
DO $$ BEGIN
    ALTER TABLE decisions ALTER COLUMN case_json SET COMPRESSION lz4, ALTER COLUMN decision_json SET COMPRESSION lz4;
    ALTER TABLE sends ALTER COLUMN payload SET COMPRESSION lz4;
    ALTER TABLE feature_states ALTER COLUMN state SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN NULL;
END $$
"""


def upgrade() -> None:
    """Create everything."""
    connection = op.get_bind()
    words = _WORDS[connection.dialect.name]
    for statement in _STATEMENTS.format(**words).split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_COMPRESSION)
