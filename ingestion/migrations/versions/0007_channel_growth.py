"""How a channel's videos usually grow, beside its track record; rebuilt from the warehouse."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = (
    "channel_growth_exponent",
    "channel_median_growth_exponent",
    "channel_latest_growth_exponent",
    "channel_recent_growth_exponent",
    "channel_growth_videos",
    "channel_growth_exponent_3d",
    "channel_recent_growth_exponent_3d",
)


def upgrade() -> None:
    """Add the columns; rows of before are built anew."""
    op.execute("TRUNCATE channel_track_record")
    for name in COLUMNS:
        op.execute(f"ALTER TABLE channel_track_record ADD COLUMN {name} double precision")


def downgrade() -> None:
    """Drop them again."""
    for name in COLUMNS:
        op.execute(f"ALTER TABLE channel_track_record DROP COLUMN {name}")
