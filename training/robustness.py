"""What a model may learn from when the world changes under it: by rules, on held-out time.

Lists and platforms change: what was true before may mislead now (a list retired, a field filled in
from some day on), and what a large record can learn a small one cannot. Three rules answer that,
all judged on time before the test.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.transformations import channel_growth, declared, outlook, text
from training.dataset import AGE_COLUMN, TIER_COLUMN, TrainingSet, names
from training.estimators import fit_one, predict
from training.folds import folds
from training.params import Params
from training.splits import Split

BoolArray = NDArray[np.bool_]

# What intervals and baselines are looked up by stays, however often it is null.
ALWAYS = (AGE_COLUMN, TIER_COLUMN)


# Columns that must earn their place together: they say one thing in many ways, which a small record
# learns by heart.
GROUPS = {
    "outlook": declared.names(outlook.OUTLOOK_FEATURES),
    "channel_growth": declared.names(channel_growth.CHANNEL_GROWTH_FEATURES),
    "texts": declared.names((*text.TITLE_FEATURES, *text.DESCRIPTION_FEATURES)),
}


class Window(NamedTuple):
    """Since when labels are learnt from, and what every window tried came to.

    Attributes:
        start: Earliest moment asked about; None for the whole record.
        tried: RMSE of views on the calibration part, by the length tried in days.
    """

    start: pd.Timestamp | None
    tried: dict[str, float]


def surviving_columns(everything: TrainingSet, split: Split, most_shift: float) -> list[int]:
    """Give the columns whose share of nulls is about the same later as before.

    A column that is suddenly filled in, or no longer, says when a row was made and not what a video
    is: trees learn it by heart and fail on what comes next.
    """
    before, after = (_null_shares(everything, part) for part in (split.fit, split.calibration))
    shift = np.abs(after - before)
    columns = names(everything.columns)
    return [i for i, name in enumerate(columns) if shift[i] <= most_shift or name in ALWAYS]


class Earned(NamedTuple):
    """Which columns are left, and what leaving out each group came to.

    Attributes:
        columns: Indices of those that stay.
        left_out: Names of the groups that do not.
        tried: RMSE of views on later time, with all columns (`all`) and without each group.
    """

    columns: list[int]
    left_out: tuple[str, ...]
    tried: dict[str, float]


def earned_columns(before_test: TrainingSet, params: Params) -> Earned:
    """Leave out the groups of columns without which later time is forecast no worse.

    Each group in turn is taken from what is left, and stays out unless the mean over time-ordered
    folds (those of tuning: of other videos, after a gap) is better with it.

    Args:
        before_test: Labels that are known before the test.
        params: Seed and the rule's parameters.
    """
    rule = params.robustness
    parts = [
        (fit.where(_thinned(np.ones(len(fit.labels), dtype=bool), rule.fold_rows)), judge)
        for fit, judge in folds(before_test, params.seed)
    ]
    left = list(range(len(before_test.columns)))
    if not parts:
        return Earned(left, (), {})

    def error(columns: list[int]) -> float:
        read = tuple(before_test.columns[i] for i in columns)
        errors = []
        for fit, judge in parts:
            booster = fit_one(fit.reading(read), "views", params, rule.trees)
            missed = predict(booster, judge) - judge.labels["views"].to_numpy()
            errors.append(float(np.sqrt(np.mean(missed**2))))
        return float(np.mean(errors))

    tried = {"all": error(left)}
    least, left_out = tried["all"], []
    for name, members in GROUPS.items():
        without = [i for i in left if before_test.columns[i].name not in members]
        if len(without) == len(left):
            continue
        tried[name] = error(without)
        if tried[name] <= least:
            left, least = without, tried[name]
            left_out.append(name)
    return Earned(left, tuple(left_out), tried)


def best_window(everything: TrainingSet, split: Split, params: Params) -> Window:
    """Choose how far back to learn from: the longest window that is not worse on later time.

    What one fit comes to moves by chance about as much as by a window: each is the mean of some.
    """
    rule = params.robustness
    if not rule.windows_days:
        return Window(None, {})
    asked = pd.DatetimeIndex(everything.rows["event_timestamp"])[
        everything.labels["row"].to_numpy()
    ]
    known = everything.labels["views"].notna().to_numpy()
    end = asked[split.fit].max()
    # Thinned alike, so that a longer window has as much more to learn from as it really has.
    some = _thinned(split.fit & known, rule.window_rows)
    judged_on = everything.where(_thinned(split.calibration & known, rule.window_rows))
    starts = {"all": None} | {
        str(days): end - pd.Timedelta(days=days) for days in sorted(rule.windows_days, reverse=True)
    }
    tried: dict[str, float] = {}
    learnt_before = 0
    for name, start in starts.items():
        part = some & (True if start is None else asked >= start)
        if part.sum() < rule.least_labels or part.sum() == learnt_before:
            continue
        learnt_before = part.sum()
        tried[name] = _mean_error(everything.where(part), judged_on, params)
    if not tried:
        return Window(None, {})
    least = min(tried.values()) * (1.0 + rule.indifference)
    chosen = next(name for name, error in tried.items() if error <= least)
    return Window(starts[chosen], tried)


def _mean_error(fitted_on: TrainingSet, judged_on: TrainingSet, params: Params) -> float:
    truth, rule = judged_on.labels["views"].to_numpy(), params.robustness
    errors = []
    for fit in range(rule.window_fits):
        seeded = params.model_copy(update={"seed": params.seed + fit})
        booster = fit_one(fitted_on, "views", seeded, rule.window_trees)
        errors.append(float(np.sqrt(np.mean((predict(booster, judged_on) - truth) ** 2))))
    return float(np.mean(errors))


def within(everything: TrainingSet, window: Window) -> BoolArray:
    """Mark the labels asked about since the start of a window."""
    if window.start is None:
        return np.ones(len(everything.labels), dtype=bool)
    asked = pd.DatetimeIndex(everything.rows["event_timestamp"])
    return np.asarray(asked[everything.labels["row"].to_numpy()] >= window.start)


def _null_shares(everything: TrainingSet, part: BoolArray) -> NDArray[np.float64]:
    row = np.unique(everything.labels["row"].to_numpy()[part])
    return np.asarray(np.isnan(everything.features[row]).mean(axis=0))


def _thinned(part: BoolArray, most: int) -> BoolArray:
    """Keep at most about so many of the marked labels, evenly."""
    at = np.flatnonzero(part)
    kept = np.zeros(len(part), dtype=bool)
    kept[at[:: max(-(-len(at) // most), 1)]] = True
    return kept
