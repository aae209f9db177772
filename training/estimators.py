"""Boosted trees per metric; their forecasts never fall with the horizon."""

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.targets import AGE_SCALE_COLUMNS, METRICS, age_scale
from training.dataset import TrainingSet, names
from training.errors import InvalidParameters
from training.params import Params

HORIZON_COLUMN = "horizon_days"
# What is some hours ahead weighs as half a day does.
LEAST_WEIGHED_DAYS = 0.5

Boosters = dict[str, lgb.Booster]
FloatArray = NDArray[np.float64]


def fit_lightgbm(fitted_on: TrainingSet, params: Params) -> Boosters:
    """Fit one booster per metric on the labels that have it.

    The loss is quadratic on log growth (of a draft, on the log count): LightGBM refuses monotone
    constraints with quantile losses, and intervals come from calibration instead. Trees that read
    the age of a video answer growth by its scale, and errors are weighed so that the loss is that
    of growth, divided by what it usually is at its horizon.
    """
    return _fit(fitted_on, METRICS, params, {})


def fit_one(
    fitted_on: TrainingSet, metric: str, params: Params, trees: dict[str, Any] | None = None
) -> lgb.Booster:
    """Fit the booster of one metric; `trees` overrides parameters of the situation."""
    return _fit(fitted_on, (metric,), params, trees or {})[metric]


def _fit(
    fitted_on: TrainingSet, metrics: Sequence[str], params: Params, trees: dict[str, Any]
) -> Boosters:
    settings = _settings(fitted_on, params) | trees
    matrix = fitted_on.matrix(fitted_on.labels)
    data = _binned(matrix, names(fitted_on.columns), settings)
    scale = scale_of(names(fitted_on.columns), matrix)
    weight = _weights(fitted_on, scale, params.growth_power)
    return {
        metric: _fitted(data, fitted_on.labels[metric].to_numpy(), scale, weight, settings)
        for metric in metrics
    }


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


def _binned(
    matrix: NDArray[np.float32], columns: list[str], settings: dict[str, Any]
) -> lgb.Dataset:
    """Cut features into bins once: every metric is fitted on rows of it."""
    return lgb.Dataset(
        matrix,
        feature_name=[*columns, HORIZON_COLUMN],
        params={
            "max_bin": settings.get("max_bin", 255),
            # Columns that cannot be parted into leaves of so many are left out here, so that trees
            # with smaller leaves are refused later.
            "min_child_samples": min(settings.get("min_child_samples", 20), 20),
            "verbosity": -1,
        },
    ).construct()


def _weights(fitted_on: TrainingSet, scale: FloatArray | None, power: float) -> FloatArray | None:
    """Weigh errors of what the trees answer as errors of growth, by how far it usually goes."""
    if scale is None:
        return None
    days = np.maximum(fitted_on.labels["horizon_days"].to_numpy(), LEAST_WEIGHED_DAYS)
    return np.asarray(scale**2 / days**power)


def _fitted(
    data: lgb.Dataset,
    growth: FloatArray,
    scale: FloatArray | None,
    weight: FloatArray | None,
    settings: dict[str, Any],
) -> lgb.Booster:
    known = np.flatnonzero(~np.isnan(growth))
    part = data.subset(known.tolist()).construct()
    part.set_label(growth[known] if scale is None else growth[known] / scale[known])
    if weight is not None:
        part.set_weight(weight[known] / np.mean(weight[known]))
    given = {name: value for name, value in settings.items() if name != "n_estimators"}
    try:
        return lgb.train(given, part, num_boost_round=settings["n_estimators"])
    except lgb.basic.LightGBMError as error:
        told = str(error).strip()
        raise InvalidParameters(f"LightGBM refuses the parameters of the trees: {told}") from error


def scale_of(columns: Sequence[str], matrix: NDArray[np.float32]) -> FloatArray | None:
    """Give what the trees' answer is multiplied by, one per row; None where they answer growth.

    Args:
        columns: What the trees read; the horizon may follow.
        matrix: Their input, the horizon last.
    """
    if not set(AGE_SCALE_COLUMNS) <= set(columns):
        return None
    age, waited = (matrix[:, columns.index(name)] for name in AGE_SCALE_COLUMNS)
    wide = (column.astype(np.float64) for column in (age, waited, matrix[:, -1]))
    return np.asarray(age_scale(*wide), dtype=np.float64)


def growth_by(booster: lgb.Booster, matrix: NDArray[np.float32]) -> FloatArray:
    """Predict log growth (of a draft, the log count) for rows of a booster's input."""
    answered = np.asarray(booster.predict(matrix), dtype=np.float64)
    scale = scale_of(booster.feature_name(), matrix)
    return answered if scale is None else np.maximum(answered, 0.0) * scale


def predict(booster: lgb.Booster, asked: TrainingSet) -> FloatArray:
    """Predict log growth for the labels of a training set, which may hold more columns."""
    order = [names(asked.columns).index(name) for name in booster.feature_name()[:-1]]
    given = asked._replace(features=asked.features[:, order])
    return growth_by(booster, given.matrix(asked.labels))
