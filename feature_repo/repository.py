"""Table of contents: everything that is registered with Feast."""

from feature_repo.entities import channel, video
from feature_repo.feature_services import draft_v1, draft_v2, published_v1, published_v2
from feature_repo.feature_views import channel_track_record, video_performance, video_profile
from feature_repo.on_demand_views import draft_request, published_request
from feature_repo.sources import (
    asking,
    channel_track_record_table,
    draft,
    video_performance_table,
    video_profile_table,
)

OBJECTS = (
    video,
    channel,
    video_profile_table,
    video_performance_table,
    channel_track_record_table,
    asking,
    draft,
    video_profile,
    video_performance,
    channel_track_record,
    published_request,
    draft_request,
    published_v1,
    draft_v1,
    published_v2,
    draft_v2,
)
