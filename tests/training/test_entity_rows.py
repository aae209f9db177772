import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.records import DAY, START, snapshots
from training.entity_rows import protocol_rows, training_rows
from training.params import EntityRowParams

PARAMS = EntityRowParams(
    stale_share=0.5, stale_hours=24, labels_per_row=3, labels_per_draft=2, min_horizon_days=0.25
)

records = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 200).map(lambda n: n / 4)),
    min_size=2,
    max_size=40,
    unique=True,
).map(lambda keys: [(video, day, 100.0 + day) for video, day in keys])


@settings(deadline=None)
@given(records, st.integers(0, 5))
def test_a_label_is_a_later_look_at_the_same_video(record, seed):
    drawn = training_rows(snapshots(record), PARAMS, seed)
    looks = {(video, START + DAY * day) for video, day, _ in record}
    videos = drawn.rows["video_id"].to_numpy()[drawn.labels["row"]]
    asked = drawn.rows["event_timestamp"].to_numpy()[drawn.labels["row"]]
    answered = pd.to_datetime(drawn.labels["observed_at"], utc=True)
    assert all(pair in looks for pair in zip(videos, answered, strict=True))
    days = (answered.to_numpy() - asked) / np.timedelta64(1, "D")
    np.testing.assert_allclose(days.astype(float), drawn.labels["horizon_days"], atol=1e-6)
    assert (drawn.labels["horizon_days"] >= PARAMS.min_horizon_days).all()
    assert (drawn.labels["horizon_days"] <= 30.5).all()
    assert drawn.labels.groupby("row").size().max() <= 3 if len(drawn.labels) else True


@settings(deadline=None)
@given(records)
def test_a_row_is_asked_after_a_look_and_before_the_next_one(record):
    drawn = training_rows(snapshots(record), PARAMS, 1)
    for video, asked in zip(drawn.rows["video_id"], drawn.rows["event_timestamp"], strict=True):
        looks = sorted(START + DAY * day for name, day, _ in record if name == video)
        before = [look for look in looks if look <= asked]
        assert before
        assert asked - before[-1] <= pd.Timedelta(hours=24)


def test_the_same_record_and_seed_draw_the_same_rows():
    record = snapshots([(video, day, 10.0) for video in "abcd" for day in range(30)])
    first, second = (training_rows(record, PARAMS, 7) for _ in range(2))
    pd.testing.assert_frame_equal(first.rows, second.rows)
    pd.testing.assert_frame_equal(first.labels, second.labels)


def test_a_label_never_spans_a_change_of_what_a_view_is():
    record = snapshots([("a", day, 10.0) for day in range(6)])
    record.loc[record["event_timestamp"] >= START + DAY * 3, "view_definition"] = "views_3"
    drawn = training_rows(record, PARAMS, 1)
    border = START + DAY * 3
    asked = drawn.rows["event_timestamp"].to_numpy()[drawn.labels["row"]]
    crossed = (pd.to_datetime(asked, utc=True) < border) & (
        pd.to_datetime(drawn.labels["observed_at"], utc=True) >= border
    )
    assert len(drawn.labels) > 0
    assert not crossed.any()


def test_the_protocol_takes_the_nearest_look_within_three_hours_of_the_day():
    looks = [("a", 0.0, 1.0), ("a", 0.9, 2.0), ("a", 1.05, 3.0), ("a", 3.5, 9.0)]
    drawn = protocol_rows(snapshots(looks), (1, 3))
    first = drawn.labels[drawn.labels["row"] == 0]
    assert first[["horizon_days", "views"]].to_numpy().tolist() == [[1.0, 3.0]]


def test_a_hidden_count_gives_no_label_rather_than_a_zero():
    drawn = protocol_rows(snapshots([("a", 0.0, 1.0), ("a", 1.0, 2.0)]), (1,))
    assert drawn.labels["comments"].isna().all()
    assert drawn.labels["views"].tolist() == [2.0]


def test_of_a_corrected_look_the_correction_is_the_truth():
    record = snapshots([("a", 0.0, 100.0), ("a", 1.0, 900.0), ("a", 1.0, 300.0)])
    record.loc[2, "created_timestamp"] += DAY
    drawn = protocol_rows(record, (1,))
    assert drawn.labels["views"].tolist() == [300.0]
