"""What moves with the moment of asking: ages, staleness, the channel's normal at this age.

Only + - * / and comparisons are used, so that a batch and a single row, here and on any other
machine, agree to the bit. The arithmetic is written once for two ways of running it: numpy takes a
row of values per input, a compiled kernel of serving one number per input.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_repo.transformations.declared import Feature, names
from feature_repo.transformations.elementwise import of_step, places, where
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
    look_ahead,
)
from feature_repo.transformations.sequences import DAY_SECONDS, FloatArray

# A video's own habit, its channel's, and how they are compared.
_DIFFERENCES = ("title_length", "title_uppercase_ratio", "title_emoji")
_RATIOS = ("description_length", "tag_count", "duration_seconds")

HABITS = (*_DIFFERENCES, *_RATIOS)
CHANNEL_HABITS = tuple(f"channel_{name}" for name in HABITS)
CHANNEL_RHYTHM = ("channel_last_upload_at", "channel_days_between_uploads")
_GRID = (*NORMAL_FEATURES, *SPREAD_FEATURES, *EVIDENCE_FEATURES)
# Spreads below this are not resolved: few videos that happen to agree.
_LEAST_SPREAD = 0.05

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
    *CHANNEL_RHYTHM,
    *CHANNEL_HABITS,
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

_IN = places(PUBLISHED_INPUTS)
_OUT = places(names(PUBLISHED_REQUEST_FEATURES))
_AGES, _LAST_AGE = np.array(AGE_GRID_DAYS), len(AGE_GRID_DAYS) - 1
# Inputs and features that are read and written as blocks: how long and where they are.
_STEPS, _HABITS, _COMPARED = len(AGE_GRID_DAYS), len(HABITS), len(_DIFFERENCES)
_NORMAL = PUBLISHED_INPUTS.index(NORMAL_FEATURES[0])
_GROWTH = PUBLISHED_INPUTS.index(GROWTH_INPUTS[0])
_OWN_HABIT = PUBLISHED_INPUTS.index(_DIFFERENCES[0])
_CHANNEL_HABIT = PUBLISHED_INPUTS.index(CHANNEL_HABITS[0])
_HABIT = names(PUBLISHED_REQUEST_FEATURES).index(HABIT_FEATURES[0].name)
_OUTLOOK = names(PUBLISHED_REQUEST_FEATURES).index(OUTLOOK_FEATURES[0].name)


def published_request(inputs: Mapping[str, FloatArray], as_of: FloatArray) -> dict[str, FloatArray]:
    """Describe videos that are live at the moment of asking.

    Args:
        inputs: One float64 array per name in PUBLISHED_INPUTS; NaN where null.
        as_of: Epoch seconds, one per row.

    Returns:
        One float64 array per name in PUBLISHED_REQUEST_FEATURES.
    """
    told = np.empty((len(_OUT), len(as_of)))
    describe(np.array([inputs[name] for name in PUBLISHED_INPUTS]), as_of, told)
    return dict(zip(_OUT._fields, told, strict=True))


def describe(x: Any, as_of: Any, out: Any) -> None:
    """Describe videos that are live: `published_request`, as compiled kernels run it.

    Args:
        x: What is stored, a value or a row of values per name in PUBLISHED_INPUTS.
        as_of: Epoch seconds.
        out: Filled in, a value or a row of values per name in PUBLISHED_REQUEST_FEATURES.
    """
    age_then = (x[_IN.observed_at] - x[_IN.published_at]) / 3600.0
    normal, spread, evidence = _normal_at(x, age_then / 24.0)
    above = x[_IN.log10_views] - normal
    grown = x[_IN.log10_views_growth_1d]
    out[_OUT.age_hours] = (as_of - x[_IN.published_at]) / 3600.0
    out[_OUT.hours_since_observation] = (as_of - x[_IN.observed_at]) / 3600.0
    out[_OUT.age_at_observation_hours] = age_then
    out[_OUT.lifetime_views_per_hour] = by(x[_IN.view_count], age_then)
    out[_OUT.growth_exponent_1d] = grown * (age_then / 24.0)
    days, overdue = rhythm(
        as_of, x[_IN.channel_last_upload_at], x[_IN.channel_days_between_uploads]
    )
    out[_OUT.days_since_channel_upload] = days
    out[_OUT.channel_upload_overdue] = overdue
    out[_OUT.channel_normal_log10_views] = normal
    out[_OUT.channel_normal_spread] = spread
    out[_OUT.channel_normal_videos] = evidence
    out[_OUT.views_against_channel_normal] = above
    out[_OUT.views_against_channel_normal_in_spreads] = above / np.maximum(spread, _LEAST_SPREAD)
    out[_OUT.log10_views_growth_against_channel] = grown - x[_IN.channel_log10_views_growth]
    out[_OUT.likes_per_view_by_channel] = by(x[_IN.likes_per_view], x[_IN.channel_likes_per_view])
    out[_OUT.comments_per_view_by_channel] = by(
        x[_IN.comments_per_view], x[_IN.channel_comments_per_view]
    )
    out[_OUT.views_per_subscriber] = by(x[_IN.view_count], x[_IN.channel_subscribers])
    habits(
        x[_OWN_HABIT : _OWN_HABIT + _HABITS],
        x[_CHANNEL_HABIT : _CHANNEL_HABIT + _HABITS],
        out[_HABIT : _HABIT + _HABITS],
    )
    look_ahead(
        x[_IN.published_at],
        x[_IN.observed_at],
        x[_IN.log10_views],
        x[_GROWTH : _GROWTH + len(GROWTH_INPUTS)],
        x[_NORMAL : _NORMAL + _STEPS],
        x[_IN.channel_growth_exponent],
        as_of,
        out[_OUTLOOK:],
    )


def rhythm(as_of: Any, last_upload_at: Any, days_between: Any) -> Any:
    """Give RHYTHM_FEATURES."""
    days = (as_of - last_upload_at) / DAY_SECONDS
    return days, np.divide(days, days_between)  # infinite where two came at one moment


def habits(own: Any, channel: Any, out: Any) -> None:
    """Fill in HABIT_FEATURES, of a video's HABITS and its channel's."""
    for at in range(_COMPARED):
        out[at] = own[at] - channel[at]
    for at in range(_COMPARED, _HABITS):
        out[at] = by(own[at], channel[at])


def by(over: Any, under: Any) -> Any:
    """Divide; NaN where that would be by nothing."""
    return over / where(under > 0.0, under, np.nan)


def _normal_at(x: Any, age_days: Any) -> Any:
    """Read normal, spread and evidence at an age: on a line between the grid's ages around it.

    Where one of the two is null the other stands; beyond the grid its end does.
    """
    step = np.searchsorted(_AGES, age_days, side="left")
    young, old = np.maximum(step - 1, 0), np.minimum(step, _LAST_AGE)
    is_between, is_null = old > young, np.isnan(age_days)
    apart = where(is_between, _AGES[old] - _AGES[young], 1.0)
    share = where(is_between, (age_days - _AGES[young]) / apart, 0.0)
    return (
        _between(x[_NORMAL : _NORMAL + _STEPS], young, old, share, is_null),
        _between(x[_NORMAL + _STEPS : _NORMAL + 2 * _STEPS], young, old, share, is_null),
        _between(x[_NORMAL + 2 * _STEPS : _NORMAL + 3 * _STEPS], young, old, share, is_null),
    )


def _between(grid: Any, young: Any, old: Any, share: Any, is_null: Any) -> Any:
    before, after = of_step(grid, young), of_step(grid, old)
    between = before + (after - before) * share
    between = where(np.isnan(before), after, where(np.isnan(after), before, between))
    return where(is_null, np.nan, between)


# What a compiler has to know beside `describe`, which calls them.
PARTS = (rhythm, habits, by, _normal_at, _between)
