"""The models of Pinto et al. against the published formulae, worked out by hand."""

import numpy as np
import pytest

from tests.training.records import training_set
from training.pinto import gains, multivariate_linear, multivariate_rbf, relative_least_squares


def test_coefficients_minimize_the_mean_relative_squared_error():
    # One gain: the least of sum((x * c / y - 1)^2) is sum(x / y) / sum((x / y)^2).
    given, counts = np.array([[1.0], [2.0], [4.0]]), np.array([2.0, 2.0, 16.0])
    ratio = given[:, 0] / counts
    expected = ratio.sum() / (ratio**2).sum()
    found = relative_least_squares(given, counts, ridge=0.0)
    assert found[0] == pytest.approx(expected)


def test_a_ridge_draws_coefficients_to_zero():
    given, counts = np.array([[1.0], [2.0]]), np.array([1.0, 2.0])
    assert relative_least_squares(given, counts, 0.0)[0] == pytest.approx(1.0)
    assert relative_least_squares(given, counts, 1.0)[0] == pytest.approx(0.5)


def test_a_count_is_divided_into_what_it_gained_when():
    growth = {"log10_views_growth_1d": [np.log10(1000 / 900)], "log10_views_growth_3d": [np.nan]}
    found = gains(training_set([100], [1], [0.0], **growth), "views")[0]
    assert found.sum() == pytest.approx(999.0)
    assert found[0] == pytest.approx(100.0)
    assert found[1] == 0.0


def test_both_models_find_how_counts_come_about():
    random = np.random.default_rng(4)
    pace = random.uniform(0.01, 0.3, 2_000)
    gained = 1.0 - 10.0**-pace
    growth = np.log10(1.0 + 2.0 * gained)  # as much again as twice the last day's gain
    columns = {"log10_views_growth_1d": pace.tolist()}
    seen = training_set([10.0] * 2_000, [1.0] * 2_000, growth.tolist(), **columns)
    for make, error in ((multivariate_linear, 0.001), (multivariate_rbf, 0.05)):
        np.testing.assert_allclose(make(seen, "views")(seen), growth, atol=error)


def test_too_few_labels_of_an_age_have_no_model():
    few = training_set([10.0] * 50, [1.0] * 50, [0.1] * 50)
    assert np.isnan(multivariate_linear(few, "views")(few)).all()
