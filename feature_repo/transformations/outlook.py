"""Where a video's own pace, and its channel's, would take it: extrapolations for a model to weigh.

Counts of a video grow about as a power of its age (Crane and Sornette, Robust dynamic classes
revealed by measuring the response function of a social system, PNAS 105, 2008). The exponent is
the gain of log10 views by the gain of log10 age; held constant, it says how much is still to come.
Only + - * / and comparisons are used, as for everything that moves with the moment of asking.
"""

import math
from collections.abc import Mapping

import numpy as np

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.normals import NORMAL_FEATURES
from feature_repo.transformations.sequences import DAY_SECONDS, FloatArray

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
_DAY_SIN = np.array([math.sin(2 * math.pi * day / 7) for day in range(7)])
_DAY_COS = np.array([math.cos(2 * math.pi * day / 7) for day in range(7)])


def outlook(inputs: Mapping[str, FloatArray], as_of: FloatArray) -> dict[str, FloatArray]:
    """Extrapolate from the last observation.

    Args:
        inputs: One float64 array per name in OUTLOOK_INPUTS; NaN where null.
        as_of: Epoch seconds, one per row.

    Returns:
        One float64 array per name in OUTLOOK_FEATURES.
    """
    age = np.maximum((inputs["observed_at"] - inputs["published_at"]) / 3600.0, LEAST_AGE_HOURS)
    exponents = {
        f"views_exponent_{w}d": _exponent(inputs[name], age, w)
        for w, name in zip(WINDOWS_DAYS, GROWTH_INPUTS, strict=True)
    }
    stretch = {h: _log10(age + h) - _log10(age) for h in AHEAD_HOURS}
    own, channel = exponents["views_exponent_1d"], inputs["channel_growth_exponent"]
    normals = zip(_TO_GO, NORMAL_FEATURES, strict=True)
    weekday = (np.floor(as_of / DAY_SECONDS).astype(np.int64) + 3) % 7  # 1970 began on Thursday
    return (
        exponents
        | {f"age_stretch_{h}h": stretch[h] for h in AHEAD_HOURS}
        | {f"power_law_growth_{h}h": own * stretch[h] for h in AHEAD_HOURS}
        | {f"channel_law_growth_{h}h": channel * stretch[h] for h in AHEAD_HOURS}
        | {to_go: inputs[normal] - inputs["log10_views"] for to_go, normal in normals}
        | {"asked_weekday_sin": _DAY_SIN[weekday], "asked_weekday_cos": _DAY_COS[weekday]}
    )


def _exponent(growth: FloatArray, age_hours: FloatArray, window_days: int) -> FloatArray:
    """Turn decades a day into an exponent, at the middle of the window or half the age."""
    middle = np.maximum(age_hours / 24.0 - window_days / 2.0, age_hours / 48.0)
    return growth * middle * math.log(10.0)


def _log10(hours: FloatArray) -> FloatArray:
    """Read log10 off the grid; NaN stays NaN."""
    known = np.minimum(np.maximum(np.nan_to_num(hours, nan=1.0), _GRID[0]), _GRID[-1])
    at = np.minimum(np.searchsorted(_GRID, known, side="right") - 1, len(_SLOPE) - 1)
    read = _LOG10[at] + (known - _GRID[at]) * _SLOPE[at]
    return np.where(np.isnan(hours), np.nan, read)
