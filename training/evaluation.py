"""How good forecasts are, by horizon and slice, beside the baselines; pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.bundle import Intervals
from feature_repo.targets import METRICS, first_quantiles, log_count, quantiles
from training.dataset import TrainingSet
from training.scores import (
    Bootstrap,
    bootstrap,
    grouped,
    interval_scores,
    point_scores,
    rmse_intervals,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Row = dict[str, Any]


class Scored(NamedTuple):
    """Forecasts of one model for the labels of a test set, in decades of log10(1 + count).

    Attributes:
        median: Shape (labels,).
        interval: 10 and 90 % quantiles, shape (labels, 2); None for a model without one.
    """

    model: str
    is_baseline: bool
    median: dict[str, FloatArray]
    interval: dict[str, FloatArray] | None


def with_intervals(
    asked: TrainingSet, predicted: dict[str, FloatArray], intervals: Intervals, model: str
) -> Scored:
    """Turn what a model puts out into the quantiles that a user would be shown."""
    groups = asked.groups()
    days = np.nan_to_num(asked.labels["horizon_days"].to_numpy(np.float64), nan=1.0)
    median, interval = {}, {}
    for metric in METRICS:
        offsets = np.empty((len(days), 3))
        for group in np.unique(groups):
            chosen = groups == group
            offsets[chosen] = intervals.table(metric, str(group)).at(days[chosen].tolist())
        logs = log_count(_quantiles(asked, metric, predicted[metric], offsets))
        median[metric], interval[metric] = logs[:, 1], logs[:, [0, 2]]
    return Scored(model, False, median, interval)


def _quantiles(
    asked: TrainingSet, metric: str, predicted: FloatArray, offsets: FloatArray
) -> FloatArray:
    if asked.situation == "draft":
        return first_quantiles(predicted, offsets)
    counts = 10.0 ** asked.present[metric][asked.labels["row"].to_numpy()] - 1.0
    return quantiles(counts, predicted, offsets)


def without_intervals(
    asked: TrainingSet, growth: dict[str, FloatArray], model: str, *, is_baseline: bool = True
) -> Scored:
    """Turn growth into forecasts; that of a draft is the log count itself."""
    row = asked.labels["row"].to_numpy()
    median = {m: asked.present[m][row] + growth[m] for m in METRICS}
    return Scored(model, is_baseline, median, None)


def evaluate(
    asked: TrainingSet, models: list[Scored], subsets: dict[str, BoolArray], seed: int = 0
) -> list[Row]:
    """Score every model on the same rows.

    Args:
        asked: The test set.
        models: Forecasts for each label.
        subsets: Marks of labels by the subset's name.
        seed: Of the bootstrap over channels.

    Returns:
        One row per subset, metric, horizon and model; a label that some model has no answer for
        is left out for all of them. A null horizon is first sight.
    """
    if asked.labels.empty:
        return []
    row = asked.labels["row"].to_numpy()
    drawn = bootstrap(asked.rows["channel_id"].to_numpy()[row], seed)
    video = asked.rows["video_id"].factorize()[0].astype(np.int64)[row]
    # Labels come as they were paired, not as they were asked for.
    by_moment = np.argsort(asked.rows["event_timestamp"].to_numpy()[row], kind="stable")
    rows = []
    for subset, metric, horizon, chosen in _groups(asked, models, subsets):
        where = {"situation": asked.situation, "subset": subset, "metric": metric}
        scores = _scores(asked, models, metric, by_moment[chosen[by_moment]], video, drawn)
        for model, found in zip(models, scores, strict=True):
            named = {"horizon_days": horizon, "model": model.model, "baseline": model.is_baseline}
            rows.append(where | named | found)
    return rows


def _groups(
    asked: TrainingSet, models: list[Scored], subsets: dict[str, BoolArray]
) -> Iterator[tuple[str, str, int | None, BoolArray]]:
    days = asked.labels["horizon_days"].to_numpy(np.float64)
    at_horizon: dict[int | None, BoolArray] = {
        int(day): days == day for day in np.unique(days[~np.isnan(days)])
    }
    at_horizon[None] = np.isnan(days)
    for metric in METRICS:
        known = ~np.isnan(asked.labels[metric].to_numpy())
        for model in models:
            known &= ~np.isnan(model.median[metric])
        for subset, marks in subsets.items():
            for horizon, of_horizon in at_horizon.items():
                chosen = known & marks & of_horizon
                if chosen.sum() >= 2:
                    yield subset, metric, horizon, chosen


def _scores(
    asked: TrainingSet,
    models: list[Scored],
    metric: str,
    chosen: IntArray,
    video: IntArray,
    drawn: Bootstrap,
) -> list[Row]:
    """Score every model on the chosen labels."""
    truth = asked.truth(metric)[chosen]
    present = asked.present[metric][asked.labels["row"].to_numpy()[chosen]]
    known = None if asked.situation == "draft" else present
    of = grouped(truth, known, video[chosen], drawn.channel[chosen], drawn)
    medians = [model.median[metric][chosen] for model in models]
    errors = np.column_stack(medians) - truth[:, np.newaxis]
    intervals = [None if m.interval is None else m.interval[metric][chosen] for m in models]
    return [
        point_scores(median, of) | interval_scores(median, interval, of) | ends
        for median, interval, ends in zip(
            medians, intervals, rmse_intervals(errors, of), strict=True
        )
    ]
