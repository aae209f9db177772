"""A handle that was asked for over REST waits among the targets until a collector looks it up."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_CHECK = "collection_targets_kind_check"


def upgrade() -> None:
    """Let targets be handles."""
    _allow("'video', 'channel', 'handle'")


def downgrade() -> None:
    """Forget handles; the channels that were found by them stay."""
    op.execute("DELETE FROM collection_targets WHERE kind = 'handle'")
    _allow("'video', 'channel'")


def _allow(kinds: str) -> None:
    op.execute(f"""
        ALTER TABLE collection_targets DROP CONSTRAINT {_CHECK},
        ADD CONSTRAINT {_CHECK} CHECK (kind IN ({kinds}))
    """)
