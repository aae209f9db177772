"""Late, corrected and hidden looks: what may be asked of them, and what is then the truth."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.targets import MAX_HORIZON_DAYS
from tests.exactness import few
from training.entity_rows import protocol_rows, training_rows
from training.params import EntityRowParams

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PARAMS = EntityRowParams(
    stale_share=0.5, stale_hours=24, labels_per_row=3, labels_per_draft=2, min_horizon_days=0.25
)
NEVER_STALE = PARAMS.model_copy(update={"stale_share": 0.0, "labels_per_row": 99})


def look(at, views=100, *, video="v", late=timedelta(0), definition="views_1"):
    """Make an observation, known when it was made unless it was late."""
    return {
        "video_id": video,
        "channel_id": f"UC-{video}",
        "event_timestamp": at,
        "created_timestamp": at + late,
        "view_definition": definition,
        "view_count": views,
        "like_count": None if views is None else views / 10,
        "comment_count": None,
    }


def record(looks):
    """Make the frame that read_snapshots gives."""
    counts = dict.fromkeys(("view_count", "like_count", "comment_count"), float)
    return pd.DataFrame(looks).astype(counts)


LOOKS = st.builds(
    look,
    at=st.integers(0, 45 * 24 * 60).map(lambda n: NOON + timedelta(minutes=n, seconds=0.5)),
    views=st.one_of(st.none(), st.integers(0, 10**9)),
    video=st.sampled_from(["a", "b", "c"]),
    late=st.sampled_from([0, 0, 0, 1, 90, 6000]).map(lambda minutes: timedelta(minutes=minutes)),
    definition=st.sampled_from(["views_1", "views_1", "views_2"]),
)
RECORDS = st.lists(
    LOOKS,
    min_size=1,
    max_size=25,
    unique_by=lambda one: (one["video_id"], one["event_timestamp"], one["created_timestamp"]),
)


def crossed(drawn):
    """Put each label beside its question, one dict each."""
    asked = drawn.rows.iloc[drawn.labels["row"]].reset_index(drop=True)
    return pd.concat([asked, drawn.labels], axis=1).to_dict("records")


def first_known(looks):
    """Give when each look at a video became known first: {(video, observed): moment}."""
    known = {}
    for one in looks:
        key = one["video_id"], one["event_timestamp"]
        known[key] = min(known.get(key, one["created_timestamp"]), one["created_timestamp"])
    return known


def up_to_date(looks, video, as_of):
    """Give the looks at a video that were known at a moment, the newest last."""
    known = first_known(looks)
    return sorted(at for (v, at), first in known.items() if v == video and first <= as_of)


@few
@given(RECORDS)
def test_a_label_is_a_later_look_at_the_same_video_by_the_same_definition(looks):
    last = {}
    for one in sorted(looks, key=lambda one: one["created_timestamp"]):
        last[one["video_id"], one["event_timestamp"]] = one
    for row in crossed(training_rows(record(looks), PARAMS, 7)):
        truth = last[row["video_id"], row["observed_at"]]
        start = last[row["video_id"], up_to_date(looks, row["video_id"], row["as_of"])[-1]]
        assert row["observed_at"] > row["as_of"]
        assert truth["view_definition"] == start["view_definition"]
        assert row["views"] == truth["view_count"] or pd.isna(truth["view_count"])


@few
@given(RECORDS)
def test_a_question_is_asked_once_its_start_is_known_and_before_the_next_look_is(looks):
    known = first_known(looks)
    for row in crossed(training_rows(record(looks), PARAMS, 7)):
        start = up_to_date(looks, row["video_id"], row["as_of"])[-1]
        late = (row["as_of"] - max(start, known[row["video_id"], start])).total_seconds()
        assert 0 <= late <= PARAMS.stale_hours * 3600 + 1
        assert row["as_of"] == row["event_timestamp"]


@few
@given(RECORDS)
def test_a_horizon_is_the_time_from_question_to_label_and_within_bounds(looks):
    drawn = training_rows(record(looks), PARAMS, 7)
    for row in crossed(drawn):
        days = (row["observed_at"] - row["as_of"]).total_seconds() / 86_400
        assert row["horizon_days"] == pytest.approx(days, abs=1e-9)
        assert PARAMS.min_horizon_days <= days <= MAX_HORIZON_DAYS + 0.5
    assert drawn.labels.groupby("row").size().max() <= PARAMS.labels_per_row or drawn.labels.empty


@few
@given(RECORDS)
def test_a_count_that_was_hidden_stays_null(looks):
    labels = training_rows(record(looks), NEVER_STALE, 7).labels
    assert labels["comments"].isna().all()
    np.testing.assert_array_equal(labels["likes"].isna(), labels["views"].isna())


@few
@given(RECORDS, st.randoms())
def test_the_same_record_and_seed_give_the_same_rows_in_whatever_order_it_comes(looks, shuffler):
    shuffled = list(looks)
    shuffler.shuffle(shuffled)
    once, again = (training_rows(record(some), PARAMS, 7) for some in (looks, shuffled))
    pd.testing.assert_frame_equal(once.rows, again.rows)
    pd.testing.assert_frame_equal(once.labels, again.labels)


@few
@given(RECORDS)
def test_protocol_labels_are_within_three_hours_of_the_whole_day_and_the_nearest(looks):
    looks = [one | {"created_timestamp": one["event_timestamp"]} for one in looks]
    looks = list({(one["video_id"], one["event_timestamp"]): one for one in looks}.values())
    drawn = crossed(protocol_rows(record(looks), (1, 3, 7)))
    questions = [(row["video_id"], row["as_of"], row["horizon_days"]) for row in drawn]
    assert len(set(questions)) == len(questions)
    for row in drawn:
        start = up_to_date(looks, row["video_id"], row["as_of"])[-1]
        wanted = start + row["horizon_days"] * DAY
        off = abs(row["observed_at"] - wanted)
        assert off <= 3 * HOUR
        definition = {one["event_timestamp"]: one["view_definition"] for one in looks
                      if one["video_id"] == row["video_id"]}  # fmt: skip
        assert off == min(
            abs(at - wanted) for at in definition if definition[at] == definition[start]
        )


def test_another_seed_asks_at_other_moments():
    looks = record([look(NOON + n * DAY) for n in range(20)])
    moments = [training_rows(looks, PARAMS, seed).rows["as_of"].tolist() for seed in (1, 2)]
    assert moments[0] != moments[1]


def test_the_share_asked_late_is_the_one_stated():
    looks = record([look(NOON + n * 2 * DAY) for n in range(2000)])
    asked = training_rows(looks, PARAMS, 7).rows["as_of"]
    late = (asked - NOON) % pd.Timedelta(days=2) > pd.Timedelta(0)
    assert late.mean() == pytest.approx(PARAMS.stale_share, abs=0.05)


def test_of_a_corrected_look_the_first_to_be_known_asks_and_the_last_is_the_truth():
    start = [look(NOON, 100), look(NOON, 90, late=2 * DAY)]
    end = [look(NOON + 5 * DAY, 500), look(NOON + 5 * DAY, 400, late=9 * DAY)]
    rows, labels = training_rows(record(start + end), NEVER_STALE, 7)
    assert rows["as_of"].tolist() == [pd.Timestamp(NOON)]
    assert labels["views"].tolist() == [400.0]


def test_a_look_that_came_after_the_next_one_was_known_asks_nothing():
    looks = [look(NOON, late=3 * DAY), look(NOON + DAY), look(NOON + 8 * DAY)]
    rows = training_rows(record(looks), NEVER_STALE, 7).rows
    assert rows["as_of"].tolist() == [pd.Timestamp(NOON + DAY)]


def test_a_video_seen_once_makes_no_row():
    assert training_rows(record([look(NOON)]), PARAMS, 7).rows.empty


def test_the_first_look_at_a_video_is_marked():
    looks = [look(NOON + n * DAY, video=video) for video in "ab" for n in range(3)]
    rows = protocol_rows(record(looks), (1, 2)).rows
    assert rows.loc[rows["is_first"], "as_of"].tolist() == [pd.Timestamp(NOON)] * 2
    assert (~rows["is_first"]).sum() == 2


def test_protocol_scores_only_what_is_asked_about_with_truth_from_there():
    looks = record([look(NOON + n * DAY) for n in range(4)])
    asked_about = looks.loc[[1, 2], ["video_id", "event_timestamp"]]
    drawn = crossed(protocol_rows(looks, (1, 2), asked_about))
    assert [(row["as_of"], row["horizon_days"]) for row in drawn] == [(NOON + DAY, 1)]
