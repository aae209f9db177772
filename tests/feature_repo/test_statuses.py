from datetime import timedelta

import numpy as np
import pytest

from feature_repo.statuses import (
    AGE_LIMITS,
    STATUSES,
    age_limit_seconds,
    enforced,
    status_codes,
    status_of,
)

NOW = 1_800_000_000.0
LIMIT = AGE_LIMITS["video_performance"].total_seconds()
VALUES = np.array([[1.0, np.nan]] * 4)
EVENTS = np.array([NOW, NOW - LIMIT, NOW - LIMIT - 1e-3, np.nan])


def test_each_feature_has_one_of_four_statuses():
    codes = status_codes("video_performance", VALUES, EVENTS, np.full(4, NOW))
    assert [[STATUSES[code] for code in row] for row in codes] == [
        ["present", "null"],
        ["present", "null"],  # as old as it may be
        ["stale", "stale"],
        ["missing_entity", "missing_entity"],
    ]


def test_only_what_is_present_is_read():
    codes = status_codes("video_performance", VALUES, EVENTS, np.full(4, NOW))
    read = enforced(np.where(np.isnan(VALUES), 7.0, VALUES), codes)
    np.testing.assert_array_equal(read, [[1.0, np.nan]] * 2 + [[np.nan] * 2] * 2)


def test_one_status_is_that_of_many():
    codes = status_codes("video_performance", VALUES, EVENTS, np.full(4, NOW))
    for row, event in enumerate(EVENTS):
        for at, value in enumerate(VALUES[row]):
            one = status_of(
                "video_performance",
                None if np.isnan(value) else value,
                None if np.isnan(event) else event,
                NOW,
            )
            assert one == STATUSES[codes[row, at]]


def test_a_view_without_a_limit_is_never_stale():
    assert age_limit_seconds("request") == np.inf
    assert status_of("request", 1.0, 0.0, NOW) == "present"


@pytest.mark.parametrize("view", AGE_LIMITS)
def test_no_limit_is_shorter_than_what_lies_between_two_looks(view):
    # The planner looks at old videos once a week.
    assert AGE_LIMITS[view] > timedelta(days=14)
