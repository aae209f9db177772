import numpy as np
import pytest

from feature_repo.targets import age_scale, first_quantiles, quantiles


def test_a_first_forecast_is_the_predicted_log_count_with_errors_in_decades():
    answer = first_quantiles(np.array([3.0, 0.1]), np.array([[-1.0, 0.0, 0.5]] * 2))
    np.testing.assert_allclose(answer[0], 10.0 ** np.array([2.0, 3.0, 3.5]) - 1.0)
    assert answer[1, 0] == 0.0


def test_a_forecast_never_falls_below_the_present_count():
    answer = quantiles(np.array([999.0]), np.array([-0.2]), np.array([[-2.0, -1.0, 1.0]]))
    np.testing.assert_allclose(answer[0], [999.0, 999.0, 1000.0 * 10.0**0.01 - 1.0])


def test_a_hidden_count_has_no_forecast():
    assert np.isnan(quantiles(np.array([np.nan]), np.array([0.1]), np.zeros((1, 3)))).all()


def test_the_scale_of_growth_rises_with_the_horizon_and_falls_with_age():
    ages, days = np.geomspace(0.01, 1e5, 80)[:, np.newaxis], np.arange(0.25, 31, 0.25)
    scale = age_scale(ages, np.full_like(ages, 6.0), days)
    assert (scale > 0).all()
    assert (np.diff(scale, axis=1) > 0).all()
    assert (np.diff(scale, axis=0) <= 0).all()


def test_the_scale_of_growth_is_about_the_root_of_the_decades_of_age_to_come():
    ages, days = np.geomspace(6, 2000, 50), np.float64(7)
    by_law = np.sqrt(np.log10(1 + 168 / ages))
    ratio = age_scale(ages, np.zeros(50), days) / by_law
    assert ratio.max() / ratio.min() < 1.3


def test_time_that_passed_since_counts_were_read_is_time_to_grow():
    assert age_scale(48.0, 24.0, 1.0) == age_scale(48.0, 0.0, 2.0)


@pytest.mark.parametrize(("age", "waited"), [(np.nan, 0.0), (50.0, np.nan), (-3.0, -2.0)])
def test_the_scale_of_growth_is_known_where_age_is_not(age, waited):
    assert age_scale(np.array([age]), np.array([waited]), np.array([1.0]))[0] > 0
