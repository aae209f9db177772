"""Observations, what is collected next, what was refused, and what was forecast."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROVENANCE = """
    observed_at timestamptz NOT NULL,
    ingested_at timestamptz NOT NULL,
    world text NOT NULL CHECK (world IN ('real', 'synthetic')),
    raw_ref text,
    loaded_at timestamptz NOT NULL
"""

TABLES = {
    # `digest` names what the creator wrote, so that a version is recognised whenever it is seen.
    "video_metadata": f"""
        video_id text NOT NULL,
        {PROVENANCE},
        channel_id text NOT NULL,
        published_at timestamptz NOT NULL,
        title text NOT NULL,
        description text,
        tags text[],
        category_id integer,
        default_language text,
        default_audio_language text,
        duration_seconds double precision,
        definition text,
        has_captions boolean,
        is_made_for_kids boolean,
        has_maxres_thumbnail boolean,
        live_broadcast_content text,
        digest text NOT NULL,
        PRIMARY KEY (video_id, observed_at)
    """,
    # Every look at a video's metadata, also those that found nothing new: without them a version
    # that arrives late could not tell where the one around it begins again.
    "video_metadata_seen": f"""
        video_id text NOT NULL,
        {PROVENANCE},
        live_broadcast_content text,
        digest text NOT NULL,
        PRIMARY KEY (video_id, observed_at)
    """,
    "channel_snapshots": f"""
        channel_id text NOT NULL,
        {PROVENANCE},
        title text,
        published_at timestamptz,
        country text,
        subscriber_count bigint CHECK (subscriber_count >= 0),
        view_count bigint CHECK (view_count >= 0),
        video_count bigint CHECK (video_count >= 0),
        uploads_playlist_id text,
        PRIMARY KEY (channel_id, observed_at, ingested_at)
    """,
    "quarantine": """
        quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        world text NOT NULL,
        source text NOT NULL,
        raw_ref text NOT NULL,
        item jsonb NOT NULL,
        item_digest text NOT NULL GENERATED ALWAYS AS (md5(item::text)) STORED,
        reasons text[] NOT NULL,
        quarantined_at timestamptz NOT NULL,
        UNIQUE (raw_ref, item_digest)
    """,
    "quota_ledger": """
        bucket text NOT NULL,
        quota_day date NOT NULL,
        used integer NOT NULL DEFAULT 0 CHECK (used >= 0),
        "limit" integer NOT NULL,
        PRIMARY KEY (bucket, quota_day)
    """,
    "collection_targets": """
        kind text NOT NULL CHECK (kind IN ('video', 'channel')),
        target_id text NOT NULL,
        channel_id text,
        uploads_playlist_id text,
        added_at timestamptz NOT NULL,
        next_due_at timestamptz NOT NULL,
        last_observed_at timestamptz,
        published_at timestamptz,
        missing_checks integer NOT NULL DEFAULT 0,
        gone_at timestamptz,
        world text NOT NULL,
        PRIMARY KEY (kind, target_id)
    """,
    "forecast_log": """
        forecast_id uuid PRIMARY KEY,
        asked_at timestamptz NOT NULL,
        as_of timestamptz NOT NULL,
        situation text NOT NULL,
        world text NOT NULL,
        video_id text,
        channel_id text,
        model_version text NOT NULL,
        model_digest text NOT NULL,
        request jsonb NOT NULL,
        vector jsonb NOT NULL,
        feature_times jsonb NOT NULL,
        answer jsonb NOT NULL,
        degraded text[] NOT NULL DEFAULT '{}'
    """,
    "forecast_outcomes": """
        forecast_id uuid NOT NULL,
        metric text NOT NULL,
        horizon_days integer NOT NULL,
        observed_count bigint,
        observed_at timestamptz,
        status text NOT NULL,
        scored_at timestamptz NOT NULL,
        PRIMARY KEY (forecast_id, metric, horizon_days)
    """,
}

VIDEO_SNAPSHOTS = f"""
    CREATE TABLE video_snapshots (
        video_id text NOT NULL,
        {PROVENANCE},
        view_count bigint CHECK (view_count >= 0),
        like_count bigint CHECK (like_count >= 0),
        comment_count bigint CHECK (comment_count >= 0),
        live_broadcast_content text,
        format text NOT NULL,
        view_definition text NOT NULL,
        PRIMARY KEY (video_id, observed_at, ingested_at)
    ) PARTITION BY RANGE (observed_at)
"""

INDEXES = {
    "video_metadata_by_channel": "video_metadata (channel_id, published_at)",
    "collection_targets_due": "collection_targets (next_due_at) WHERE gone_at IS NULL",
    "forecast_log_by_video": "forecast_log (video_id, asked_at)",
    "forecast_log_by_time": "forecast_log (asked_at)",
}


def upgrade() -> None:
    """Create the tables of the warehouse; partitions follow with the data."""
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns})")
    op.execute(VIDEO_SNAPSHOTS)
    for name, target in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {target}")


def downgrade() -> None:
    """Drop them with everything in them."""
    for name in [*TABLES, "video_snapshots"]:
        op.execute(f"DROP TABLE {name}")
