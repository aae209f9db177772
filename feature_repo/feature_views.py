"""Stored features: computed in batch by transformations, joined and served by Feast."""

from collections.abc import Sequence

from feast import FeatureView, Field
from feast.types import Float64, String

from feature_repo.entities import OWNER, channel, video
from feature_repo.sources import (
    channel_track_record_table,
    video_performance_table,
    video_profile_table,
)
from feature_repo.statuses import AGE_LIMITS
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.profile import PROFILE_FEATURES
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES


def fields(features: Sequence[Feature]) -> list[Field]:
    """Register declared features as Float64: an integer turns float online once one is null."""
    return [
        Field(
            name=feature.name,
            dtype=Float64,
            description=feature.description,
            tags={"unit": feature.unit, "null": feature.null}
            | ({"indicator": feature.indicator} if feature.indicator else {}),
        )
        for feature in features
    ]


video_profile = FeatureView(
    name="video_profile",
    entities=[video],
    ttl=AGE_LIMITS["video_profile"],
    schema=[
        Field(name="channel_id", dtype=String, description="Whose features to read next"),
        Field(name="world", dtype=String, description="real or synthetic"),
        *fields(PROFILE_FEATURES),
    ],
    source=video_profile_table,
    online=True,
    description="What a video is: publication, title, description, format. A row per change.",
    owner=OWNER,
)

video_performance = FeatureView(
    name="video_performance",
    entities=[video],
    ttl=AGE_LIMITS["video_performance"],
    schema=[
        Field(name="view_definition", dtype=String, description="Which counts may be compared"),
        *fields(PERFORMANCE_FEATURES),
    ],
    source=video_performance_table,
    online=True,
    description="How a video has done so far. A row per observation.",
    owner=OWNER,
)

channel_track_record = FeatureView(
    name="channel_track_record",
    entities=[channel],
    ttl=AGE_LIMITS["channel_track_record"],
    schema=fields(TRACK_RECORD_FEATURES),
    source=channel_track_record_table,
    online=True,
    description="What is usual for a channel. A row per moment at which any of it was observed.",
    owner=OWNER,
)
