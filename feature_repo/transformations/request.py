"""What moves with the moment of asking: ages, staleness, the channel's normal at this age.

Only + - * / and comparisons are used, so that a batch and a single row, here and on any other
machine, agree to the bit.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.normals import (
    AGE_GRID_DAYS,
    EVIDENCE_FEATURES,
    NORMAL_FEATURES,
    SPREAD_FEATURES,
)
from feature_repo.transformations.outlook import (
    CHANNEL_PACE_INPUTS,
    GROWTH_INPUTS,
    OUTLOOK_FEATURES,
    outlook,
)
from feature_repo.transformations.profile import draft_features
from feature_repo.transformations.sequences import DAY_SECONDS, FloatArray
from feature_repo.transformations.titles import (
    SIMILARITY_FEATURES,
    WORD_COUNTS,
    similarity_to_channel,
)

# A video's own habit, its channel's, and how they are compared.
_DIFFERENCES = ("title_length", "title_uppercase_ratio", "title_emoji")
_RATIOS = ("description_length", "tag_count", "duration_seconds")

_CHANNEL_HABITS = tuple(f"channel_{name}" for name in (*_DIFFERENCES, *_RATIOS))
_CHANNEL_RHYTHM = ("channel_last_upload_at", "channel_days_between_uploads")
_GRID = (*NORMAL_FEATURES, *SPREAD_FEATURES, *EVIDENCE_FEATURES)
# Spreads below this are not resolved: few videos that happen to agree.
_LEAST_SPREAD = 0.05

CHANNEL_INPUTS = (
    *_CHANNEL_RHYTHM,
    *_CHANNEL_HABITS,
    "channel_country",
    "channel_videos_seen",
    *WORD_COUNTS,
)
PROFILE_INPUTS = ("published_at", *_DIFFERENCES, *_RATIOS)
PERFORMANCE_INPUTS = (
    "observed_at",
    "view_count",
    "log10_views",
    *GROWTH_INPUTS,
    "likes_per_view",
    "comments_per_view",
)
PUBLISHED_CHANNEL_INPUTS = (
    *_GRID,
    *_CHANNEL_RHYTHM,
    *_CHANNEL_HABITS,
    "channel_log10_views_growth",
    "channel_likes_per_view",
    "channel_comments_per_view",
    "channel_subscribers",
    *CHANNEL_PACE_INPUTS,
)
PUBLISHED_INPUTS = (*PROFILE_INPUTS, *PERFORMANCE_INPUTS, *PUBLISHED_CHANNEL_INPUTS)

_EITHER = "either is null"

RHYTHM_FEATURES = (
    Feature(
        "days_since_channel_upload",
        "days",
        "Since the channel's latest publication seen",
        "channel never seen",
    ),
    Feature(
        "channel_upload_overdue",
        "ratio",
        "Days since the latest publication by the usual days between two",
        "fewer than two videos seen",
    ),
)
HABIT_FEATURES = (
    *(
        Feature(f"{name}_against_channel", unit, f"{name} less the channel's median", _EITHER)
        for name, unit in zip(_DIFFERENCES, ("characters", "ratio", "emoji"), strict=True)
    ),
    *(
        Feature(f"{name}_by_channel", "ratio", f"{name} by the channel's median", _EITHER)
        for name in _RATIOS
    ),
)

PUBLISHED_REQUEST_FEATURES = (
    Feature("age_hours", "hours", "Since publication; below 0 for an announced premiere"),
    Feature("hours_since_observation", "hours", "Since the counts were read"),
    Feature("age_at_observation_hours", "hours", "Age of the video when its counts were read"),
    Feature(
        "lifetime_views_per_hour",
        "views/hour",
        "Views by age at observation",
        "views unknown, or not yet public when read",
    ),
    Feature(
        "growth_exponent_1d",
        "ratio",
        "Growth of log10 views over a day times age in days: of a power law, its exponent / ln 10",
        "no growth over a day",
    ),
    *RHYTHM_FEATURES,
    Feature(
        "channel_normal_log10_views",
        "decades",
        "The channel's normal at the age at observation, between ages of the grid",
        "channel has no normal",
    ),
    Feature(
        "channel_normal_spread",
        "decades",
        "The spread around that normal",
        "channel has no normal",
    ),
    Feature(
        "channel_normal_videos",
        "videos",
        "Videos of the channel behind that normal",
        "channel never seen",
    ),
    Feature(
        "views_against_channel_normal",
        "decades",
        "log10(1 + views) less the channel's normal at the same age",
        _EITHER,
    ),
    Feature(
        "views_against_channel_normal_in_spreads",
        "spreads",
        "The same by the spread around the normal",
        _EITHER,
    ),
    Feature(
        "log10_views_growth_against_channel",
        "decades/day",
        "Growth over a day less what the channel's videos grow after first sight",
        _EITHER,
    ),
    Feature("likes_per_view_by_channel", "ratio", "By the channel's median", _EITHER),
    Feature("comments_per_view_by_channel", "ratio", "By the channel's median", _EITHER),
    Feature("views_per_subscriber", "ratio", "Views by subscribers", "either unknown"),
    *HABIT_FEATURES,
    *OUTLOOK_FEATURES,
)

DRAFT_REQUEST_FEATURES = (*RHYTHM_FEATURES, *HABIT_FEATURES, *SIMILARITY_FEATURES)


def published_request(inputs: Mapping[str, FloatArray], as_of: FloatArray) -> dict[str, FloatArray]:
    """Describe videos that are live at the moment of asking.

    Args:
        inputs: One float64 array per name in PUBLISHED_INPUTS; NaN where null.
        as_of: Epoch seconds, one per row.

    Returns:
        One float64 array per name in PUBLISHED_REQUEST_FEATURES.
    """
    age_then = (inputs["observed_at"] - inputs["published_at"]) / 3600.0
    normal, spread, evidence = _normal_at(inputs, age_then / 24.0)
    above = inputs["log10_views"] - normal
    grown = inputs["log10_views_growth_1d"]
    return {
        "age_hours": (as_of - inputs["published_at"]) / 3600.0,
        "hours_since_observation": (as_of - inputs["observed_at"]) / 3600.0,
        "age_at_observation_hours": age_then,
        "lifetime_views_per_hour": _by(inputs["view_count"], age_then),
        "growth_exponent_1d": grown * (age_then / 24.0),
        **_rhythm(inputs, as_of),
        "channel_normal_log10_views": normal,
        "channel_normal_spread": spread,
        "channel_normal_videos": evidence,
        "views_against_channel_normal": above,
        "views_against_channel_normal_in_spreads": above / np.maximum(spread, _LEAST_SPREAD),
        "log10_views_growth_against_channel": grown - inputs["channel_log10_views_growth"],
        "likes_per_view_by_channel": _by(
            inputs["likes_per_view"], inputs["channel_likes_per_view"]
        ),
        "comments_per_view_by_channel": _by(
            inputs["comments_per_view"], inputs["channel_comments_per_view"]
        ),
        "views_per_subscriber": _by(inputs["view_count"], inputs["channel_subscribers"]),
        **_habits(inputs, inputs),
        **outlook(inputs, as_of),
    }


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


def _rhythm(inputs: Mapping[str, FloatArray], as_of: FloatArray) -> dict[str, FloatArray]:
    days = (as_of - inputs["channel_last_upload_at"]) / DAY_SECONDS
    return {
        "days_since_channel_upload": days,
        "channel_upload_overdue": days / inputs["channel_days_between_uploads"],
    }


def _habits(
    own: Mapping[str, FloatArray], channel: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    differences = {
        f"{name}_against_channel": own[name] - channel[f"channel_{name}"] for name in _DIFFERENCES
    }
    return differences | {
        f"{name}_by_channel": _by(own[name], channel[f"channel_{name}"]) for name in _RATIOS
    }


def _by(over: FloatArray, under: FloatArray) -> FloatArray:
    return over / np.where(under > 0.0, under, np.nan)


def _normal_at(inputs: Mapping[str, FloatArray], age_days: FloatArray) -> FloatArray:
    """Read normal, spread and evidence at an age: on a line between the grid's ages around it.

    Where one of the two is null the other stands; beyond the grid its end does.

    Returns:
        Shape (3, rows).
    """
    grid = np.concatenate([inputs[name] for name in _GRID]).reshape(3, len(AGE_GRID_DAYS), -1)
    ages, last = np.array(AGE_GRID_DAYS), len(AGE_GRID_DAYS) - 1
    step = np.searchsorted(ages, age_days, side="left")
    young, old = np.maximum(step - 1, 0), np.minimum(step, last)
    rows = np.arange(len(age_days))
    before, after = grid[:, young, rows], grid[:, old, rows]
    apart = np.where(old > young, ages[old] - ages[young], 1.0)
    share = np.where(old > young, (age_days - ages[young]) / apart, 0.0)
    between = before + (after - before) * share
    between = np.where(np.isnan(before), after, np.where(np.isnan(after), before, between))
    return np.where(np.isnan(age_days), np.nan, between)
