"""Sends know the account they were decided for, and since when a courier has them: both for caps."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns and the index by account."""
    kind = 'TEXT COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else "TEXT"
    op.execute(f"ALTER TABLE sends ADD COLUMN account_id {kind}")
    op.execute("ALTER TABLE sends ADD COLUMN leaving_at BIGINT")
    op.execute("CREATE INDEX ix_sends_account ON sends (account_id, send_at) WHERE account_id IS NOT NULL")
