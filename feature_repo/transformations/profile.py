"""What a video is: its publication, title, description and format, as one row of features."""

from collections.abc import Sequence

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.format import FORMAT_FEATURES, format_features
from feature_repo.transformations.language import languages
from feature_repo.transformations.region import main_region
from feature_repo.transformations.sequences import FloatArray
from feature_repo.transformations.text import (
    DESCRIPTION_FEATURES,
    TITLE_FEATURES,
    description_features,
    title_features,
)
from feature_repo.transformations.timing import TIMING_FEATURES, timing_features
from feature_repo.transformations.titles import SIMILARITY_FEATURES

PUBLICATION_FEATURES = (
    Feature("published_at", "epoch seconds", "When the video went, or goes, live"),
)

# What is known of a draft too: what YouTube adds after the upload is left out.
DRAFT_FORMAT = (
    "duration_seconds",
    "short_probability",
    "category_id",
    "is_music",
    "is_gaming",
    "is_film",
)
DRAFT_FEATURES = (
    *TITLE_FEATURES,
    *DESCRIPTION_FEATURES,
    *TIMING_FEATURES,
    *(feature for feature in FORMAT_FEATURES if feature.name in DRAFT_FORMAT),
)

PROFILE_FEATURES = (
    *PUBLICATION_FEATURES,
    *TITLE_FEATURES,
    *DESCRIPTION_FEATURES,
    *FORMAT_FEATURES,
    *TIMING_FEATURES,
    *SIMILARITY_FEATURES,
)


def draft_features(
    titles: Sequence[str],
    descriptions: Sequence[str | None],
    tags: Sequence[Sequence[str] | None],
    category_id: FloatArray,
    duration_seconds: FloatArray,
    published_at: FloatArray,
    country: FloatArray,
) -> dict[str, FloatArray]:
    """Describe drafts by the functions that describe published videos.

    Args:
        titles: Never null.
        descriptions: Null for none.
        tags: Null for none.
        category_id: NaN for none.
        duration_seconds: NaN when not known yet.
        published_at: Planned publication, epoch seconds.
        country: Number of the channel's country, `channel_country`; NaN for none.

    Returns:
        One float64 array per name in DRAFT_FEATURES.
    """
    unknown = np.full(len(titles), np.nan)
    described_format = format_features(
        duration_seconds, category_id, [None] * len(titles), unknown, unknown, unknown
    )
    return written_features(titles, descriptions, tags, published_at, country) | {
        name: described_format[name] for name in DRAFT_FORMAT
    }


def written_features(
    titles: Sequence[str],
    descriptions: Sequence[str | None],
    tags: Sequence[Sequence[str] | None],
    published_at: FloatArray,
    country: FloatArray,
) -> dict[str, FloatArray]:
    """Describe what a creator writes and when it goes live; arguments as for drafts.

    Returns:
        Title, description and timing features.
    """
    codes = languages(titles)
    return (
        title_features(titles, codes)
        | description_features(descriptions, tags)
        | timing_features(published_at, main_region(country, codes))
    )
