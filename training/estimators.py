"""Boosted trees per metric, never falling with the horizon."""

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.targets import METRICS
from training.dataset import TrainingSet, names
from training.params import Params

HORIZON_COLUMN = "horizon_days"

Boosters = dict[str, lgb.Booster]


def fit_lightgbm(fitted_on: TrainingSet, params: Params) -> Boosters:
    """Fit one booster per metric on the labels that have it.

    The loss is quadratic on log growth (of a draft, on the log count): LightGBM refuses monotone
    constraints with quantile losses, and intervals come from calibration instead.
    """
    settings = _settings(fitted_on, params)
    data = _binned(fitted_on, settings)
    return {
        metric: _fitted(data, fitted_on.labels[metric].to_numpy(), settings) for metric in METRICS
    }


def fit_one(
    fitted_on: TrainingSet, metric: str, params: Params, trees: dict[str, Any] | None = None
) -> lgb.Booster:
    """Fit the booster of one metric; `trees` overrides parameters of the situation."""
    settings = _settings(fitted_on, params) | (trees or {})
    data = _binned(fitted_on, settings)
    return _fitted(data, fitted_on.labels[metric].to_numpy(), settings)


def _settings(fitted_on: TrainingSet, params: Params) -> dict[str, Any]:
    return {
        "objective": "regression",
        "monotone_constraints": [0] * len(fitted_on.columns) + [1],
        "deterministic": True,
        "force_col_wise": True,
        "seed": params.seed,
        "verbosity": -1,
        **params.trees(fitted_on.situation),
    }


def _binned(fitted_on: TrainingSet, settings: dict[str, Any]) -> lgb.Dataset:
    """Cut features into bins once: every metric is fitted on rows of it."""
    return lgb.Dataset(
        fitted_on.matrix(fitted_on.labels),
        feature_name=[*names(fitted_on.columns), HORIZON_COLUMN],
        params={"max_bin": settings.get("max_bin", 255), "verbosity": -1},
    ).construct()


def _fitted(
    data: lgb.Dataset, growth: NDArray[np.float64], settings: dict[str, Any]
) -> lgb.Booster:
    known = np.flatnonzero(~np.isnan(growth))
    part = data.subset(known.tolist()).construct()
    part.set_label(growth[known])
    given = {name: value for name, value in settings.items() if name != "n_estimators"}
    return lgb.train(given, part, num_boost_round=settings["n_estimators"])


def predict(booster: lgb.Booster, asked: TrainingSet) -> NDArray[np.float64]:
    """Predict log growth for the labels of a training set, which may hold more columns."""
    order = [names(asked.columns).index(name) for name in booster.feature_name()[:-1]]
    given = asked._replace(features=asked.features[:, order])
    return np.asarray(booster.predict(given.matrix(asked.labels)), dtype=np.float64)
