"""Small records of observations, and training sets made by hand."""

import numpy as np
import pandas as pd

from feature_repo.bundle import Column
from training.dataset import AGE_COLUMN, TIER_COLUMN, TrainingSet

START = pd.Timestamp("2026-01-05T11:00:00Z")
DAY = pd.Timedelta(days=1)


def snapshots(rows: list[tuple[str, float, float]], definition: str = "views_1") -> pd.DataFrame:
    """Make observations of (video, day, views); known at once, of one channel per video."""
    moments = pd.DatetimeIndex([START + DAY * day for _, day, _ in rows]).as_unit("us")
    views = np.array([views for _, _, views in rows], dtype=np.float64)
    return pd.DataFrame(
        {
            "video_id": [video for video, _, _ in rows],
            "channel_id": [f"UC-{video}" for video, _, _ in rows],
            "event_timestamp": moments,
            "created_timestamp": moments,
            "view_definition": definition,
            "view_count": views,
            "like_count": views / 10,
            "comment_count": np.nan,
        }
    )


def training_set(
    age_hours: list[float], horizon_days: list[float], growth: list[float], **more: list[float]
) -> TrainingSet:
    """Make a training set with one label per question."""
    columns = [AGE_COLUMN, TIER_COLUMN, *more]
    values = [age_hours, [4.5] * len(age_hours), *more.values()]
    n = len(age_hours)
    rows = pd.DataFrame(
        {
            "video_id": [f"video-{i}" for i in range(n)],
            "channel_id": [f"UC-{i % 7}" for i in range(n)],
            "event_timestamp": pd.DatetimeIndex([START] * n),
            "is_first": True,
        }
    )
    labels = pd.DataFrame({"row": np.arange(n), "horizon_days": horizon_days})
    labels["observed_at"] = [START + DAY * days for days in horizon_days]
    for metric in ("views", "likes", "comments"):
        labels[metric] = growth
    return TrainingSet(
        features=np.array(values, dtype=np.float32).T,
        columns=tuple(Column(name=name, view="v", kind="stored") for name in columns),
        rows=rows,
        labels=labels,
        present={metric: np.full(n, 3.0) for metric in ("views", "likes", "comments")},
    )
