import numpy as np

from tests.training.sets import grown
from training.behaviour import behaviour
from training.promotion import behaves


def good(asked):
    days = asked.labels["horizon_days"].to_numpy()
    present = 10.0 ** asked.present["views"][asked.labels["row"].to_numpy()]
    return (present * 10.0 ** (0.01 * days))[:, np.newaxis] * np.array([1.0, 1.1, 1.3]) - 1.0


def falls(asked):
    return good(asked) / (1.0 + asked.labels["horizon_days"].to_numpy()[:, np.newaxis])


def knows_ids(asked):
    return (
        good(asked) * asked.rows["video_id"].str.len().to_numpy()[asked.labels["row"], np.newaxis]
    )


def test_a_model_that_behaves_is_not_refused():
    assert behaves(behaviour(grown(200, 1), good)).promote


def test_a_curve_that_falls_below_the_present_is_refused():
    found = {finding.name: finding.holds for finding in behaviour(grown(200, 1), falls)}
    assert not found["curves never fall"]
    assert not found["never below the present count"]


def test_a_model_that_knows_ids_by_heart_is_refused():
    verdict = behaves(behaviour(grown(200, 1), knows_ids))
    assert not verdict.promote
    assert "another id changes nothing" in verdict.reason
