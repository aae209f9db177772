"""Targets that collectors share, what was landed and brought in, units kept for labels, purges."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
    ALTER TABLE collection_targets
        ADD COLUMN leased_until timestamptz,
        ADD COLUMN label_due_at timestamptz,
        ADD COLUMN statistics_due_at timestamptz,
        ADD COLUMN last_count bigint;
    CREATE INDEX collection_targets_by_world
        ON collection_targets (world, kind, next_due_at) WHERE gone_at IS NULL;
    CREATE INDEX collection_targets_by_channel
        ON collection_targets (channel_id, published_at DESC) WHERE kind = 'video';
    DROP INDEX collection_targets_due;
    ALTER TABLE quota_ledger
        ADD COLUMN reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
        ADD COLUMN refused_at timestamptz;
    CREATE TABLE ingested_responses (
        raw_ref text PRIMARY KEY,
        world text NOT NULL,
        ingested_at timestamptz NOT NULL
    );
    CREATE INDEX ingested_responses_by_time ON ingested_responses (ingested_at);
    CREATE TABLE purges (
        purge_id uuid PRIMARY KEY,
        purged_at timestamptz NOT NULL,
        certificate jsonb NOT NULL
    );
"""

DOWNGRADE = """
    DROP TABLE purges;
    DROP TABLE ingested_responses;
    ALTER TABLE quota_ledger DROP COLUMN reserved, DROP COLUMN refused_at;
    DROP INDEX collection_targets_by_channel;
    DROP INDEX collection_targets_by_world;
    CREATE INDEX collection_targets_due
        ON collection_targets (next_due_at) WHERE gone_at IS NULL;
    ALTER TABLE collection_targets
        DROP COLUMN leased_until,
        DROP COLUMN label_due_at,
        DROP COLUMN statistics_due_at,
        DROP COLUMN last_count;
"""


def upgrade() -> None:
    """Add what concurrent collectors, recovery and purges need."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away again; nothing observed is lost."""
    op.execute(DOWNGRADE)
