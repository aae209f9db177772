"""Where questions and labels end: the edges of tolerance, of time and of what is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.targets import quantiles
from tests.exactness import few
from tests.training.records import DAY, START, snapshots
from training.entity_rows import protocol_rows, training_rows
from training.params import EntityRowParams, SplitParams
from training.splits import borders, by_time

HOUR = pd.Timedelta(hours=1)
PARAMS = EntityRowParams(
    stale_share=0.5, stale_hours=24, labels_per_row=3, labels_per_draft=2, min_horizon_days=0.25
)

# Video, hours since the start, hours until it was known.
LATE_LOOKS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 300), st.integers(0, 200)),
    min_size=2,
    max_size=20,
    unique_by=lambda look: look[:2],
)


@few
@given(LATE_LOOKS, st.integers(0, 9))
def test_nothing_is_asked_about_what_has_been_seen_already(looks, seed):
    record = snapshots([(video, hours / 24, hours) for video, hours, _ in looks])
    record["created_timestamp"] += HOUR * np.array([late for _, _, late in looks])
    for drawn in (training_rows(record, PARAMS, seed), protocol_rows(record, (1, 2, 3))):
        asked = drawn.rows["as_of"].to_numpy()[drawn.labels["row"]]
        answered = pd.to_datetime(drawn.labels["observed_at"], utc=True)
        assert (answered > pd.to_datetime(asked, utc=True)).all()


@few
@given(LATE_LOOKS, st.integers(0, 9))
def test_no_two_questions_start_from_the_same_look_and_the_first_is_marked(looks, seed):
    record = snapshots([(video, hours / 24, hours) for video, hours, _ in looks])
    rows = training_rows(record, PARAMS, seed).rows
    starts = set()
    for question in rows.itertuples():
        known = record[record["video_id"] == question.video_id]["created_timestamp"]
        seen = int((known <= question.as_of).sum())
        assert question.is_first == (seen == 1)
        starts.add((question.video_id, seen))
    assert len(starts) == len(rows)


@pytest.mark.parametrize(("hours", "judged"), [(27, 1), (27.1, 0), (21, 1), (20.9, 0)])
def test_the_protocol_takes_no_look_off_by_more_than_three_hours(hours, judged):
    record = snapshots([("a", 0.0, 1.0), ("a", hours / 24, 2.0)])
    assert len(protocol_rows(record, (1,)).labels) == judged


def test_without_a_share_for_the_test_nothing_is_held_back():
    rows = pd.DataFrame({"event_timestamp": [START, START + DAY * 9]})
    labels = pd.DataFrame({"row": [0, 1], "observed_at": [START + DAY * 10] * 2})
    shares = SplitParams(test_share=0.0, calibration_share=0.2)
    split = by_time(rows, labels, borders(START, START + DAY * 10, shares))
    assert split.before_test.all()
    assert not split.test.any()
    assert split.calibration.tolist() == [False, True]


def test_a_hidden_count_has_no_quantiles_and_a_fall_is_answered_with_the_present():
    found = quantiles(np.array([np.nan, 99.0]), np.array([0.3, -2.0]), np.array([[-1, 0, 0.0]] * 2))
    np.testing.assert_allclose(found, [[np.nan] * 3, [99.0] * 3])
