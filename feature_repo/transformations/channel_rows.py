"""Rows of channels and their videos in time, and how they are summarized at every row."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from feature_repo.segments import EVERY_FORMAT_CHANGE, SHORTS_CHANGE
from feature_repo.transformations.sequences import (
    BoolArray,
    FloatArray,
    IntArray,
    is_first,
    last_values,
    latest_at,
    row_median,
    start_of,
)

Summary = Callable[[FloatArray], FloatArray]

# From these moments on views of some format were counted in another way.
ERA_STARTS = np.array([SHORTS_CHANGE.timestamp(), EVERY_FORMAT_CHANGE.timestamp()])

# Summaries are taken over a channel's last so many videos; below so many the tier is unknown.
LAST_VIDEOS = 20
LEAST_VIDEOS = 3

HABITS = (
    "title_length",
    "title_uppercase_ratio",
    "title_emoji",
    "description_length",
    "tag_count",
    "duration_seconds",
)


class ChannelRows(NamedTuple):
    """Observations of channels and of their videos, sorted by channel and time.

    Attributes:
        channel: Codes, ascending.
        observed: Epoch seconds, ascending within a channel.
        video: Codes; -1 for an observation of the channel itself.
        published: Epoch seconds; NaN for the channel itself.
        views: Of the video; NaN where hidden, as are likes and comments.
        is_short: 1, 0, or NaN without a duration.
        valid_until: Epoch seconds up to which the views are counted as they are now.
        habits: What the creator usually does, shape (rows, len(HABITS)); NaN for the channel.
        country: Number of the country of the channel itself; NaN elsewhere.
        subscribers: Of the channel itself; NaN elsewhere and where hidden.
        channel_views: Of the channel itself; NaN elsewhere.
        channel_videos: Of the channel itself; NaN elsewhere.
        title: Row of `title_words` that is the video's title; -1 for the channel.
        title_words: Words of titles, packed, shape (titles, numbers).
    """

    channel: IntArray
    observed: FloatArray
    video: IntArray
    published: FloatArray
    views: FloatArray
    likes: FloatArray
    comments: FloatArray
    is_short: FloatArray
    valid_until: FloatArray
    habits: FloatArray
    country: FloatArray
    subscribers: FloatArray
    channel_views: FloatArray
    channel_videos: FloatArray
    title: IntArray
    title_words: IntArray


def row_count(window: FloatArray) -> FloatArray:
    """Count the values of each row that are not NaN."""
    return np.sum(~np.isnan(window), axis=1).astype(np.float64)


def sightings(rows: ChannelRows) -> IntArray:
    """Number the looks at each video of a channel from 0; -1 for looks at the channel itself."""
    order = np.lexsort((rows.observed, rows.video, rows.channel))
    start = start_of(is_first(rows.channel[order], rows.video[order]))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order)) - start
    return np.where(rows.video < 0, -1, number)


def first_of_video(rows: ChannelRows, inside: BoolArray) -> BoolArray:
    """Mark the first row of each video of a channel among the rows marked."""
    at = np.flatnonzero(inside & (rows.video >= 0))
    order = at[np.lexsort((rows.observed[at], rows.video[at], rows.channel[at]))]
    marked = np.zeros(len(inside), dtype=bool)
    if len(order):
        marked[order[is_first(rows.channel[order], rows.video[order])]] = True
    return marked


def counted(
    rows: ChannelRows, marked: BoolArray, values: FloatArray, summary: Summary
) -> FloatArray:
    """Summarize as `over` does, but only looks whose views are counted as at the row itself."""
    result = np.full(len(rows.channel), np.nan)
    era = np.searchsorted(ERA_STARTS, rows.observed, side="right")
    for number in np.unique(era):
        valid = rows.valid_until > (ERA_STARTS[number - 1] if number else -np.inf)
        here = era == number
        result[here] = over(rows, marked & valid, values, summary)[here]
    return result


def over(rows: ChannelRows, marked: BoolArray, values: FloatArray, summary: Summary) -> FloatArray:
    """Summarize the last marked videos of a channel with a value, at every row."""
    at = np.flatnonzero(marked & ~np.isnan(values))
    window = last_values(values[at], rows.channel[at], LAST_VIDEOS)
    return spread_over(rows, at, summary(window))


def median(rows: ChannelRows, marked: BoolArray, values: FloatArray) -> FloatArray:
    """Give the median over the last marked videos of a channel with a value, at every row."""
    return over(rows, marked, values, row_median)


def mean(rows: ChannelRows, marked: BoolArray, values: FloatArray) -> FloatArray:
    """Give the mean over the same."""
    at = np.flatnonzero(marked & ~np.isnan(values))
    window = last_values(values[at], rows.channel[at], LAST_VIDEOS)
    known = np.sum(~np.isnan(window), axis=1)
    return spread_over(rows, at, np.nansum(window, axis=1) / np.maximum(known, 1))


def spread_over(rows: ChannelRows, at: IntArray, values: FloatArray) -> FloatArray:
    """Give at every row of a channel the value set at its latest row in `at`; NaN before any."""
    if len(at) == 0:
        return np.full(len(rows.channel), np.nan)
    latest = latest_at(rows.channel[at], rows.observed[at], rows.channel, rows.observed)
    return np.where(latest >= 0, values[latest], np.nan)


def per_view(counts: FloatArray, views: FloatArray) -> FloatArray:
    """Give counts by views, NaN without views."""
    ratio = np.full(len(counts), np.nan)
    return np.divide(counts, views, out=ratio, where=views > 0)
