"""What kind of video it is: length, format, category, and what YouTube knows of it."""

from collections.abc import Sequence

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.sequences import FloatArray

SHORT_MAX_SECONDS = 180.0
OLD_SHORT_MAX_SECONDS = 60.0

FORMAT_FEATURES = (
    Feature("duration_seconds", "seconds", "Length of the video", "live, premiere, or not read"),
    Feature(
        "short_probability",
        "ratio",
        "1 up to a minute, falling to 0 at three: YouTube has no flag for Shorts",
        "duration unknown",
    ),
    Feature("category_id", "id", "YouTube's category", "not read"),
    Feature("is_music", "0/1", "The category is music", "category not read"),
    Feature("is_gaming", "0/1", "The category is gaming", "category not read"),
    Feature("is_film", "0/1", "The category is film", "category not read"),
    Feature("is_live_or_upcoming", "0/1", "A stream or premiere when last looked at", "not read"),
    Feature("is_high_definition", "0/1", "Offered in HD", "not read"),
    Feature("has_captions", "0/1", "Captions are there", "not read"),
    Feature("is_made_for_kids", "0/1", "Made for kids: comments are off", "not read"),
)

MUSIC, GAMING, FILM = 10.0, 20.0, 1.0


def format_features(
    duration_seconds: FloatArray,
    category_id: FloatArray,
    live_broadcast_content: Sequence[str | None],
    is_high_definition: FloatArray,
    has_captions: FloatArray,
    is_made_for_kids: FloatArray,
) -> dict[str, FloatArray]:
    """Describe the format of videos; NaN in, NaN out.

    Returns:
        One float64 array per name in FORMAT_FEATURES.
    """
    live = [
        None if text is None else text in ("live", "upcoming") for text in live_broadcast_content
    ]
    return {
        "duration_seconds": duration_seconds,
        "short_probability": short_probability(duration_seconds),
        "category_id": category_id,
        "is_music": _equals(category_id, MUSIC),
        "is_gaming": _equals(category_id, GAMING),
        "is_film": _equals(category_id, FILM),
        "is_live_or_upcoming": np.array(live, dtype=np.float64),
        "is_high_definition": is_high_definition,
        "has_captions": has_captions,
        "is_made_for_kids": is_made_for_kids,
    }


def short_probability(duration_seconds: FloatArray) -> FloatArray:
    """Guess whether a video is a Short from its length alone; NaN without one.

    Up to a minute nearly all vertical uploads are Shorts; from a minute to three, fewer the longer.
    """
    falling = (SHORT_MAX_SECONDS - duration_seconds) / (SHORT_MAX_SECONDS - OLD_SHORT_MAX_SECONDS)
    return np.minimum(np.maximum(falling, 0.0), 1.0)


def _equals(values: FloatArray, constant: float) -> FloatArray:
    return np.where(np.isnan(values), np.nan, (values == constant).astype(np.float64))
