"""Other families and designs on data whose growth is known in distribution."""

import numpy as np
import pytest

from tests.training.sets import few_trees, grown
from training.estimators import fit_lightgbm, predict
from training.families import FAMILIES, fit_family
from training.intervals import calibrate
from training.judging import ENSEMBLE, Fitted, competing
from training.robustness import Earned, Window


@pytest.fixture(scope="module")
def sets():
    """What is fitted on and what is asked; ages are those of videos, in hours."""
    return tuple(aged(grown(600, seed)) for seed in (1, 2))


def aged(some):
    names = [column.name for column in some.columns]
    features = some.features.copy()
    features[:, names.index("age_at_observation_hours")] *= 24
    return some._replace(features=np.nan_to_num(features, nan=1.0))


def error(growth, asked):
    return float(np.sqrt(np.mean((growth - asked.labels["views"].to_numpy()) ** 2)))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_learns_from_features_and_horizon(name, sets):
    fitted_on, asked = sets
    growth = fit_family(name, fitted_on, few_trees())["views"](asked)
    usual = np.full(len(growth), fitted_on.labels["views"].mean())
    assert error(growth, asked) < 0.9 * error(usual, asked)


def test_the_growth_rate_design_never_falls_where_growth_is_positive(sets):
    fitted_on, asked = sets
    answer = fit_family("growth_rate", fitted_on, few_trees())["views"]
    near, far = (
        asked._replace(labels=asked.labels.assign(horizon_days=float(day))) for day in (1, 2)
    )
    assert np.mean(answer(far) >= answer(near)) > 0.9


def test_the_mean_of_all_competes_beside_those_named(sets):
    fitted_on, asked = sets
    boosters = fit_lightgbm(fitted_on, few_trees())
    own = {metric: predict(booster, fitted_on) for metric, booster in boosters.items()}
    fitted = Fitted(
        boosters, calibrate(fitted_on, own, 30), fitted_on, fitted_on, Window(None, {}),
        Earned([], (), {}),
    )  # fmt: skip
    scored = competing(["linear", "xgboost"], fitted, asked, few_trees())
    assert [one.model for one in scored] == ["linear", "xgboost", ENSEMBLE]
    model = asked.present["views"][asked.labels["row"]] + predict(boosters["views"], asked)
    mean = np.mean([model, *(one.median["views"] for one in scored[:2])], axis=0)
    np.testing.assert_allclose(scored[2].median["views"], mean)
    assert competing([], fitted, asked, few_trees()) == []
