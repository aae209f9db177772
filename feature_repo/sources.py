"""Where feature tables are, and what a caller sends along with the keys."""

from feast import Field, RequestSource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.types import Float64, String, UnixTimestamp

from feature_repo.entities import OWNER


def _feature_table(name: str) -> PostgreSQLSource:
    return PostgreSQLSource(
        name=name,
        table=name,
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        owner=OWNER,
    )


video_profile_table = _feature_table("video_profile")
video_performance_table = _feature_table("video_performance")
channel_track_record_table = _feature_table("channel_track_record")

# What creators wrote of their videos, as observed: not a feature, but what a draft would have said.
video_metadata_table = PostgreSQLSource(
    name="video_metadata",
    table="video_metadata",
    timestamp_field="observed_at",
    created_timestamp_column="ingested_at",
    owner=OWNER,
)

asking = RequestSource(
    name="asking",
    schema=[
        Field(
            name="as_of", dtype=UnixTimestamp, description="The moment asked about, whole seconds."
        )
    ],
    description="In training: equal to the event timestamp.",
    owner=OWNER,
)

draft = RequestSource(
    name="draft",
    schema=[
        Field(
            name="as_of", dtype=UnixTimestamp, description="The planned publication, whole seconds."
        ),
        Field(name="title", dtype=String),
        Field(name="description", dtype=String, description="Empty for none."),
        Field(name="tags", dtype=String, description="Joined by newlines; empty for none."),
        # Not named as the features made of them: both are columns of a historical answer.
        Field(name="draft_category_id", dtype=Float64, description="0 for not known yet."),
        Field(name="draft_duration_seconds", dtype=Float64, description="0 for not known yet."),
    ],
    description="What a creator knows of a video that is not uploaded yet.",
    owner=OWNER,
)
