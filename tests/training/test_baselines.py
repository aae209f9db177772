import numpy as np
import pytest

from tests.training.records import training_set
from training.baselines import persistence, szabo_huberman, szabo_huberman_by_age

SEEN = training_set([10, 10, 100, 100], [1, 1, 1, 7], [0.2, 0.4, 0.1, 0.5])


def test_persistence_predicts_that_nothing_changes():
    assert persistence(SEEN, "views")(SEEN).tolist() == [0.0] * 4


def test_szabo_and_huberman_predict_the_mean_log_growth_of_the_horizon():
    asked = training_set([50, 50], [1, 7], [0, 0])
    np.testing.assert_allclose(szabo_huberman(SEEN, "views")(asked), [0.7 / 3, 0.5])


def test_by_age_they_predict_that_of_the_age_and_else_of_any_age():
    asked = training_set([10.5, 100, 10], [1, 1, 7], [0, 0, 0])
    np.testing.assert_allclose(szabo_huberman_by_age(SEEN, "views")(asked), [0.3, 0.1, 0.5])


def test_a_horizon_never_seen_is_not_predicted():
    asked = training_set([10], [30], [0])
    assert np.isnan(szabo_huberman_by_age(SEEN, "views")(asked)).all()


@pytest.mark.parametrize("make", [szabo_huberman, szabo_huberman_by_age])
def test_unlabelled_growth_is_left_out_of_the_mean(make):
    seen = training_set([10, 10], [1, 1], [0.2, float("nan")])
    np.testing.assert_allclose(make(seen, "views")(training_set([10], [1], [0])), [0.2])
