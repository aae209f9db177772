"""What is predicted: a count or its growth, in logs, and how that becomes quantiles of counts."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

METRICS = ("views", "likes", "comments")
COUNT_COLUMN = {"views": "view_count", "likes": "like_count", "comments": "comment_count"}
QUANTILES = ("p10", "p50", "p90")
MAX_HORIZON_DAYS = 30

# Growth below this many decades is not resolved: it keeps relative errors of still videos finite.
GROWTH_SCALE = 0.01


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
    predicted = np.maximum(predicted_growth, 0.0)[:, np.newaxis]
    growth = np.maximum(predicted + offsets * (predicted + GROWTH_SCALE), 0.0)
    present = (1.0 + counts)[:, np.newaxis]
    return present * 10.0**growth - 1.0


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
