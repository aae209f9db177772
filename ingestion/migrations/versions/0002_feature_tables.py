"""Feature tables: what Feast joins and materializes."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = {
    "video_profile": {
        "key": "video_id",
        "texts": ["channel_id", "world"],
        "features": [
            "published_at",
            "title_length",
            "title_words",
            "title_uppercase_ratio",
            "title_latin_ratio",
            "title_digits",
            "title_emoji",
            "title_hashtags",
            "title_brackets",
            "is_title_question",
            "is_title_exclamation",
            "is_title_featuring",
            "is_title_official",
            "is_title_trailer",
            "is_title_live",
            "title_sentiment",
            "description_length",
            "description_lines",
            "description_links",
            "description_hashtags",
            "tag_count",
            "duration_seconds",
            "short_probability",
            "category_id",
            "is_music",
            "is_gaming",
            "is_film",
            "is_live_or_upcoming",
            "is_high_definition",
            "has_captions",
            "is_made_for_kids",
            "publish_hour_sin",
            "publish_hour_cos",
            "publish_weekday_sin",
            "publish_weekday_cos",
            "is_published_on_weekend",
        ],
    },
    "video_performance": {
        "key": "video_id",
        "texts": ["view_definition"],
        "features": [
            "view_count",
            "like_count",
            "comment_count",
            "log10_views",
            "observed_at",
            "first_observed_at",
            "first_log10_views",
            "observation_count",
            "hours_since_previous_observation",
            "views_per_hour_1d",
            "views_per_hour_3d",
            "views_per_hour_7d",
            "log10_views_growth_1d",
            "log10_views_growth_3d",
            "log10_views_growth_7d",
            "log10_likes_growth_1d",
            "log10_comments_growth_1d",
            "views_growth_ratio_1d_3d",
            "likes_per_view",
            "comments_per_view",
            "are_likes_hidden",
            "are_comments_off",
        ],
    },
    "channel_track_record": {
        "key": "channel_id",
        "texts": [],
        "features": [
            "channel_normal_log10_views_12h",
            "channel_normal_log10_views_24h",
            "channel_normal_log10_views_48h",
            "channel_normal_log10_views_96h",
            "channel_normal_log10_views_192h",
            "channel_normal_log10_views_384h",
            "channel_normal_log10_views_768h",
            "channel_early_log10_views",
            "channel_early_spread",
            "channel_first_log10_views",
            "channel_first_age_days",
            "channel_log10_views_growth",
            "channel_likes_per_view",
            "channel_comments_per_view",
            "channel_shorts_share",
            "channel_videos_seen",
            "channel_uploads_30d",
            "channel_last_upload_at",
            "channel_subscribers",
            "channel_view_count",
            "channel_video_count",
            "are_subscribers_hidden",
        ],
    },
}


def upgrade() -> None:
    """Create the three tables, partitioned by month of the event."""
    for name, table in TABLES.items():
        columns = [
            f'"{table["key"]}" text NOT NULL',
            "event_timestamp timestamptz NOT NULL",
            "created_timestamp timestamptz NOT NULL",
            *(f'"{text}" text NOT NULL' for text in table["texts"]),
            *(f'"{feature}" double precision' for feature in table["features"]),
            f'PRIMARY KEY ("{table["key"]}", event_timestamp, created_timestamp)',
        ]
        op.execute(
            f"CREATE TABLE {name} ({', '.join(columns)}) PARTITION BY RANGE (event_timestamp)"
        )


def downgrade() -> None:
    """Drop the three tables; they are rebuilt from the warehouse."""
    for name in TABLES:
        op.execute(f"DROP TABLE {name}")
