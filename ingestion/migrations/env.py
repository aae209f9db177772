"""Runs the migrations on the connection and in the schema that `warehouse.migrate` hands over."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table="alembic_version",
    version_table_schema=attributes["schema"],
)
with context.begin_transaction():
    context.run_migrations()
