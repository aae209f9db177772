"""A title's likeness to its channel's earlier ones, and the words it is told by; rebuilt."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = {
    "video_profile": ["title_similarity_to_channel"],
    "channel_track_record": [f"channel_title_words_{number}" for number in range(8)],
}


def upgrade() -> None:
    """Add the columns; rows of before are built anew."""
    for table, names in COLUMNS.items():
        op.execute(f"TRUNCATE {table}")
        for name in names:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} double precision")


def downgrade() -> None:
    """Drop them again."""
    for table, names in COLUMNS.items():
        for name in names:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
