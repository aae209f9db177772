"""Time-ordered cross-validation: later time, after a gap, of other videos; pure."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import TrainingSet
from training.params import SplitParams
from training.splits import borders, by_time

FOLDS = 3
# What a fit may cost: folds are thinned to about so many labels.
ROWS = 60_000
LEAST_LABELS = 100


def folds(everything: TrainingSet, seed: int) -> Iterator[tuple[TrainingSet, TrainingSet]]:
    """Give parts to fit and to judge on: later in time, after a gap, and of other videos.

    The gap before each border is as long as each label's horizon, as in every split.
    """
    known = everything.where(everything.labels["views"].notna().to_numpy())
    row = known.labels["row"].to_numpy()
    # A part of a training set keeps the questions of the whole: those without a label in it say
    # nothing of its time.
    asked = pd.DatetimeIndex(known.rows["event_timestamp"])[row]
    video = known.rows["video_id"].to_numpy()[row]
    for fold in range(FOLDS, 0, -1):
        shares = SplitParams(test_share=0.12 * (fold - 1), calibration_share=0.12)
        at = borders(asked.min(), asked.max(), shares)
        judge = np.asarray((asked >= at.calibration) & (asked < at.test))
        apart = ~pd.Series(video).isin(set(video[judge])).to_numpy()
        fit = by_time(known.rows, known.labels, at).fit & apart
        if fit.sum() >= LEAST_LABELS and judge.sum() >= LEAST_LABELS:
            yield known.where(_thinned(fit, seed)), known.where(_thinned(judge, seed))


def _thinned(part: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    at = np.flatnonzero(part)
    kept = np.zeros(len(part), dtype=bool)
    kept[np.random.default_rng(seed).permutation(at)[:ROWS]] = True
    return kept
