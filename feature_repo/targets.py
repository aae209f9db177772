"""What is predicted: a count or its growth, in logs, and how that becomes quantiles of counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.transformations.elementwise import where

FloatArray = NDArray[np.float64]

METRICS = ("views", "likes", "comments")
COUNT_COLUMN = {"views": "view_count", "likes": "like_count", "comments": "comment_count"}
QUANTILES = ("p10", "p50", "p90")
MAX_HORIZON_DAYS = 30

# Growth below this many decades is not resolved: it keeps relative errors of still videos finite.
GROWTH_SCALE = 0.01


# What the scale of growth is worked out from, besides the horizon.
AGE_SCALE_COLUMNS = ("age_at_observation_hours", "hours_since_observation")
LEAST_AGE_HOURS = 1.0
USUAL_AGE_HOURS = 72.0


def age_scale(age_hours: Any, waited_hours: Any, days: Any) -> Any:
    """Give the scale of growth: trees of published videos answer growth by it.

    Views go by a power of age, so that log growth goes by log10(age later / age now) and its spread
    by about the root of that. Trees that need not learn it learn the rest better. The scale rises
    with the horizon: what never falls and is not negative never falls when multiplied by it.

    The logarithm is Box and Cox's with an exponent of 1/8, less a constant factor: sums, quotients
    and square roots of float64 are the same everywhere to the bit, logarithms are not.

    Source: Box and Cox, An analysis of transformations, JRSS B 1964.

    Args:
        age_hours: Of the video when its counts were read; an unknown one is taken for three days.
        waited_hours: Since then; unknown is none.
        days: From now to the horizon, above 0.
    """
    age = np.maximum(where(np.isnan(age_hours), USUAL_AGE_HOURS, age_hours), LEAST_AGE_HOURS)
    waited = np.maximum(where(np.isnan(waited_hours), 0.0, waited_hours), 0.0)
    ratio = 1.0 + (waited + 24.0 * days) / age
    return np.sqrt(np.sqrt(np.sqrt(np.sqrt(ratio))) - 1.0)


def log_count(counts: FloatArray) -> FloatArray:
    """Give log10(1 + count); NaN stays NaN."""
    return np.log10(1.0 + counts)


def growth_score(growth: FloatArray, predicted_growth: FloatArray) -> FloatArray:
    """Give the relative error of a predicted growth, the score that intervals are calibrated on.

    Args:
        growth: What happened, in decades of log10(1 + count).
        predicted_growth: The model's output for the same rows, negative values read as 0.
    """
    predicted = np.maximum(predicted_growth, 0.0)
    return (growth - predicted) / (predicted + GROWTH_SCALE)


def quantiles(counts: FloatArray, predicted_growth: FloatArray, offsets: FloatArray) -> FloatArray:
    """Turn predicted log growth into quantiles of the count: the one post-processing step.

    Growth never falls with the horizon (the model is monotone in it) and neither do the offsets
    (calibration makes their tables so), so no curve falls; a count never falls below the present.

    Args:
        counts: The present count per row, shape (n,); NaN when hidden, which makes the row NaN.
        predicted_growth: Decades of log10(1 + count), shape (n,).
        offsets: Relative errors at 10, 50 and 90 %, shape (n, 3), ascending along each row.

    Returns:
        Counts, not rounded, shape (n, 3).
    """
    growth = growth_at(predicted_growth[:, np.newaxis], offsets)
    present = (1.0 + counts)[:, np.newaxis]
    return present * 10.0**growth - 1.0


def growth_at(predicted_growth: Any, offset: Any) -> Any:
    """Give the growth, in decades, that lies off a predicted one by a relative error.

    Kernels call it too.

    Args:
        predicted_growth: Decades.
        offset: As `growth_score` gives it.
    """
    predicted = np.maximum(predicted_growth, 0.0)
    return np.maximum(predicted + offset * (predicted + GROWTH_SCALE), 0.0)


def first_quantiles(predicted: FloatArray, offsets: FloatArray) -> FloatArray:
    """Turn the predicted log count of something nobody has seen yet into quantiles of the count.

    Args:
        predicted: log10(1 + count), shape (n,), not falling with the horizon.
        offsets: Errors in decades at 10, 50 and 90 %, shape (n, 3), ascending along each row.

    Returns:
        Counts, not rounded, shape (n, 3).
    """
    logs = np.maximum(predicted[:, np.newaxis] + offsets, 0.0)
    return 10.0**logs - 1.0
