"""Model families that compete with the champion's: one pipeline each, scaling and encoding inside.

Each predicts log growth (of a draft, the log count) from the columns of the feature service and the
horizon. Nulls stay nulls for trees that know them; elsewhere a median stands in, with an indicator.
"""

from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)
from xgboost import XGBRegressor

from feature_repo.targets import METRICS
from training.dataset import AGE_COLUMN, TrainingSet, names
from training.estimators import HORIZON_COLUMN
from training.params import Params

FloatArray = NDArray[np.float64]
Predict = Callable[[TrainingSet], FloatArray]

# Codes, not quantities: one column per value that is common enough.
CODES = ("category_id", "channel_country", "title_language", "draft_category_id")
# Where growth bends: the two that everything depends on get splines.
BENDS = ("age_at_observation_hours", HORIZON_COLUMN)
# Rows of a family without histograms; more change little and cost minutes.
FOREST_ROWS = 100_000


def linear(columns: list[str], _params: Params) -> BaseEstimator:
    """Ridge regression on standardized, squashed columns; age and horizon as splines."""
    codes = [i for i, name in enumerate(columns) if name in CODES]
    bends = [i for i, name in enumerate(columns) if name in BENDS]
    plain = [i for i in range(len(columns)) if i not in codes]
    encoder = OneHotEncoder(min_frequency=500, handle_unknown="infrequent_if_exist")
    squash = FunctionTransformer(_squashed)
    return make_pipeline(
        ColumnTransformer(
            [
                ("plain", make_pipeline(_filled(), squash, StandardScaler()), plain),
                ("bends", make_pipeline(_filled(), squash, SplineTransformer(8)), bends),
                ("codes", make_pipeline(SimpleImputer(strategy="constant"), encoder), codes),
            ]
        ),
        Ridge(alpha=10.0),
    )


def random_forest(_columns: list[str], params: Params) -> BaseEstimator:
    """Bagged trees on a sample of the rows."""
    forest = RandomForestRegressor(
        n_estimators=100,
        min_samples_leaf=20,
        max_features=0.3,
        max_samples=0.5,
        n_jobs=params.lightgbm.get("num_threads", 2),
        random_state=params.seed,
    )
    return make_pipeline(_filled(), forest)


def xgboost(columns: list[str], params: Params) -> BaseEstimator:
    """Boosted trees like the champion's, by the other library; monotone in the horizon too."""
    given = params.lightgbm
    return XGBRegressor(
        n_estimators=given["n_estimators"],
        learning_rate=given["learning_rate"],
        max_leaves=given["num_leaves"],
        max_depth=0,
        grow_policy="lossguide",
        tree_method="hist",
        max_bin=given.get("max_bin", 255),
        min_child_weight=given.get("min_child_samples", 20),
        subsample=given.get("subsample", 1.0),
        colsample_bytree=given.get("colsample_bytree", 1.0),
        reg_lambda=given.get("reg_lambda", 1.0),
        monotone_constraints=tuple([0] * (len(columns) - 1) + [1]),
        n_jobs=given.get("num_threads", 2),
        random_state=params.seed,
    )


class GrowthRate(BaseEstimator):
    """Boosted trees on the exponent of growth: decades of views per decade of age.

    The other design of a forecast for any horizon: growth is the exponent times log10((age + h) /
    age), so that trees need not learn how it goes on with the horizon. Errors are weighed so that
    the loss is the direct design's.
    """

    def __init__(self, columns: list[str], params: Params) -> None:
        self.columns = columns
        self.params = params

    def fit(self, matrix: NDArray[np.float32], growth: FloatArray) -> "GrowthRate":
        """Fit the exponent."""
        stretch = self._stretch(matrix)
        given = {k: v for k, v in self.params.lightgbm.items() if k != "n_estimators"}
        given |= {"objective": "regression", "seed": self.params.seed, "verbosity": -1}
        data = lgb.Dataset(matrix, growth / stretch, weight=stretch**2, params=given)
        self.booster_ = lgb.train(given, data, self.params.lightgbm["n_estimators"])
        return self

    def predict(self, matrix: NDArray[np.float32]) -> FloatArray:
        """Predict log growth."""
        exponent = np.asarray(self.booster_.predict(matrix), dtype=np.float64)
        return exponent * self._stretch(matrix)

    def _stretch(self, matrix: NDArray[np.float32]) -> FloatArray:
        """Give log10((age + horizon) / age), of ages of an hour or more."""
        hours = np.maximum(matrix[:, self.columns.index(AGE_COLUMN)].astype(np.float64), 1.0)
        return np.asarray(np.log10(1.0 + 24.0 * matrix[:, -1].astype(np.float64) / hours))


FAMILIES: dict[str, Callable[[list[str], Params], Any]] = {
    "linear": linear,
    "random_forest": random_forest,
    "xgboost": xgboost,
    "growth_rate": GrowthRate,
}
# The exponent of growth needs something that grew already.
PUBLISHED_ONLY = ("growth_rate",)


def fit_family(name: str, fitted_on: TrainingSet, params: Params) -> dict[str, Predict]:
    """Fit an estimator of a family per metric; gives how each predicts."""
    columns = [*names(fitted_on.columns), HORIZON_COLUMN]
    step = max(len(fitted_on.labels) // FOREST_ROWS, 1) if name == "random_forest" else 1
    labels = fitted_on.labels.iloc[::step]
    matrix = fitted_on.matrix(labels)
    predictors = {}
    for metric in METRICS:
        growth = labels[metric].to_numpy()
        known = ~np.isnan(growth)
        fitted = FAMILIES[name](columns, params).fit(matrix[known], growth[known])
        predictors[metric] = _predictor(fitted)
    return predictors


def _predictor(fitted: Any) -> Predict:
    return lambda asked: np.asarray(fitted.predict(asked.matrix(asked.labels)), dtype=np.float64)


def _filled() -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _squashed(values: FloatArray) -> FloatArray:
    """Read every column in logs, which leaves small values nearly as they are."""
    return np.sign(values) * np.log10(1.0 + np.abs(values))
