"""The numbers by which forecasts are judged; pure.

All errors are in decades of log10(1 + count), forecast less truth, but for the relative ones.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RESAMPLES = 200
CONFIDENCE = 0.95
LEVELS = (0.1, 0.5, 0.9)
# A rank correlation of fewer videos says nothing.
LEAST_OF_CHANNEL = 5
INTERVAL_SCORES = (
    "coverage_80", "coverage_80_low", "coverage_80_high", "width_80_log10", "pinball_log10",
)  # fmt: skip


class Bootstrap(NamedTuple):
    """Draws of channels with replacement, the same for every score: videos of one err together.

    Attributes:
        channel: Code of the channel per label.
        weights: How often each channel was drawn, shape (resamples, channels).
    """

    channel: IntArray
    weights: NDArray[np.float32]


def bootstrap(channels: NDArray[Any], seed: int) -> Bootstrap:
    """Draw channels; counts of a draw with replacement are Poisson to a good approximation.

    Source: Chamandy et al., Estimating uncertainty for massive data streams, Google, 2012.
    """
    _, code = np.unique(channels.astype(str), return_inverse=True)
    shape = (RESAMPLES, int(code.max(initial=0)) + 1)
    draws = np.random.default_rng(seed).poisson(1.0, shape)
    return Bootstrap(code.astype(np.int64), draws.astype(np.float32))


class Group(NamedTuple):
    """Labels that are scored together, with what every model's score needs of them.

    Attributes:
        truth: log10(1 + count) as it became, one per label.
        present: The same when asked; None for drafts, which have none.
        channel: Code of the channel, from 0, per label.
        weights: How often each of these channels was drawn, shape (resamples, channels).
        distinct: Positions of the first label of each video: the same video asked about on many
            days is one video to rank.
        ranks: Ranks of the truth, and of that of distinct videos within their channel.
    """

    truth: FloatArray
    present: FloatArray | None
    channel: IntArray
    weights: FloatArray
    distinct: IntArray
    ranks: tuple[FloatArray, FloatArray]


def grouped(
    truth: FloatArray,
    present: FloatArray | None,
    video: IntArray,
    channel: IntArray,
    drawn: Bootstrap,
) -> Group:
    """Prepare labels for scoring; `video` and `channel` are codes, earlier questions come first."""
    known, code = np.unique(channel, return_inverse=True)
    distinct = np.sort(np.unique(video, return_index=True)[1])
    ranks = average_ranks(truth), average_ranks(truth[distinct], code[distinct])
    weights = drawn.weights[:, known].astype(np.float64)
    return Group(truth, present, code, weights, distinct, ranks)


def point_scores(median: FloatArray, of: Group) -> dict[str, Any]:
    """Score medians."""
    error = median - of.truth
    counts, forecasts = 10.0**of.truth - 1.0, 10.0**median - 1.0
    relative = (forecasts - counts) / np.maximum(counts, 1.0)
    return {
        "n": len(error),
        "rmse_log10": float(np.sqrt(np.mean(error**2))),
        "mae_log10": float(np.mean(np.abs(error))),
        "bias_log10": float(np.mean(error)),
        "r2": _r2(error, of.truth),
        "r2_growth": None if of.present is None else _r2(error, of.truth - of.present),
        "spearman": _spearman(median, of),
        **_spearman_within(median, of),
        "mdape": float(np.median(np.abs(relative))),
        "mrse": float(np.mean(relative**2)),
    }


def interval_scores(median: FloatArray, interval: FloatArray | None, of: Group) -> dict[str, Any]:
    """Score 80 % intervals: coverage, width, and the mean pinball loss of the three quantiles.

    Videos of a channel miss together, so that the interval of the coverage is over drawn channels;
    null where a single channel makes it.
    """
    if interval is None:
        return dict.fromkeys(INTERVAL_SCORES)
    low, high = interval.T
    covered = (low <= of.truth) & (of.truth <= high)
    quantiles = zip(LEVELS, (low, median, high), strict=True)
    losses = [pinball(of.truth, quantile, level) for level, quantile in quantiles]
    ends = _drawn_means(covered[:, np.newaxis].astype(np.float64), of)
    values = (
        float(np.mean(covered)),
        *((None, None) if ends is None else map(float, ends[:, 0])),
        float(np.mean(high - low)),
        float(np.mean(losses)),
    )
    return dict(zip(INTERVAL_SCORES, values, strict=True))


def rmse_intervals(errors: FloatArray, of: Group) -> list[dict[str, Any]]:
    """Give the bootstrap interval of each model's RMSE; None where a single channel makes it.

    Args:
        errors: Shape (labels, models).
        of: The labels.
    """
    ends = _drawn_means(errors**2, of)
    if ends is None:
        return [{"rmse_log10_low": None, "rmse_log10_high": None}] * errors.shape[1]
    return [
        {"rmse_log10_low": float(low), "rmse_log10_high": float(high)}
        for low, high in np.sqrt(ends).T
    ]


def _drawn_means(values: FloatArray, of: Group) -> FloatArray | None:
    """Give the ends of the bootstrap interval of means, shape (2, columns); None of one channel.

    Args:
        values: Shape (labels, columns).
        of: The labels.
    """
    channels = of.weights.shape[1]
    if channels < 2:
        return None
    sums = np.column_stack([np.bincount(of.channel, column, channels) for column in values.T])
    counts = of.weights @ np.bincount(of.channel, minlength=channels)
    drawn = counts > 0
    means = (of.weights[drawn] @ sums) / counts[drawn, np.newaxis]
    return np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)


def pinball(truth: FloatArray, quantile: FloatArray, level: float) -> FloatArray:
    """Give the loss whose expectation the quantile of that level minimizes."""
    miss = truth - quantile
    return np.maximum(level * miss, (level - 1.0) * miss)


def average_ranks(values: FloatArray, within: IntArray | None = None) -> FloatArray:
    """Rank values from 1, ties by the mean of their ranks; within groups where these are given."""
    groups = np.zeros(len(values), dtype=np.int64) if within is None else within
    order = np.lexsort((values, groups))
    starts_group = np.append(True, np.diff(groups[order]) != 0)[: len(order)]
    starts_tie = starts_group | np.append(True, np.diff(values[order]) != 0)[: len(order)]
    place = np.arange(len(order))
    tie = np.cumsum(starts_tie) - 1
    first = np.flatnonzero(starts_tie)
    last = np.append(first[1:], len(order)) - 1
    start = np.maximum.accumulate(np.where(starts_group, place, 0))
    ranks = np.empty(len(order))
    ranks[order] = (first[tie] + last[tie]) / 2.0 - start + 1.0
    return ranks


def _spearman_within(median: FloatArray, of: Group) -> dict[str, Any]:
    """Give the rank correlation within channels, their mean weighted by their videos.

    At a long horizon few channels have that many videos: how many were ranked is told, and the
    interval over drawn channels, which is null where fewer than two were.
    """
    channel, theirs = of.channel[of.distinct], of.ranks[1]
    n = np.bincount(channel, minlength=of.weights.shape[1]).astype(np.float64)
    middle = (n[channel] + 1) / 2.0
    own = average_ranks(median[of.distinct], channel) - middle
    theirs = theirs - middle
    both = np.bincount(channel, own * theirs, len(n))
    spread = np.sqrt(np.bincount(channel, own**2, len(n)) * np.bincount(channel, theirs**2, len(n)))
    enough = (n >= LEAST_OF_CHANNEL) & (spread > 0)
    correlation, n = both[enough] / spread[enough], n[enough]
    low = high = None
    if len(n) >= 2:
        videos = of.weights[:, enough] * n
        drawn = videos.sum(axis=1) > 0
        means = (videos[drawn] @ correlation) / videos[drawn].sum(axis=1)
        low, high = map(float, np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return {
        "spearman_within_channel": float(np.average(correlation, weights=n)) if len(n) else None,
        "spearman_within_channel_low": low,
        "spearman_within_channel_high": high,
        "channels_ranked": len(n),
    }


def _r2(error: FloatArray, truth: FloatArray) -> float | None:
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1.0 - float(np.sum(error**2)) / spread if spread > 0 else None


def _spearman(median: FloatArray, of: Group) -> float | None:
    """Give the rank correlation; None where one side does not vary."""
    if np.ptp(median) == 0 or np.ptp(of.truth) == 0:
        return None
    return float(np.corrcoef(average_ranks(median), of.ranks[0])[0, 1])
