"""How a channel's videos usually grow after they are first seen, free of their age; pure."""

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.sequences import (
    DAY_SECONDS,
    FloatArray,
    IntArray,
    is_first,
    last_values,
    latest_at,
    row_median,
    start_of,
)

LAST_VIDEOS = 20
# A look counts as a day (three days) after the first one when it is about that much later.
WINDOWS_DAYS = {"": (0.75, 1.5), "_3d": (2.5, 3.5)}
# The mean is drawn to what is usual anywhere, as if so many videos more had been seen.
USUAL_EXPONENT, PRIOR_VIDEOS = 0.5, 2.0
RECENT_WEIGHT = 0.35
MOST = 5.0

_NONE = "no video was looked at twice, a day apart"

CHANNEL_GROWTH_FEATURES = (
    Feature(
        "channel_growth_exponent",
        "exponent",
        "Gain of log10 views by that of log10 age in the day after first sight: mean of the last "
        f"{LAST_VIDEOS} videos and {PRIOR_VIDEOS:g} usual ones",
        _NONE,
    ),
    Feature("channel_median_growth_exponent", "exponent", "Median of the same", _NONE),
    Feature("channel_latest_growth_exponent", "exponent", "Of the latest such video", _NONE),
    Feature("channel_recent_growth_exponent", "exponent", "Mean, recent ones weigh more", _NONE),
    Feature("channel_growth_videos", "videos", f"Such videos, at most {LAST_VIDEOS}", _NONE),
    Feature("channel_growth_exponent_3d", "exponent", "Mean, over three days", _NONE),
    Feature("channel_recent_growth_exponent_3d", "exponent", "Recent mean, over three", _NONE),
)


def channel_growth(
    channel: IntArray,
    observed: FloatArray,
    video: IntArray,
    published: FloatArray,
    views: FloatArray,
    valid_until: FloatArray,
) -> dict[str, FloatArray]:
    """Describe each channel at each row by that row and the earlier ones.

    Args:
        channel: Codes, ascending.
        observed: Epoch seconds, ascending within a channel.
        video: Codes; -1 for an observation of the channel itself.
        published: Epoch seconds.
        views: Counts; NaN where hidden.
        valid_until: Epoch seconds up to which these are counted as they are now: looks on both
            sides of a change are not compared.

    Returns:
        One float64 array per name in CHANNEL_GROWTH_FEATURES, in the order of the rows.
    """
    found = {}
    for suffix, window in WINDOWS_DAYS.items():
        at, exponent = _exponents(channel, observed, video, published, views, valid_until, window)
        last = last_values(exponent, channel[at], LAST_VIDEOS)
        n = np.sum(~np.isnan(last), axis=1).astype(np.float64)
        mean = (np.nansum(last, axis=1) + PRIOR_VIDEOS * USUAL_EXPONENT) / (n + PRIOR_VIDEOS)
        values = {
            f"channel_growth_exponent{suffix}": mean,
            f"channel_recent_growth_exponent{suffix}": _recent(last),
        }
        if not suffix:
            values["channel_median_growth_exponent"] = row_median(last)
            values["channel_latest_growth_exponent"] = last[:, 0]
            values["channel_growth_videos"] = n
        for name, value in values.items():
            found[name] = _carried(channel, observed, at, value)
    return found


def _exponents(
    channel: IntArray,
    observed: FloatArray,
    video: IntArray,
    published: FloatArray,
    views: FloatArray,
    valid_until: FloatArray,
    window: tuple[float, float],
) -> tuple[IntArray, FloatArray]:
    """Give the first row of each video in the window after its first sight, and the exponent."""
    order = np.lexsort((observed, video, channel))
    order = order[video[order] >= 0]
    first = order[start_of(is_first(channel[order], video[order]))]
    days = (observed[order] - observed[first]) / DAY_SECONDS
    comparable = (observed[first] > published[first]) & (valid_until[first] == valid_until[order])
    inside = np.flatnonzero((days >= window[0]) & (days < window[1]) & comparable)
    again = is_first(channel[order][inside], video[order][inside])
    now, then = order[inside][again], first[inside][again]
    gain = np.log10(1.0 + views[now]) - np.log10(1.0 + views[then])
    older = np.log10((observed[now] - published[now]) / (observed[then] - published[then]))
    exponent = np.clip(gain / older, -1.0, MOST)
    by_time = np.argsort(now)
    known = ~np.isnan(exponent[by_time])
    return now[by_time][known], exponent[by_time][known]


def _recent(last: FloatArray) -> FloatArray:
    """Give a mean in which each video weighs less than the one after it."""
    weights = (1.0 - RECENT_WEIGHT) ** np.arange(last.shape[1])
    known = np.where(np.isnan(last), 0.0, weights)
    total = np.sum(known, axis=1)
    return np.nansum(last * weights, axis=1) / np.where(total > 0, total, np.nan)


def _carried(
    channel: IntArray, observed: FloatArray, at: IntArray, values: FloatArray
) -> FloatArray:
    """Give at every row the value of the channel's latest row in `at`; NaN before any."""
    if len(at) == 0:
        return np.full(len(channel), np.nan)
    latest = latest_at(channel[at], observed[at], channel, observed)
    return np.where(latest >= 0, values[latest], np.nan)
