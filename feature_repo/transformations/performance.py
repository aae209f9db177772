"""How a video has done so far: counts, their growth over declared windows, likes and comments."""

from typing import NamedTuple

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.sequences import (
    DAY_SECONDS,
    FloatArray,
    IntArray,
    is_first,
    latest_at,
    running_max,
    start_of,
)

# Growth over w days compares with the latest row at least 0.75 w old, if that is at most 1.5 w old.
WINDOWS_DAYS = (1, 3, 7)
WINDOW_SLACK = (0.75, 1.5)

# log10(1 + likes), and comments, that a video of so many views usually has at first sight: slope
# and offset by least squares over 27,000 videos seen in spring 2025, before any test period.
EXPECTED_LIKES = (0.904, -0.933)
EXPECTED_COMMENTS = (0.382, 0.637)

_NO_REFERENCE = "no earlier observation about that old, count hidden, or a view was redefined since"

PERFORMANCE_FEATURES = (
    Feature("view_count", "views", "Cumulative views at the observation", "hidden or left out"),
    Feature(
        "like_count", "likes", "Cumulative likes at the observation", "hidden", "are_likes_hidden"
    ),
    Feature(
        "comment_count",
        "comments",
        "Cumulative comments at the observation",
        "comments off",
        "are_comments_off",
    ),
    Feature("log10_views", "decades", "log10(1 + views)", "views unknown"),
    Feature("observed_at", "epoch seconds", "When the counts were read at YouTube"),
    Feature("first_observed_at", "epoch seconds", "When the video was first looked at"),
    Feature(
        "first_log10_views", "decades", "log10(1 + views) at first sight", "views unknown then"
    ),
    Feature("observation_count", "observations", "How often the video was looked at so far"),
    Feature(
        "hours_since_previous_observation",
        "hours",
        "Between the last two looks",
        "only one observation",
    ),
    *(
        Feature(f"views_per_hour_{w}d", "views/hour", f"Mean gain over about {w} d", _NO_REFERENCE)
        for w in WINDOWS_DAYS
    ),
    *(
        Feature(
            f"log10_views_growth_{w}d",
            "decades/day",
            f"Growth of log10(1 + views) a day over about {w} d",
            _NO_REFERENCE,
        )
        for w in WINDOWS_DAYS
    ),
    Feature("log10_likes_growth_1d", "decades/day", "The same for likes", _NO_REFERENCE),
    Feature("log10_comments_growth_1d", "decades/day", "The same for comments", _NO_REFERENCE),
    Feature(
        "views_growth_ratio_1d_3d",
        "ratio",
        "Growth over one day by growth over three: below 1 it slows",
        "either is null, or no growth in three days",
    ),
    Feature(
        "views_growth_ratio_3d_7d",
        "ratio",
        "Growth over three days by growth over seven",
        "either is null, or no growth in seven days",
    ),
    Feature(
        "log10_views_acceleration",
        "decades/day",
        "Growth over about 1 d less growth over about 3 d",
        "either is null",
    ),
    Feature(
        "log10_views_growth_since_first",
        "decades/day",
        "Mean growth since first sight",
        "first look, count unknown, or a view was redefined since",
    ),
    Feature(
        "views_rate_by_peak",
        "ratio",
        "Gain per hour since the look before, by the largest such gain so far",
        "first look, count unknown, or views never grew",
    ),
    Feature("likes_per_view", "ratio", "Likes by views", "either unknown, or no views"),
    Feature(
        "likes_against_views",
        "decades",
        "log10(1 + likes) less what so many views suggest",
        "likes or views unknown",
    ),
    Feature(
        "comments_against_views",
        "decades",
        "log10(1 + comments) less what so many views suggest",
        "comments or views unknown",
    ),
    Feature("comments_per_like", "ratio", "Comments by likes", "either unknown, or no likes"),
    Feature("comments_per_view", "ratio", "Comments by views", "either unknown, or no views"),
    Feature("are_likes_hidden", "0/1", "Likes were left out of the answer"),
    Feature("are_comments_off", "0/1", "Comments were left out of the answer"),
)


class Snapshots(NamedTuple):
    """Observations of videos, sorted by video and time, one per video and moment.

    Attributes:
        video: Codes, ascending.
        observed: Epoch seconds, strictly ascending within a video.
        views: Counts; NaN where hidden or left out, as are likes and comments.
        definition: Code of the definition of a view in force.
    """

    video: IntArray
    observed: FloatArray
    views: FloatArray
    likes: FloatArray
    comments: FloatArray
    definition: IntArray


