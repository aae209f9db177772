"""What a model leans on, what it loses when a feature is shuffled, and which features hurt."""

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.families import family_of
from foreview.feature_report.ablation import Fit, change, fitted_without
from foreview.feature_report.trials import Trial, evenly
from training.dataset import TrainingSet, names
from training.estimators import predict
from training.params import Params

Row = dict[str, Any]

# Labels that shuffled features are tried on.
SHUFFLED_LABELS = 20_000
# So many suspects, at most, are fitted without: each costs a fit per trial and seed.
SUSPECTS = 3


def importance(trial: Trial, whole: Fit, seed: int) -> list[Row]:
    """Give each feature's share of the gain, and what its shuffling costs.

    Shuffling breaks a feature's tie to the outcome and keeps its distribution. Correlated features
    stand in for each other, so that what shuffling costs is a lower bound.

    Returns:
        A row per feature, most costly first: `gain_share`, and `shuffled`, the share by which the
        RMSE of views grows (below 0: forecasts get better without it).
    """
    booster = whole.boosters[0]
    gain = dict(zip(booster.feature_name(), booster.feature_importance("gain"), strict=True))
    costs = _shuffled(booster, trial, seed)
    total = sum(gain.values()) or 1.0
    rows = [
        {
            "situation": trial.asked.situation,
            "trial": trial.name,
            "feature": name,
            "family": family_of(name),
            "gain_share": float(gain[name] / total),
            "shuffled": costs[name],
        }
        for name in names(trial.fitted_on.columns)
    ]
    return sorted(rows, key=lambda row: -row["shuffled"])


def _shuffled(booster: lgb.Booster, trial: Trial, seed: int) -> dict[str, float]:
    some = trial.asked.where(evenly(np.full(len(trial.asked.labels), True), SHUFFLED_LABELS))
    rows = np.unique(some.labels["row"].to_numpy())
    order = np.random.default_rng(seed).permutation(rows)
    whole = _rmse(booster, some, some.features)
    costs = {}
    for at, name in enumerate(names(some.columns)):
        features = some.features.copy()
        features[rows, at] = some.features[order, at]
        costs[name] = _rmse(booster, some, features) / whole - 1.0
    return costs


def _rmse(booster: lgb.Booster, some: TrainingSet, features: NDArray[np.float32]) -> float:
    error = predict(booster, some._replace(features=features)) - some.labels["views"].to_numpy()
    return float(np.sqrt(np.mean(error**2)))


def hurting(trials: Sequence[tuple[Trial, Fit]], rows: Sequence[Row], params: Params) -> list[Row]:
    """Fit without the features whose shuffling helped in every trial, and tell what that changed.

    Returns:
        A row per suspect and trial: `change` of the RMSE with its interval, as of an ablation.
        A feature hurts where the interval lies below 0 in every trial.
    """
    found = []
    for name in suspects(rows):
        for trial, whole in trials:
            without = fitted_without(trial, (name,), params, name)
            told = change(trial.asked, without.error, whole.error, params.seed)
            found.append(
                {
                    "situation": trial.asked.situation,
                    "trial": trial.name,
                    "feature": name,
                    "change": told[0],
                    "change_low": told[1],
                    "change_high": told[2],
                }
            )
    return found


def suspects(rows: Sequence[Row]) -> list[str]:
    """Name the features whose shuffling made forecasts better in every trial, worst first."""
    costs: dict[str, list[float]] = {}
    for row in rows:
        costs.setdefault(row["feature"], []).append(row["shuffled"])
    worst = {name: max(of) for name, of in costs.items() if max(of) < 0.0}
    return sorted(worst, key=lambda name: worst[name])[:SUSPECTS]
