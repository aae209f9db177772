"""Where a video's own pace, and its channel's, would take it: extrapolations for a model to weigh.

Counts of a video grow about as a power of its age (Crane and Sornette, Robust dynamic classes
revealed by measuring the response function of a social system, PNAS 105, 2008). The exponent is
the gain of log10 views by the gain of log10 age; held constant, it says how much is still to come.
Only + - * / and comparisons are used, as for everything that moves with the moment of asking.
"""

import math
from typing import Any

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.elementwise import where, whole
from feature_repo.transformations.normals import NORMAL_FEATURES
from feature_repo.transformations.sequences import DAY_SECONDS

WINDOWS_DAYS = (1, 3, 7)
AHEAD_HOURS = (24, 72, 168)
# Ages below this say more about when we looked than about the video.
LEAST_AGE_HOURS = 1.0

GROWTH_INPUTS = tuple(f"log10_views_growth_{w}d" for w in WINDOWS_DAYS)
CHANNEL_PACE_INPUTS = ("channel_growth_exponent",)
OUTLOOK_INPUTS = (
    "published_at", "observed_at", "log10_views", *GROWTH_INPUTS, *NORMAL_FEATURES,
    *CHANNEL_PACE_INPUTS,
)  # fmt: skip

_TO_GO = tuple(name.replace("_normal_", "_to_go_") for name in NORMAL_FEATURES)
_NO_GROWTH = "the growth is null"

OUTLOOK_FEATURES = (
    *(
        Feature(f"views_exponent_{w}d", "exponent", f"Of age, over about {w} d", _NO_GROWTH)
        for w in WINDOWS_DAYS
    ),
    *(
        Feature(f"age_stretch_{h}h", "decades", f"log10 of age in {h} h by age now")
        for h in AHEAD_HOURS
    ),
    *(
        Feature(f"power_law_growth_{h}h", "decades", f"In {h} h at the exponent of 1 d", _NO_GROWTH)
        for h in AHEAD_HOURS
    ),
    *(
        Feature(
            f"channel_law_growth_{h}h", "decades", f"In {h} h at the channel's exponent", "none"
        )
        for h in AHEAD_HOURS
    ),
    *(
        Feature(
            name, "decades", "The channel's normal at that age less views now", "either is null"
        )
        for name in _TO_GO
    ),
    Feature("asked_weekday_sin", "sine", "Weekday of asking, UTC, on a circle"),
    Feature("asked_weekday_cos", "cosine", "Weekday of asking, UTC, on a circle"),
)

# log10 on a grid, twelve steps an octave, read on straight lines: its own last bit may differ
# between a batch and a row.
_GRID = np.array([2.0 ** (step / 12) for step in range(-12, 12 * 18 + 1)])
_LOG10 = np.array([math.log10(value) for value in _GRID])
_SLOPE = np.diff(_LOG10) / np.diff(_GRID)
_LN_10 = math.log(10.0)
_WINDOWS, _AHEAD = np.array(WINDOWS_DAYS, np.float64), np.array(AHEAD_HOURS, np.float64)
_DAY_SIN = np.array([math.sin(2 * math.pi * day / 7) for day in range(7)])
_DAY_COS = np.array([math.cos(2 * math.pi * day / 7) for day in range(7)])


# Places of the features, as blocks.
_STRETCH = len(WINDOWS_DAYS)
_POWER_LAW, _CHANNEL_LAW = _STRETCH + len(AHEAD_HOURS), _STRETCH + 2 * len(AHEAD_HOURS)
_NORMALS_TO_GO = _STRETCH + 3 * len(AHEAD_HOURS)
_WEEKDAY = _NORMALS_TO_GO + len(_TO_GO)


def look_ahead(
    published_at: Any,
    observed_at: Any,
    log10_views: Any,
    growths: Any,
    normals: Any,
    channel_exponent: Any,
    as_of: Any,
    out: Any,
) -> None:
    """Extrapolate from the last observation: arithmetic of one value or of one per row.

    Args:
        published_at: Epoch seconds, as all moments.
        observed_at: When the counts were read.
        log10_views: Then; NaN where null, as all that follows.
        growths: For each of GROWTH_INPUTS.
        normals: For each of NORMAL_FEATURES.
        channel_exponent: The channel's.
        as_of: The moment of asking.
        out: Filled in, for each of OUTLOOK_FEATURES.
    """
    age = np.maximum((observed_at - published_at) / 3600.0, LEAST_AGE_HOURS)
    for at in range(len(WINDOWS_DAYS)):
        out[at] = _exponent(growths[at], age, _WINDOWS[at])
    now = _log10(age)
    for at in range(len(AHEAD_HOURS)):
        stretch = _log10(age + _AHEAD[at]) - now
        out[_STRETCH + at] = stretch
        out[_POWER_LAW + at] = out[0] * stretch
        out[_CHANNEL_LAW + at] = channel_exponent * stretch
    for at in range(len(NORMAL_FEATURES)):
        out[_NORMALS_TO_GO + at] = normals[at] - log10_views
    weekday = (whole(np.floor(as_of / DAY_SECONDS)) + 3) % 7  # 1970 began on Thursday
    out[_WEEKDAY], out[_WEEKDAY + 1] = _DAY_SIN[weekday], _DAY_COS[weekday]


def _exponent(growth: Any, age_hours: Any, window_days: float) -> Any:
    """Turn decades a day into an exponent, at the middle of the window or half the age."""
    middle = np.maximum(age_hours / 24.0 - window_days / 2.0, age_hours / 48.0)
    return growth * middle * _LN_10


def _log10(hours: Any) -> Any:
    """Read log10 off the grid; NaN stays NaN."""
    known = where(np.isnan(hours), 1.0, hours)
    known = np.minimum(np.maximum(known, _GRID[0]), _GRID[-1])
    at = np.minimum(np.searchsorted(_GRID, known, side="right") - 1, len(_SLOPE) - 1)
    read = _LOG10[at] + (known - _GRID[at]) * _SLOPE[at]
    return where(np.isnan(hours), np.nan, read)


# What a compiler has to know beside the arithmetic that calls them.
PARTS = (look_ahead, _exponent, _log10)
