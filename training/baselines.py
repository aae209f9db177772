"""What a model must beat, from the literature; pure."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import AGE_COLUMN, TrainingSet, names
from training.pinto import multivariate_linear, multivariate_rbf

FloatArray = NDArray[np.float64]

# Predicts the log growth of a metric for the labels of a training set; of a draft, the log count.
Predict = Callable[[TrainingSet], FloatArray]

AGE_EDGES_HOURS = (
    3, 6, 9, 12, 15, 18, 21, 24, 30, 36, 48, 60, 72, 96, 120, 168, 240, 336, 504, 720, 1440,
)  # fmt: skip


def persistence(_fitted_on: TrainingSet, _metric: str) -> Predict:
    """Predict that nothing changes."""
    return lambda asked: np.zeros(len(asked.labels))


def szabo_huberman(fitted_on: TrainingSet, metric: str) -> Predict:
    """Predict the mean log growth seen over the same horizon, at any age.

    Source: Szabo and Huberman, Predicting the popularity of online content, CACM 53(8), 2010.
    """
    by_horizon = _mean_growth(_keyed(fitted_on, metric), ["horizon"])
    return lambda asked: _looked_up(_keyed(asked, metric), [(["horizon"], by_horizon)])


def szabo_huberman_by_age(fitted_on: TrainingSet, metric: str) -> Predict:
    """Predict the mean log growth seen over the same horizon at about the same age.

    An age never seen with a horizon is predicted as any age.
    """
    seen = _keyed(fitted_on, metric)
    keys = ["age", "horizon"]
    tables = [(keys, _mean_growth(seen, keys)), (["horizon"], _mean_growth(seen, ["horizon"]))]
    return lambda asked: _looked_up(_keyed(asked, metric), tables)


def pinto_linear(fitted_on: TrainingSet, metric: str) -> Predict:
    """Predict by the multivariate linear model of Pinto et al. (training.pinto)."""
    return _or_by_age(multivariate_linear(fitted_on, metric), fitted_on, metric)


def pinto_rbf(fitted_on: TrainingSet, metric: str) -> Predict:
    """Predict by its extension with radial basis functions."""
    return _or_by_age(multivariate_rbf(fitted_on, metric), fitted_on, metric)


BASELINES = {
    "persistence": persistence,
    "szabo_huberman": szabo_huberman,
    "szabo_huberman_by_age": szabo_huberman_by_age,
    "pinto_linear": pinto_linear,
    "pinto_rbf": pinto_rbf,
}


def _or_by_age(predict: Predict, fitted_on: TrainingSet, metric: str) -> Predict:
    """Fall back to the growth at the same age where a model had too little to be fitted on."""
    by_age = szabo_huberman_by_age(fitted_on, metric)

    def filled(asked: TrainingSet) -> FloatArray:
        growth = predict(asked)
        return np.where(np.isnan(growth), by_age(asked), growth)

    return filled


def _keyed(asked: TrainingSet, metric: str) -> pd.DataFrame:
    hours = asked.features[:, names(asked.columns).index(AGE_COLUMN)]
    return pd.DataFrame(
        {
            "age": np.digitize(hours, AGE_EDGES_HOURS)[asked.labels["row"].to_numpy()],
            "horizon": np.rint(asked.labels["horizon_days"].to_numpy()),
            "growth": asked.labels[metric].to_numpy(),
        }
    )


def _mean_growth(seen: pd.DataFrame, keys: list[str]) -> "pd.Series[float]":
    return seen.groupby(keys)["growth"].mean()


def _looked_up(
    asked: pd.DataFrame, tables: list[tuple[list[str], "pd.Series[float]"]]
) -> FloatArray:
    """Look growth up in the first table that has it; NaN where none does."""
    growth = np.full(len(asked), np.nan)
    for keys, table in tables:
        index = pd.MultiIndex.from_frame(asked[keys]) if len(keys) > 1 else pd.Index(asked[keys[0]])
        found = table.reindex(index).to_numpy()
        growth = np.where(np.isnan(growth), found, growth)
    return growth
