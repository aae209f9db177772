"""When a video goes live: hour and weekday, in UTC and by the clocks of its main region."""

import math

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.region import days_to_holiday, is_weekend, local_moments
from feature_repo.transformations.sequences import DAY_SECONDS, FloatArray

_NO_REGION = "no country stated and none that the language points to"

TIMING_FEATURES = (
    Feature("publish_hour_sin", "sine", "Hour of publication, UTC, on a circle"),
    Feature("publish_hour_cos", "cosine", "Hour of publication, UTC, on a circle"),
    Feature("publish_weekday_sin", "sine", "Weekday of publication, UTC, on a circle"),
    Feature("publish_weekday_cos", "cosine", "Weekday of publication, UTC, on a circle"),
    Feature("is_published_on_weekend", "0/1", "Saturday or Sunday, UTC"),
    Feature("publish_local_hour_sin", "sine", "Hour in the main region, on a circle", _NO_REGION),
    Feature("publish_local_hour_cos", "cosine", "Hour in the main region, on a circle", _NO_REGION),
    Feature("is_published_on_local_weekend", "0/1", "A day of rest in the region", _NO_REGION),
    Feature("is_published_on_holiday", "0/1", "A public holiday of the region", _NO_REGION),
    Feature("days_to_next_holiday", "days", "To the region's next holiday, 0 on one", _NO_REGION),
)

# Tables rather than np.sin: its result may differ in the last bit with the length of the array.
_HOUR_SIN = np.array([math.sin(2 * math.pi * hour / 24) for hour in range(24)])
_HOUR_COS = np.array([math.cos(2 * math.pi * hour / 24) for hour in range(24)])
_DAY_SIN = np.array([math.sin(2 * math.pi * day / 7) for day in range(7)])
_DAY_COS = np.array([math.cos(2 * math.pi * day / 7) for day in range(7)])


def timing_features(published_at: FloatArray, region: FloatArray) -> dict[str, FloatArray]:
    """Describe moments of publication.

    Args:
        published_at: Epoch seconds, never NaN.
        region: Number of the main region, NaN where it is not known.

    Returns:
        One float64 array per name in TIMING_FEATURES.
    """
    hour = np.floor(published_at % DAY_SECONDS / 3600.0).astype(np.int64)
    weekday = (
        np.floor(published_at / DAY_SECONDS).astype(np.int64) + 3
    ) % 7  # 1970 began on Thursday
    local = local_moments(published_at, region)
    ahead = days_to_holiday(local.day, region)
    return {
        "publish_hour_sin": _HOUR_SIN[hour],
        "publish_hour_cos": _HOUR_COS[hour],
        "publish_weekday_sin": _DAY_SIN[weekday],
        "publish_weekday_cos": _DAY_COS[weekday],
        "is_published_on_weekend": (weekday >= 5).astype(np.float64),
        "publish_local_hour_sin": _at_hour(_HOUR_SIN, local.hour),
        "publish_local_hour_cos": _at_hour(_HOUR_COS, local.hour),
        "is_published_on_local_weekend": is_weekend(local.weekday, region),
        "is_published_on_holiday": np.where(np.isnan(ahead), np.nan, ahead == 0.0),
        "days_to_next_holiday": ahead,
    }


def _at_hour(table: FloatArray, hour: FloatArray) -> FloatArray:
    known = ~np.isnan(hour)
    return np.where(known, table[np.where(known, hour, 0.0).astype(np.int64)], np.nan)
