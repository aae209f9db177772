"""Request-time features: thin wrappers over transformations."""

from collections.abc import Sequence

import pandas as pd
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from feature_repo.entities import OWNER
from feature_repo.feature_views import (
    channel_track_record,
    video_performance,
    video_profile,
)
from feature_repo.sources import asking, draft
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.profile import DRAFT_FEATURES
from feature_repo.transformations.request import (
    CHANNEL_INPUTS,
    DRAFT_REQUEST_FEATURES,
    PERFORMANCE_INPUTS,
    PROFILE_INPUTS,
    PUBLISHED_CHANNEL_INPUTS,
    PUBLISHED_REQUEST_FEATURES,
)


def _plain_fields(features: Sequence[Feature]) -> list[Field]:
    """Register names and types only: Feast compares on-demand fields whole with what it infers."""
    return [Field(name=feature.name, dtype=Float64) for feature in features]


def _documentation(features: Sequence[Feature]) -> dict[str, str]:
    """Document features as tags of their view, since its fields cannot carry it."""
    return {f.name: f"{f.unit}: {f.description}; null: {f.null}" for f in features}


# Feast stores these bodies as source text and runs them apart from this module, so what they need
# is imported inside them.
@on_demand_feature_view(
    sources=[
        video_profile[list(PROFILE_INPUTS)],
        video_performance[list(PERFORMANCE_INPUTS)],
        channel_track_record[list(PUBLISHED_CHANNEL_INPUTS)],
        asking,
    ],
    schema=_plain_fields(PUBLISHED_REQUEST_FEATURES),
    tags=_documentation(PUBLISHED_REQUEST_FEATURES),
    mode="pandas",
    description="What moves with the moment of asking about a published video.",
    owner=OWNER,
)
def published_request(inputs: pd.DataFrame) -> pd.DataFrame:
    """Describe published videos at `as_of`."""
    import pandas as pd

    from feature_repo.request_fields import epoch_seconds, float_columns
    from feature_repo.transformations import request

    stored = float_columns(inputs, request.PUBLISHED_INPUTS)
    features = request.published_request(stored, epoch_seconds(inputs["as_of"]))
    return pd.DataFrame(features, index=inputs.index)


@on_demand_feature_view(
    sources=[channel_track_record[list(CHANNEL_INPUTS)], draft],
    schema=_plain_fields([*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES]),
    tags=_documentation([*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES]),
    mode="pandas",
    description="What a creator knows of a draft, at its planned publication.",
    owner=OWNER,
)
def draft_request(inputs: pd.DataFrame) -> pd.DataFrame:
    """Describe drafts at their planned publication, `as_of`."""
    import pandas as pd

    from feature_repo.request_fields import draft_arrays, epoch_seconds, float_columns
    from feature_repo.transformations import request

    channel = float_columns(inputs, request.CHANNEL_INPUTS)
    as_of = epoch_seconds(inputs["as_of"])
    features = request.draft_request(channel, *draft_arrays(inputs), as_of)
    return pd.DataFrame(features, index=inputs.index)
