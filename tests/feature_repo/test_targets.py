import numpy as np

from feature_repo.targets import first_quantiles, quantiles


def test_a_first_forecast_is_the_predicted_log_count_with_errors_in_decades():
    answer = first_quantiles(np.array([3.0, 0.1]), np.array([[-1.0, 0.0, 0.5]] * 2))
    np.testing.assert_allclose(answer[0], 10.0 ** np.array([2.0, 3.0, 3.5]) - 1.0)
    assert answer[1, 0] == 0.0


def test_a_forecast_never_falls_below_the_present_count():
    answer = quantiles(np.array([999.0]), np.array([-0.2]), np.array([[-2.0, -1.0, 1.0]]))
    np.testing.assert_allclose(answer[0], [999.0, 999.0, 1000.0 * 10.0**0.01 - 1.0])


def test_a_hidden_count_has_no_forecast():
    assert np.isnan(quantiles(np.array([np.nan]), np.array([0.1]), np.zeros((1, 3)))).all()
