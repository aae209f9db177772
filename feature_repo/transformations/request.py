"""What moves with the moment of asking, of published videos (`published.py`) and of drafts."""

from collections.abc import Mapping, Sequence

import numpy as np

from feature_repo.transformations.declared import names
from feature_repo.transformations.profile import draft_features
from feature_repo.transformations.published import (
    CHANNEL_HABITS,
    CHANNEL_RHYTHM,
    HABIT_FEATURES,
    HABITS,
    PERFORMANCE_INPUTS,
    PROFILE_INPUTS,
    PUBLISHED_CHANNEL_INPUTS,
    PUBLISHED_INPUTS,
    PUBLISHED_REQUEST_FEATURES,
    RHYTHM_FEATURES,
    habits,
    published_request,
    rhythm,
)
from feature_repo.transformations.sequences import FloatArray
from feature_repo.transformations.titles import (
    SIMILARITY_FEATURES,
    WORD_COUNTS,
    similarity_to_channel,
)

__all__ = [
    "CHANNEL_INPUTS",
    "DRAFT_REQUEST_FEATURES",
    "HABIT_FEATURES",
    "PERFORMANCE_INPUTS",
    "PROFILE_INPUTS",
    "PUBLISHED_CHANNEL_INPUTS",
    "PUBLISHED_INPUTS",
    "PUBLISHED_REQUEST_FEATURES",
    "RHYTHM_FEATURES",
    "draft_request",
    "published_request",
]

CHANNEL_INPUTS = (
    *CHANNEL_RHYTHM,
    *CHANNEL_HABITS,
    "channel_country",
    "channel_videos_seen",
    *WORD_COUNTS,
)
DRAFT_REQUEST_FEATURES = (*RHYTHM_FEATURES, *HABIT_FEATURES, *SIMILARITY_FEATURES)


def draft_request(
    channel: Mapping[str, FloatArray],
    titles: Sequence[str],
    descriptions: Sequence[str | None],
    tags: Sequence[Sequence[str] | None],
    category_id: FloatArray,
    duration_seconds: FloatArray,
    as_of: FloatArray,
) -> dict[str, FloatArray]:
    """Describe drafts at their planned publication, with what is known of their channels.

    Args:
        channel: One float64 array per name in CHANNEL_INPUTS; NaN where null.
        titles: Never null.
        descriptions: Null for none.
        tags: Null for none.
        category_id: NaN for none.
        duration_seconds: NaN when not known yet.
        as_of: Planned publication, epoch seconds.

    Returns:
        One float64 array per name in DRAFT_FEATURES and DRAFT_REQUEST_FEATURES.
    """
    described = draft_features(
        titles,
        descriptions,
        tags,
        category_id,
        duration_seconds,
        as_of,
        channel["channel_country"],
    )
    return (
        described
        | _rhythm(channel, as_of)
        | _habits(described, channel)
        | similarity_to_channel(titles, channel)
    )


def _rhythm(channel: Mapping[str, FloatArray], as_of: FloatArray) -> dict[str, FloatArray]:
    told = rhythm(as_of, *(channel[name] for name in CHANNEL_RHYTHM))
    return dict(zip(names(RHYTHM_FEATURES), told, strict=True))


def _habits(
    own: Mapping[str, FloatArray], channel: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    usual = np.array([channel[name] for name in CHANNEL_HABITS])
    told = np.empty(usual.shape)
    habits(np.array([own[name] for name in HABITS]), usual, told)
    return dict(zip(names(HABIT_FEATURES), told, strict=True))
