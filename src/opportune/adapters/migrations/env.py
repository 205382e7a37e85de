"""Run by alembic: migrates over the connection and inside the transaction that `upgrade` opened."""

from alembic import context

from opportune.adapters.sql_tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,
)
context.run_migrations()
