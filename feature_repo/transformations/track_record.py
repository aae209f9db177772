"""What is usual for a channel: its videos' views at the same age, its rhythm, its audience."""

import numpy as np

from feature_repo.transformations.channel_growth import CHANNEL_GROWTH_FEATURES, channel_growth
from feature_repo.transformations.channel_rows import (
    HABITS,
    LEAST_VIDEOS,
    ChannelRows,
    counted,
    first_of_video,
    mean,
    median,
    over,
    per_view,
    row_count,
    sightings,
    spread_over,
)
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.normals import BY_AGE_FEATURES, NO_LEVEL, normals
from feature_repo.transformations.sequences import (
    DAY_SECONDS,
    BoolArray,
    FloatArray,
    IntArray,
    is_first,
    latest_at,
    row_median,
    row_spread,
    running_count,
    running_max,
)
from feature_repo.transformations.titles import WORD_COUNT_FEATURES, WORD_COUNTS, counts_of_last

EARLY_AGE_DAYS = (0.5, 4.0)
UPLOAD_WINDOWS_DAYS = (7, 30)
# Growth of a channel compares with the latest look at least, and at most, so many days old.
AUDIENCE_DAYS = (7.0, 45.0)

_FEW = f"fewer than {LEAST_VIDEOS} such videos"

TRACK_RECORD_FEATURES = (
    *BY_AGE_FEATURES,
    Feature(
        "channel_level_log10_views",
        "decades",
        "Median log10(1 + views) at first sight, brought to half a day of age",
        NO_LEVEL,
    ),
    Feature(
        "channel_early_log10_views",
        "decades",
        f"Median log10(1 + views) at first sight between {EARLY_AGE_DAYS[0]:g} and "
        f"{EARLY_AGE_DAYS[1]:g} d of age; decides the tier",
        _FEW,
    ),
    Feature("channel_early_spread", "decades", "Median absolute deviation of the same", _FEW),
    Feature("channel_first_log10_views", "decades", "Median at first sight, at any age", NO_LEVEL),
    Feature("channel_first_age_days", "days", "Median age at first sight", "no video seen"),
    Feature("channel_log10_views_growth", "decades/day", "Median growth after first sight", "none"),
    Feature("channel_likes_per_view", "ratio", "Median at first sight", "all hidden"),
    Feature("channel_comments_per_view", "ratio", "Median at first sight", "all off"),
    Feature(
        "channel_shorts_share", "ratio", "Share of Shorts in the last videos", "no duration known"
    ),
    *(
        Feature(f"channel_{habit}", unit, f"Median {habit} of the last videos", "none known")
        for habit, unit in zip(
            HABITS,
            ("characters", "ratio", "emoji", "characters", "tags", "seconds"),
            strict=True,
        )
    ),
    Feature("channel_videos_seen", "videos", "Videos of the channel seen so far"),
    *(
        Feature(f"channel_uploads_{days}d", "videos", f"Of these, published in the last {days} d")
        for days in UPLOAD_WINDOWS_DAYS
    ),
    Feature(
        "channel_days_between_uploads", "days", "Median over the last videos", "one video seen"
    ),
    Feature("channel_upload_spread_days", "days", "Median absolute deviation of the same", _FEW),
    Feature("channel_last_upload_at", "epoch seconds", "Latest publication seen", "no video seen"),
    Feature(
        "channel_subscribers",
        "subscribers",
        "Rounded to three figures",
        "hidden or unseen",
        "are_subscribers_hidden",
    ),
    Feature("channel_view_count", "views", "Of all its videos together", "channel itself unseen"),
    Feature("channel_video_count", "videos", "Public videos", "channel itself unseen"),
    Feature(
        "channel_subscribers_growth",
        "ratio/day",
        "Gain of subscribers a day by their number, over one to six weeks",
        "hidden, or not looked at then",
    ),
    Feature("channel_views_growth", "ratio/day", "The same of all its views", "not looked at then"),
    Feature("are_subscribers_hidden", "0/1", "Seen, without a count", "channel itself unseen"),
    Feature("channel_country", "id", "The country it states", "none stated, or unseen"),
    *CHANNEL_GROWTH_FEATURES,
    *WORD_COUNT_FEATURES,
)


def channel_track_record(rows: ChannelRows) -> dict[str, FloatArray]:
    """Describe each channel at each row by that row and the earlier ones.

    Rows of one moment are meant to be read together: the last of them is the feature row.

    Returns:
        One float64 array per name in TRACK_RECORD_FEATURES, in the order of the rows.
    """
    ages = (rows.observed - rows.published) / DAY_SECONDS
    sighting = sightings(rows)
    first = sighting == 0
    log_views = np.log10(1.0 + rows.views)
    return (
        normals(rows, ages, first, log_views)
        | _early(rows, ages, log_views)
        | {
            "channel_first_log10_views": counted(rows, first, log_views, row_median),
            "channel_first_age_days": median(rows, first, ages),
            "channel_log10_views_growth": _early_growth(rows, sighting, log_views),
            "channel_likes_per_view": counted(
                rows, first, per_view(rows.likes, rows.views), row_median
            ),
            "channel_comments_per_view": counted(
                rows, first, per_view(rows.comments, rows.views), row_median
            ),
            "channel_shorts_share": mean(rows, first, rows.is_short),
        }
        | {
            f"channel_{habit}": median(rows, first, rows.habits[:, at])
            for at, habit in enumerate(HABITS)
        }
        | _rhythm(rows, first)
        | _audience(rows)
        | channel_growth(
            rows.channel, rows.observed, rows.video, rows.published, rows.views, rows.valid_until
        )
        | _titles(rows, first)
    )


