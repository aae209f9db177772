"""A channel's normal: its videos' views at the same age, shrunk towards channels of its size."""

import numpy as np

from feature_repo.transformations.channel_rows import (
    LAST_VIDEOS,
    ChannelRows,
    counted,
    first_of_video,
    row_count,
)
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.sequences import (
    BoolArray,
    FloatArray,
    row_median,
    row_spread,
)

# Ages are aligned in bands an octave wide, around each age of the grid: the first look within a
# band stands for the video, so that what is known of a video at an age is never revised.
AGE_GRID_DAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
BAND_HALF_WIDTH = 2.0**0.5

# How log10 views usually grow with age, by the size of a channel: decades above those at half a
# day, at the ages of the grid. Medians of daily steps within 24,000 videos seen in spring 2025,
# before any test period.
SIZE_EDGES = (5.0, 6.0)
SHAPES = np.array(
    [
        [0.0, 0.22, 0.37, 0.507, 0.627, 0.727, 0.817],
        [0.0, 0.14, 0.265, 0.377, 0.472, 0.552, 0.622],
        [0.0, 0.12, 0.24, 0.34, 0.44, 0.52, 0.595],
    ]
)
MIDDLE_SIZE = 1
# What is usual for channels of its size weighs as much as so many videos of the channel's own.
PRIOR_VIDEOS = 2.0
PRIOR_SPREAD = 0.25

NO_LEVEL = "no video of the channel was seen with views counted as now"


def normal_name(age_days: float) -> str:
    """Name the feature that holds a channel's normal at an age of the grid."""
    return f"channel_normal_log10_views_{round(age_days * 24)}h"


def spread_name(age_days: float) -> str:
    """Name the feature that holds the spread around that normal."""
    return f"channel_normal_spread_{round(age_days * 24)}h"


def evidence_name(age_days: float) -> str:
    """Name the feature that counts the videos behind that normal."""
    return f"channel_normal_videos_{round(age_days * 24)}h"


NORMAL_FEATURES = tuple(normal_name(age) for age in AGE_GRID_DAYS)
SPREAD_FEATURES = tuple(spread_name(age) for age in AGE_GRID_DAYS)
EVIDENCE_FEATURES = tuple(evidence_name(age) for age in AGE_GRID_DAYS)

# By age, each kind after the other.
BY_AGE_FEATURES = (
    *(
        Feature(
            normal_name(age),
            "decades",
            f"Median log10(1 + views) at {age:g} d over the last {LAST_VIDEOS} videos seen then, "
            "shrunk towards what is usual for channels of its size",
            NO_LEVEL,
        )
        for age in AGE_GRID_DAYS
    ),
    *(
        Feature(
            spread_name(age),
            "decades",
            f"Median absolute deviation at {age:g} d, shrunk towards {PRIOR_SPREAD:g}",
            NO_LEVEL,
        )
        for age in AGE_GRID_DAYS
    ),
    *(
        Feature(evidence_name(age), "videos", f"Videos behind the normal at {age:g} d")
        for age in AGE_GRID_DAYS
    ),
)


def normals(
    rows: ChannelRows, ages: FloatArray, first: BoolArray, log_views: FloatArray
) -> dict[str, FloatArray]:
    """Give normal, spread and evidence at each age, shrunk towards channels of its size."""
    aligned = log_views - np.interp(ages, AGE_GRID_DAYS, SHAPES[MIDDLE_SIZE])
    level = counted(rows, first, aligned, row_median)
    shape = SHAPES[np.searchsorted(SIZE_EDGES, np.where(np.isnan(level), 0.0, level))]
    told = {"channel_level_log10_views": level}
    for number, age in enumerate(AGE_GRID_DAYS):
        inside = (ages >= age / BAND_HALF_WIDTH) & (ages < age * BAND_HALF_WIDTH)
        marked = first_of_video(rows, inside)
        own = counted(rows, marked, log_views, row_median)
        spread = counted(rows, marked, log_views, row_spread)
        seen = np.nan_to_num(counted(rows, marked, log_views, row_count))
        normal = _shrunk(own, seen, level + shape[:, number])
        usual = np.where(np.isnan(normal), np.nan, PRIOR_SPREAD)
        told[normal_name(age)] = normal
        told[spread_name(age)] = _shrunk(spread, np.where(np.isnan(spread), 0.0, seen), usual)
        told[evidence_name(age)] = seen
    return told


def _shrunk(own: FloatArray, seen: FloatArray, usual: FloatArray) -> FloatArray:
    """Weigh what was seen of a channel against what is usual; where that is NaN the first stands.

    Source: the posterior mean of Efron and Morris, Data analysis using Stein's estimator, 1975.
    """
    weighed = np.where(seen > 0, own, 0.0) * seen + usual * PRIOR_VIDEOS
    return np.where(np.isnan(usual), own, weighed / (seen + PRIOR_VIDEOS))
