"""Every table of the platform, as one Alembic tree; run by `ingestion.warehouse.migrate`."""
