"""What a model of drafts must beat: what is usual for the channel; pure."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import TrainingSet

FloatArray = NDArray[np.float64]
Predict = Callable[[TrainingSet], FloatArray]

LAST_VIDEOS = 20


class ChannelHistory:
    """What was first seen of each channel's videos, and when: only what came before is used."""

    def __init__(self, record: TrainingSet, metric: str) -> None:
        """Take the labels at first sight of a whole record."""
        first = np.isnan(record.labels["horizon_days"].to_numpy())
        labels = record.labels[first & record.labels[metric].notna().to_numpy()]
        self._seen = pd.DataFrame(
            {
                "channel": record.rows["channel_id"].to_numpy()[labels["row"].to_numpy()],
                "known_at": _moments(labels["observed_at"]),
                "log_count": labels[metric].to_numpy(),
            }
        ).sort_values("known_at", kind="stable")

    def before(self, asked: TrainingSet) -> pd.DataFrame:
        """Give mean, median and n of each label's channel before the moment asked about."""
        by_channel = self._seen.groupby("channel")["log_count"]
        total, n = by_channel.cumsum(), by_channel.cumcount() + 1
        window = by_channel.rolling(LAST_VIDEOS, min_periods=1).median()
        known = self._seen.assign(
            mean=total / n, n=n.astype(float), median=window.droplevel(0).reindex(self._seen.index)
        )
        row = asked.labels["row"].to_numpy()
        questions = pd.DataFrame(
            {
                "channel": asked.rows["channel_id"].to_numpy()[row],
                "known_at": _moments(asked.rows["event_timestamp"].iloc[row]),
                "position": np.arange(len(row)),
            }
        ).sort_values("known_at", kind="stable")
        found = pd.merge_asof(questions, known, on="known_at", by="channel")
        return found.set_index("position").sort_index()[["mean", "median", "n"]]


def channel_median(fitted_on: TrainingSet, history: ChannelHistory, metric: str) -> Predict:
    """Predict the median of the channel's last videos; of an unknown one, that of all videos."""
    usual = float(_first_sights(fitted_on)[metric].median())
    return lambda asked: history.before(asked)["median"].fillna(usual).to_numpy()


def shrunk_channel_mean(fitted_on: TrainingSet, history: ChannelHistory, metric: str) -> Predict:
    """Predict the channel's mean, drawn to that of all videos the more the fewer were seen.

    The weight of the prior is the variance within channels by that between them.

    Source: James-Stein by analysis of variance: Searle, Casella and McCulloch, Variance
    components, 1992.
    """
    labels = _first_sights(fitted_on)
    channels = fitted_on.rows["channel_id"].to_numpy()[labels["row"].to_numpy()]
    usual = float(labels[metric].mean())
    prior = prior_videos(labels[metric], channels)

    def predict(asked: TrainingSet) -> FloatArray:
        known = history.before(asked).fillna({"n": 0.0, "mean": usual})
        return ((known["n"] * known["mean"] + prior * usual) / (known["n"] + prior)).to_numpy()

    return predict


DRAFT_BASELINES = {"channel_median": channel_median, "shrunk_channel_mean": shrunk_channel_mean}


def prior_videos(values: "pd.Series[float]", channels: NDArray[np.object_]) -> float:
    """Give how many videos the prior weighs: variance within by variance between channels.

    One, where fewer than two channels have the two videos that variances take.
    """
    by_channel = values.groupby(channels)
    n, mean = by_channel.count(), by_channel.mean()
    many = n >= 2
    if many.sum() < 2:
        return 1.0
    within = float((by_channel.var() * (n - 1))[many].sum() / (n - 1)[many].sum())
    between = max(float(mean[many].var()) - within * float((1 / n[many]).mean()), 1e-6)
    return within / between


def _first_sights(record: TrainingSet) -> pd.DataFrame:
    """Give the labels at first sight; all, where looks are too far apart for any to be one."""
    first = record.labels["horizon_days"].isna()
    return record.labels[first] if first.any() else record.labels


def _moments(times: "pd.Series[pd.Timestamp]") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(times, utc=True)).as_unit("us")
