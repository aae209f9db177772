"""The exact feature list of each model generation; never edited once a model uses it."""

from collections.abc import Sequence

from feast import FeatureService

from feature_repo.entities import OWNER
from feature_repo.feature_views import channel_track_record, video_performance, video_profile
from feature_repo.on_demand_views import draft_request, published_request
from feature_repo.transformations.channel_rows import HABITS
from feature_repo.transformations.declared import Feature, names
from feature_repo.transformations.normals import (
    EVIDENCE_FEATURES,
    NORMAL_FEATURES,
    SPREAD_FEATURES,
)
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.profile import DRAFT_FEATURES, PROFILE_FEATURES
from feature_repo.transformations.request import DRAFT_REQUEST_FEATURES
from feature_repo.transformations.titles import SIMILARITY_FEATURES, WORD_COUNTS
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES

# Read by request features alone. A model that knows the country learns it by heart; the channel's
# habits and its record by age say little until they are held against the video itself.
_HABITS = tuple(f"channel_{habit}" for habit in HABITS)
_RECORD_BY_AGE = (*SPREAD_FEATURES, *EVIDENCE_FEATURES)
INPUTS_ONLY = ("channel_country", *_HABITS, *_RECORD_BY_AGE, *WORD_COUNTS)
# What models of the first version do not read.
_SINCE_V2 = names(SIMILARITY_FEATURES)


def _told(features: Sequence[Feature], but: Sequence[str] = ()) -> list[str]:
    """Leave out inputs and moments: a model that knows the date learns the past by heart."""
    left_out = {*INPUTS_ONLY, *but}
    return [f.name for f in features if f.unit != "epoch seconds" and f.name not in left_out]


_PUBLISHED = "A video that is live and was observed at least once; ask with both ids and as_of."
_DRAFT = "A video not uploaded yet; ask with channel_id, as_of and the draft's fields."

published_v1 = FeatureService(
    name="published_v1",
    features=[
        video_profile[_told(PROFILE_FEATURES, but=_SINCE_V2)],
        video_performance[_told(PERFORMANCE_FEATURES)],
        channel_track_record[_told(TRACK_RECORD_FEATURES, but=NORMAL_FEATURES)],
        published_request,
    ],
    description=_PUBLISHED,
    owner=OWNER,
)

draft_v1 = FeatureService(
    name="draft_v1",
    features=[
        channel_track_record[_told(TRACK_RECORD_FEATURES)],
        draft_request[_told([*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES], but=_SINCE_V2)],
    ],
    description=_DRAFT,
    owner=OWNER,
)

# With a title's likeness to its channel's earlier ones.
published_v2 = FeatureService(
    name="published_v2",
    features=[
        video_profile[_told(PROFILE_FEATURES)],
        video_performance[_told(PERFORMANCE_FEATURES)],
        channel_track_record[_told(TRACK_RECORD_FEATURES, but=NORMAL_FEATURES)],
        published_request,
    ],
    description=_PUBLISHED,
    owner=OWNER,
)

draft_v2 = FeatureService(
    name="draft_v2",
    features=[channel_track_record[_told(TRACK_RECORD_FEATURES)], draft_request],
    description=_DRAFT,
    owner=OWNER,
)
