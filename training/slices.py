"""Which test labels belong to which subset: known and new channels, tiers, formats, ages; pure."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.segments import AGE_BAND_EDGES_HOURS, AGE_BANDS, SHORT_MAX_SECONDS
from training.dataset import AGE_COLUMN, TrainingSet, names

BoolArray = NDArray[np.bool_]

# A slice of fewer labels is not shown.
LEAST_LABELS = 100


def subsets(
    asked: TrainingSet, fitted_on: TrainingSet, regions: "pd.Series[str] | None" = None
) -> dict[str, BoolArray]:
    """Mark the labels of each subset.

    `known_channel` had labels that the model was fitted on; of a draft it had been observed before.

    Args:
        asked: The test set.
        fitted_on: What the model was fitted on.
        regions: The region of each video by its id, where the record names one.
    """
    row = asked.labels["row"].to_numpy()
    used = fitted_on.rows["channel_id"].to_numpy()[fitted_on.labels["row"].unique()]
    known = asked.rows["channel_id"].isin(set(used)).to_numpy()[row]
    first = asked.rows["is_first"].to_numpy()[row]
    if asked.situation == "draft":
        first = np.isnan(asked.labels["horizon_days"].to_numpy())
        history = _column(asked, "channel_videos_seen")[row] > 0
        whole = {"first_snapshot": first, "known_channel": known & first}
        whole |= {"new_channel": ~known & first, "by_horizon": ~first}
        whole |= {"with_history": history & first, "without_history": ~history & first}
        every = first
    else:
        every = np.ones(len(row), dtype=bool)
        whole = {"all": every, "first_snapshot": first, "known_channel": known}
        whole |= {"new_channel": ~known}
    sliced = _slices(asked, every)
    if regions is not None:
        sliced |= _by("region", regions.reindex(asked.rows["video_id"]).to_numpy()[row], every)
    return whole | {name: marks for name, marks in sliced.items() if marks.sum() >= LEAST_LABELS}


def _slices(asked: TrainingSet, every: BoolArray) -> dict[str, BoolArray]:
    row = asked.labels["row"].to_numpy()
    seconds = _column(asked, "duration_seconds")[row]
    length = np.where(seconds <= SHORT_MAX_SECONDS, "short", "long")
    sliced = _by("tier", asked.tiers()[row], every)
    sliced |= _by("format", np.where(np.isnan(seconds), "unknown", length), every)
    if asked.situation == "published":
        age = _column(asked, AGE_COLUMN)[row]
        sliced |= _by("age", np.array(AGE_BANDS)[np.digitize(age, AGE_BAND_EDGES_HOURS)], every)
    return sliced


def _by(
    kind: str, values: NDArray[np.object_] | NDArray[np.str_], every: BoolArray
) -> dict[str, BoolArray]:
    return {
        f"{kind}:{value}": every & (values == value)
        for value in sorted({str(value) for value in values if isinstance(value, str)})
    }


def _column(asked: TrainingSet, name: str) -> NDArray[np.float64]:
    """Give a column of the questions; NaN where the model does not read it."""
    columns = names(asked.columns)
    if name not in columns:
        return np.full(len(asked.features), np.nan)
    return asked.features[:, columns.index(name)].astype(np.float64)