def _early(rows: ChannelRows, ages: FloatArray, log_views: FloatArray) -> dict[str, FloatArray]:
    inside = (ages >= EARLY_AGE_DAYS[0]) & (ages < EARLY_AGE_DAYS[1])
    marked = first_of_video(rows, inside)

    def median_of_enough(window: FloatArray) -> FloatArray:
        return np.where(row_count(window) >= LEAST_VIDEOS, row_median(window), np.nan)

    return {
        "channel_early_log10_views": counted(rows, marked, log_views, median_of_enough),
        "channel_early_spread": counted(rows, marked, log_views, row_spread),
    }


def _early_growth(rows: ChannelRows, sighting: IntArray, log_views: FloatArray) -> FloatArray:
    """Give the median daily growth between first and second sight of the last videos."""
    order = np.lexsort((rows.observed, rows.video, rows.channel))
    growth = np.full(len(order), np.nan)
    second = np.flatnonzero(sighting[order] == 1)
    now, before = order[second], order[second - 1]
    days = (rows.observed[now] - rows.observed[before]) / DAY_SECONDS
    alike = rows.valid_until[before] == rows.valid_until[now]
    growth[now] = np.where(alike, np.divide(log_views[now] - log_views[before], days), np.nan)
    return median(rows, sighting == 1, growth)


def _rhythm(rows: ChannelRows, first: BoolArray) -> dict[str, FloatArray]:
    """Count videos seen and those published in the window before each row.

    A video counts from its first sight until the window has passed over its publication.
    """
    latest = running_max(rows.published, rows.channel)
    before = np.append(np.nan, latest[:-1])
    before[is_first(rows.channel)] = np.nan
    gap = (rows.published - before) / DAY_SECONDS
    gap = np.where(gap > 0, gap, np.nan)
    seen = running_count(first, rows.channel)
    uploads = {
        f"channel_uploads_{days}d": seen - _passed(rows, first, days)
        for days in UPLOAD_WINDOWS_DAYS
    }
    return uploads | {
        "channel_videos_seen": seen,
        "channel_days_between_uploads": median(rows, first, gap),
        "channel_upload_spread_days": over(rows, first, gap, row_spread),
        "channel_last_upload_at": latest,
    }


def _passed(rows: ChannelRows, first: BoolArray, days: int) -> FloatArray:
    """Count the videos over whose publication a window has passed."""
    ends = np.maximum(rows.observed, rows.published + days * DAY_SECONDS)[first]
    entity = rows.channel[first]
    order = np.lexsort((ends, entity))
    gone = latest_at(entity[order], ends[order], rows.channel, rows.observed)
    return np.where(gone >= 0, gone + 1 - np.searchsorted(entity, rows.channel), 0)


def _titles(rows: ChannelRows, first: BoolArray) -> dict[str, FloatArray]:
    """Count the words of the last videos' titles, as each was when its video was first seen."""
    at = np.flatnonzero(first)
    counts = counts_of_last(rows.title_words[rows.title[at]], rows.channel[at]).astype(np.float64)
    latest = spread_over(rows, at, np.arange(len(at), dtype=np.float64))
    none = np.full((1, counts.shape[1]), np.nan)
    told = np.concatenate([counts, none])[np.where(np.isnan(latest), -1, latest).astype(np.int64)]
    return dict(zip(WORD_COUNTS, told.T, strict=True))


def _audience(rows: ChannelRows) -> dict[str, FloatArray]:
    at = np.flatnonzero(rows.video < 0)
    hidden = np.isnan(rows.subscribers[at]).astype(np.float64)
    told = {
        "channel_subscribers": rows.subscribers[at],
        "channel_view_count": rows.channel_views[at],
        "channel_video_count": rows.channel_videos[at],
        "channel_subscribers_growth": _growth_per_day(rows, at, rows.subscribers),
        "channel_views_growth": _growth_per_day(rows, at, rows.channel_views),
        "are_subscribers_hidden": hidden,
        "channel_country": rows.country[at],
    }
    return {name: spread_over(rows, at, values) for name, values in told.items()}


def _growth_per_day(rows: ChannelRows, at: IntArray, values: FloatArray) -> FloatArray:
    """Give the relative gain a day since the reference look, at the looks in `at`."""
    least, most = (days * DAY_SECONDS for days in AUDIENCE_DAYS)
    channel, observed, now = rows.channel[at], rows.observed[at], values[at]
    back = latest_at(channel, observed, channel, observed - least)
    elapsed = observed - observed[back]
    usable = (back >= 0) & (elapsed <= most) & (now[back] > 0)
    growth = np.full(len(at), np.nan)
    np.divide(now - now[back], now[back] * (elapsed / DAY_SECONDS), out=growth, where=usable)
    return growth
