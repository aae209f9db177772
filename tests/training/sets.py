"""Training sets whose growth is known in distribution, with columns that serving knows."""

import numpy as np
import pandas as pd

from feature_repo.bundle import Column
from feature_repo.targets import log_count
from training.dataset import TrainingSet
from training.params import Params, read_params
from training.settings import TrainingSettings

NOON = pd.Timestamp("2026-01-15T12:00:00Z")
COLUMNS = (
    Column(name="duration_seconds", view="video_profile", kind="stored"),
    Column(name="log10_views", view="video_performance", kind="stored"),
    Column(name="observation_count", view="video_performance", kind="stored"),
    Column(name="channel_early_log10_views", view="channel_track_record", kind="stored"),
    Column(name="age_at_observation_hours", view="published_request", kind="request"),
    Column(name="hours_since_observation", view="published_request", kind="request"),
)
LABELS_PER_ROW = 4


def few_trees() -> Params:
    """Give the real parameters with few trees, on one thread, and few labels needed."""
    params = read_params(TrainingSettings.model_fields["params"].default)
    trees = {
        "n_estimators": 40, "learning_rate": 0.15, "num_leaves": 15, "num_threads": 1,
        "colsample_bytree": 0.8,  # of few columns
    }  # fmt: skip
    few = params.intervals.model_copy(update={"min_labels": 30})
    return params.model_copy(
        update={"lightgbm": params.lightgbm | trees, "intervals": few, "draft": trees}
    )


def grown(n: int, seed: int) -> TrainingSet:
    """Draw questions; growth is more for longer and for more views, with an error of 30 %.

    Every tenth value is null; every tenth label of likes is hidden.
    """
    random = np.random.default_rng(seed)
    features = random.normal(3.0, 1.0, (n, len(COLUMNS))).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    row = np.repeat(np.arange(n), LABELS_PER_ROW)
    days = random.integers(1, 31, len(row)).astype(float)
    views = np.nan_to_num(features[row, 1].astype(float), nan=3.0)
    growth = np.log10(1 + days) * (0.2 + 0.05 * views) * random.normal(1, 0.3, len(row))
    likes = np.where(random.random(len(row)) < 0.1, np.nan, growth)
    moments = pd.DatetimeIndex([NOON - pd.Timedelta(hours=i) for i in range(n)])
    rows = pd.DataFrame(
        {
            "video_id": [f"video-{i}" for i in range(n)],
            "channel_id": [f"UC{i % 20}" for i in range(n)],
            "event_timestamp": moments,
            "as_of": moments,
            "is_first": np.arange(n) % 2 == 0,
        }
    )
    labels = pd.DataFrame({"row": row, "horizon_days": days})
    labels["observed_at"] = moments[row] + pd.to_timedelta(days, unit="D")
    labels = labels.assign(views=growth, likes=likes, comments=growth / 2)
    counts = {m: np.floor(10 ** random.uniform(1, 6, n)) for m in ("views", "likes", "comments")}
    present = {metric: log_count(count) for metric, count in counts.items()}
    return TrainingSet(features, COLUMNS, rows, labels, present)
