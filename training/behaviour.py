"""Behaviour that no score shows: what a model must never do, tried out on real questions; pure."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.targets import MAX_HORIZON_DAYS
from training.dataset import TrainingSet, names

FloatArray = NDArray[np.float64]

# Forecasts, counts of shape (rows, 3), for questions at horizons: the path a user's takes.
Forecast = Callable[[TrainingSet], FloatArray]

QUESTIONS = 500
# A round of trees may answer a little less here and there; a habit of it is a fault.
FASTER = 1.5
LEAST_SHARE = 0.9
PACE_COLUMNS = (
    "views_per_hour_1d", "log10_views_growth_1d", "views_exponent_1d", "power_law_growth_24h",
    "power_law_growth_72h", "power_law_growth_168h",
)  # fmt: skip


class Finding(NamedTuple):
    """One trial of a model: its name, whether it held, and what was seen."""

    name: str
    holds: bool
    seen: str


def behaviour(asked: TrainingSet, forecast: Forecast) -> list[Finding]:
    """Try a model out on some of the questions of its test.

    Args:
        asked: The test set.
        forecast: Quantiles of views for the labels of a training set.
    """
    some = _sample(asked)
    findings = [_renamed(some, forecast), _never_falls(some, forecast)]
    if asked.situation == "published":
        findings += [_never_below_present(some, forecast), _faster_is_not_fewer(some, forecast)]
    return findings


def _renamed(some: TrainingSet, forecast: Forecast) -> Finding:
    other = some._replace(rows=some.rows.assign(video_id="another", channel_id="another"))
    same = np.array_equal(forecast(some), forecast(other), equal_nan=True)
    return Finding("another id changes nothing", same, "equal" if same else "answers differ")


def _never_falls(some: TrainingSet, forecast: Forecast) -> Finding:
    days = range(1, MAX_HORIZON_DAYS + 1)
    curves = np.stack([forecast(_at(some, day)) for day in days])
    falls = int(np.sum(np.any(np.diff(curves, axis=0) < -1e-6, axis=(0, 2))))
    return Finding("curves never fall", falls == 0, f"{falls} of {curves.shape[1]} fall")


def _never_below_present(some: TrainingSet, forecast: Forecast) -> Finding:
    present = 10.0 ** some.present["views"][some.labels["row"].to_numpy()] - 1.0
    below = int(np.sum(forecast(some)[:, 0] < present * (1 - 1e-9) - 1e-6))
    return Finding("never below the present count", below == 0, f"{below} are")


def _faster_is_not_fewer(some: TrainingSet, forecast: Forecast) -> Finding:
    columns = names(some.columns)
    pace = [columns.index(name) for name in PACE_COLUMNS if name in columns]
    features = some.features.copy()
    features[:, pace] *= np.float32(FASTER)
    row = some.labels["row"].to_numpy()
    moving = np.any(some.features[row][:, pace] > 0, axis=1)
    if not moving.any():
        return Finding("faster is not fewer", True, "no question knows a pace")
    before, after = forecast(some)[moving, 1], forecast(some._replace(features=features))[moving, 1]
    share = float(np.mean(after >= before))
    gain = float(np.nanmean(np.log10((1 + after) / (1 + before))))
    seen = f"{FASTER:g} times the pace gives no fewer views in {share:.0%}, {gain:+.3f} decades"
    return Finding("faster is not fewer", share >= LEAST_SHARE or gain > 0, seen)


def _sample(asked: TrainingSet) -> TrainingSet:
    known = asked.where(asked.labels["views"].notna().to_numpy())
    step = max(len(known.labels) // QUESTIONS, 1)
    return known._replace(labels=known.labels.iloc[::step].reset_index(drop=True))


def _at(some: TrainingSet, day: int) -> TrainingSet:
    return some._replace(labels=some.labels.assign(horizon_days=float(day)))
