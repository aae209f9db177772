"""API keys of the forecast service, by the hash of their secret."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of keys."""
    op.execute("""
        CREATE TABLE api_keys (
            digest bytea PRIMARY KEY,
            name text NOT NULL,
            scopes text[] NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz,
            revoked_at timestamptz
        )
    """)
    op.execute("CREATE INDEX api_keys_by_name ON api_keys (name)")


def downgrade() -> None:
    """Drop it: every key stops opening anything."""
    op.execute("DROP TABLE api_keys")