def video_performance(rows: Snapshots) -> dict[str, FloatArray]:
    """Describe each observation by itself and the earlier ones of its video.

    Returns:
        One float64 array per name in PERFORMANCE_FEATURES, in the order of the rows.
    """
    return _present(rows) | _growth(rows)


def _present(rows: Snapshots) -> dict[str, FloatArray]:
    first = start_of(is_first(rows.video))
    log_views = np.log10(1.0 + rows.views)
    seen = np.arange(len(rows.video)) - first
    previous = np.where(seen > 0, np.arange(len(rows.video)) - 1, first)
    gap = (rows.observed - rows.observed[previous]) / 3600.0
    return {
        "view_count": rows.views,
        "like_count": rows.likes,
        "comment_count": rows.comments,
        "log10_views": log_views,
        "observed_at": rows.observed,
        "first_observed_at": rows.observed[first],
        "first_log10_views": log_views[first],
        "observation_count": seen + 1.0,
        "hours_since_previous_observation": np.where(seen > 0, gap, np.nan),
        "likes_per_view": _ratio(rows.likes, rows.views),
        "comments_per_view": _ratio(rows.comments, rows.views),
        "likes_against_views": _against(rows.likes, log_views, EXPECTED_LIKES),
        "comments_against_views": _against(rows.comments, log_views, EXPECTED_COMMENTS),
        "comments_per_like": _ratio(rows.comments, rows.likes),
        "are_likes_hidden": np.isnan(rows.likes).astype(np.float64),
        "are_comments_off": np.isnan(rows.comments).astype(np.float64),
    }


def _growth(rows: Snapshots) -> dict[str, FloatArray]:
    growth: dict[str, FloatArray] = {}
    for window in WINDOWS_DAYS:
        back = _reference(rows, window)
        growth[f"views_per_hour_{window}d"] = _gain(rows.views, back, rows) / 24.0
        growth[f"log10_views_growth_{window}d"] = _gain(np.log10(1.0 + rows.views), back, rows)
    back = _reference(rows, 1)
    growth["log10_likes_growth_1d"] = _gain(np.log10(1.0 + rows.likes), back, rows)
    growth["log10_comments_growth_1d"] = _gain(np.log10(1.0 + rows.comments), back, rows)
    growth["views_growth_ratio_1d_3d"] = _ratio(
        growth["log10_views_growth_1d"], growth["log10_views_growth_3d"]
    )
    growth["views_growth_ratio_3d_7d"] = _ratio(
        growth["log10_views_growth_3d"], growth["log10_views_growth_7d"]
    )
    growth["log10_views_acceleration"] = (
        growth["log10_views_growth_1d"] - growth["log10_views_growth_3d"]
    )
    return growth | _since_first(rows)


def _since_first(rows: Snapshots) -> dict[str, FloatArray]:
    """Hold the present against the whole of what was seen of the video."""
    index = np.arange(len(rows.video))
    first = start_of(is_first(rows.video))
    alike = (index > first) & (rows.definition == rows.definition[first])
    before = index - (index > first)
    unchanged = (index > first) & (rows.definition == rows.definition[before])
    rate = _gain(rows.views, np.where(unchanged, before, -1), rows) / 24.0
    log_views = np.log10(1.0 + rows.views)
    return {
        "log10_views_growth_since_first": _gain(log_views, np.where(alike, first, -1), rows),
        "views_rate_by_peak": _ratio(rate, running_max(rate, rows.video)),
    }


def _reference(rows: Snapshots, window_days: int) -> IntArray:
    """Give the index of the row each row's growth is measured from, -1 where there is none."""
    least, most = (slack * window_days * DAY_SECONDS for slack in WINDOW_SLACK)
    back = latest_at(rows.video, rows.observed, rows.video, rows.observed - least)
    recent = rows.observed - rows.observed[back] <= most
    comparable = rows.definition == rows.definition[back]
    return np.where((back >= 0) & recent & comparable, back, -1)


def _gain(values: FloatArray, back: IntArray, rows: Snapshots) -> FloatArray:
    """Give the gain per day since the reference row; NaN without one."""
    days = (rows.observed - rows.observed[back]) / DAY_SECONDS
    found = back >= 0
    gain = np.full(len(values), np.nan)
    np.divide(values - values[back], days, out=gain, where=found)
    return gain


def _against(
    counts: FloatArray, log_views: FloatArray, expected: tuple[float, float]
) -> FloatArray:
    slope, offset = expected
    return np.log10(1.0 + counts) - (slope * log_views + offset)


def _ratio(over: FloatArray, under: FloatArray) -> FloatArray:
    ratio = np.full(len(over), np.nan)
    return np.divide(over, under, out=ratio, where=under > 0)
