"""The tables that cross a package boundary, as pyarrow schemas."""

from collections.abc import Sequence

import pyarrow as pa

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.profile import PROFILE_FEATURES
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES

INSTANT = pa.timestamp("us", tz="UTC")

# When the row was seen at YouTube, when it reached us, when this copy was written, and from which
# landed response. `loaded_at` takes part in no join: an import knows its rows since `observed_at`.
_PROVENANCE = [
    pa.field("observed_at", INSTANT, nullable=False),
    pa.field("ingested_at", INSTANT, nullable=False),
    pa.field("world", pa.string(), nullable=False),
    pa.field("raw_ref", pa.string()),
    pa.field("loaded_at", INSTANT, nullable=False),
]

# Grain: (video_id, observed_at), a row per change of what the creator wrote.
VIDEO_METADATA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        *_PROVENANCE,
        pa.field("channel_id", pa.string(), nullable=False),
        pa.field("published_at", INSTANT, nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("category_id", pa.int32()),
        pa.field("default_language", pa.string()),
        pa.field("default_audio_language", pa.string()),
        pa.field("duration_seconds", pa.float64()),
        pa.field("definition", pa.string()),
        pa.field("has_captions", pa.bool_()),
        pa.field("is_made_for_kids", pa.bool_()),
        pa.field("has_maxres_thumbnail", pa.bool_()),
        pa.field("live_broadcast_content", pa.string()),
    ]
)

# Grain: (video_id, observed_at, ingested_at), append-only. A null count is hidden or absent, never
# zero.
VIDEO_SNAPSHOTS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        *_PROVENANCE,
        pa.field("view_count", pa.int64()),
        pa.field("like_count", pa.int64()),
        pa.field("comment_count", pa.int64()),
        pa.field("live_broadcast_content", pa.string()),
        pa.field("format", pa.string(), nullable=False),
        pa.field("view_definition", pa.string(), nullable=False),
    ]
)

# Grain: (channel_id, observed_at). Subscribers are rounded to three figures, or null when hidden.
CHANNEL_SNAPSHOTS = pa.schema(
    [
        pa.field("channel_id", pa.string(), nullable=False),
        *_PROVENANCE,
        pa.field("title", pa.string()),
        pa.field("published_at", INSTANT),
        pa.field("country", pa.string()),
        pa.field("subscriber_count", pa.int64()),
        pa.field("view_count", pa.int64()),
        pa.field("video_count", pa.int64()),
        pa.field("uploads_playlist_id", pa.string()),
    ]
)


def _feature_table(key: str, features: Sequence[Feature], strings: Sequence[str] = ()) -> pa.Schema:
    """Grain: (key, event_timestamp, created_timestamp), unique; features are float64."""
    return pa.schema(
        [
            pa.field(key, pa.string(), nullable=False),
            pa.field("event_timestamp", INSTANT, nullable=False),
            pa.field("created_timestamp", INSTANT, nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in strings),
            *(pa.field(feature.name, pa.float64()) for feature in features),
        ]
    )


VIDEO_PROFILE = _feature_table("video_id", PROFILE_FEATURES, strings=("channel_id", "world"))
VIDEO_PERFORMANCE = _feature_table("video_id", PERFORMANCE_FEATURES, strings=("view_definition",))
CHANNEL_TRACK_RECORD = _feature_table("channel_id", TRACK_RECORD_FEATURES)

FEATURE_TABLES = {
    "video_profile": VIDEO_PROFILE,
    "video_performance": VIDEO_PERFORMANCE,
    "channel_track_record": CHANNEL_TRACK_RECORD,
}
