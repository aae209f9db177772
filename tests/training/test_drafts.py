"""Drafts: what is asked, what is the label, and what is usual for a channel."""

import numpy as np
import pandas as pd
import pytest

from feature_repo.request_fields import draft_arrays
from feature_repo.transformations.text import description_features
from ingestion.feature_rows import profile_rows
from tests.training.records import DAY, START, snapshots
from tests.worlds import NOON, version, world
from training.dataset import TrainingSet, videos_of
from training.draft_baselines import (
    ChannelHistory,
    channel_median,
    prior_videos,
    shrunk_channel_mean,
)
from training.draft_rows import draft_protocol_rows, draft_training_rows
from training.params import EntityRowParams

PARAMS = EntityRowParams(
    stale_share=0.5, stale_hours=24, labels_per_row=3, labels_per_draft=2, min_horizon_days=0.25
)


def videos(published: dict[str, float]) -> pd.DataFrame:
    frame = pd.DataFrame({"video_id": list(published), "title": "A title", "description": ""})
    frame["channel_id"] = "UC-" + frame["video_id"]
    frame["published_at"] = [START + DAY * day for day in published.values()]
    return frame.assign(tags="", draft_category_id=10.0, draft_duration_seconds=0.0)


# Something is seen each day, so that no first look but the earliest is after a silence.
DAILY = [("old", float(day), 10.0 + day) for day in range(8)]
RECORD = snapshots([*DAILY, ("new", 3.0, 100.0), ("new", 4.0, 300.0), ("early", 5.0, 50.0)])
PUBLISHED = videos({"old": -1.0, "new": 2.5, "early": 5.5})


def test_a_draft_is_asked_at_its_publication_and_judged_at_first_sight():
    asked = draft_protocol_rows(RECORD, PUBLISHED, (1,))
    at_sight = asked.labels[asked.labels["horizon_days"].isna()]
    assert asked.rows["video_id"].iloc[at_sight["row"]].tolist() == ["new"]
    assert at_sight["views"].tolist() == [100.0]
    assert asked.rows["as_of"].iloc[at_sight["row"]].tolist() == [START + DAY * 2.5]


def test_a_first_look_after_a_silence_is_left_censored():
    gap = snapshots([("old", 0.0, 1.0), ("new", 3.0, 100.0)])
    asked = draft_protocol_rows(gap, PUBLISHED, (1,))
    assert not asked.labels["horizon_days"].isna().any()


@pytest.mark.parametrize("published", [5.0, 5.5])
def test_a_video_seen_before_its_publication_was_no_draft(published):
    """However often it was looked at afterwards: its channel's record held it already."""
    later = pd.concat([RECORD, snapshots([("early", 6.0, 500.0), ("early", 6.5, 900.0)])])
    announced = videos({"old": -1.0, "new": 2.5, "early": published})
    drawn = draft_training_rows(later, announced, PARAMS, seed=1)
    asked = draft_protocol_rows(later, announced, (1,))
    assert set(drawn.rows["video_id"]) == {"old", "new"}
    assert "early" not in set(asked.rows["video_id"])


def test_a_draft_has_the_tags_that_its_video_has():
    """Real tags hold newlines, by which a request's are joined."""
    tags = [["one"], ["two\nlines", "three"], None, ["\n"]]
    observed = world(
        [version(f"v{n}", NOON + n * DAY, "UC1", tags=told) for n, told in enumerate(tags)]
    )
    profile = profile_rows(observed.metadata, observed.channels).to_pandas()
    drafted = description_features(
        [""] * 4, draft_arrays(videos_of(observed.metadata, "synthetic"))[2]
    )
    for name in ("tag_count", "tag_characters"):
        np.testing.assert_array_equal(drafted[name], profile[name].to_numpy(float))


def test_labels_with_a_horizon_are_as_far_ahead_as_they_say():
    drawn = draft_training_rows(RECORD, PUBLISHED, PARAMS, seed=1)
    known = drawn.labels[drawn.labels["horizon_days"].notna()]
    asked = pd.DatetimeIndex(drawn.rows["as_of"])[known["row"].to_numpy()]
    since = pd.DatetimeIndex(known["observed_at"]).tz_convert("UTC") - asked
    np.testing.assert_allclose(since / DAY, known["horizon_days"].to_numpy(float), atol=1e-4)
    assert (known.groupby("row").size() <= 2).all()


def test_only_a_channels_earlier_videos_say_what_is_usual():
    rows = pd.DataFrame(
        {
            "channel_id": ["a", "a", "a", "b"],
            "event_timestamp": [START + DAY * d for d in (0, 2, 4, 4)],
        }
    )
    labels = pd.DataFrame({"row": range(4), "horizon_days": np.nan, "views": [3.0, 5.0, 9.0, 1.0]})
    labels["observed_at"] = [START + DAY * d for d in (1, 3, 5, 5)]
    record = TrainingSet(np.zeros((4, 0), np.float32), (), rows, labels, {}, "draft")
    history = ChannelHistory(record, "views")
    usual = float(labels["views"].median())
    found = channel_median(record, history, "views")(record)
    np.testing.assert_allclose(found, [usual, 3.0, 4.0, usual])
    assert history.before(record)["n"].tolist()[1:3] == [1.0, 2.0]


def test_the_prior_weighs_the_variance_within_by_that_between():
    random = np.random.default_rng(0)
    channel = np.repeat(np.arange(400), 10)
    values = random.normal(0, 1, 400)[channel] + random.normal(0, 2, 4_000)
    assert prior_videos(pd.Series(values), channel) == pytest.approx(4.0, rel=0.25)


def test_of_a_single_channel_the_usual_is_known_all_the_same():
    """What one baseline cannot answer is left out of the scores of all."""
    for channels in (["a"] * 4, ["a", "a", "a", "b"]):
        rows = pd.DataFrame(
            {"channel_id": channels, "event_timestamp": [START + DAY * d for d in (0, 2, 4, 6)]}
        )
        labels = pd.DataFrame(
            {"row": range(4), "horizon_days": np.nan, "views": [3.0, 5.0, 4.0, 1.0]}
        )
        labels["observed_at"] = rows["event_timestamp"] + DAY
        record = TrainingSet(np.zeros((4, 0), np.float32), (), rows, labels, {}, "draft")
        history = ChannelHistory(record, "views")
        found = shrunk_channel_mean(record, history, "views")(record)
        # The mean of all weighs as one video.
        np.testing.assert_allclose(found[:3], [3.25, 3.125, 3.75])


def test_where_every_first_look_is_left_censored_all_looks_say_what_is_usual():
    seldom = snapshots([("old", 2.0, 9.0), ("old", 4.0, 99.0), ("new", 6.0, 999.0)])
    asked = draft_protocol_rows(seldom, PUBLISHED, (3, 5))
    assert not asked.labels["horizon_days"].isna().any()
    labels = asked.labels.assign(views=np.log10(1 + asked.labels["views"]))
    record = TrainingSet(np.zeros((2, 0), np.float32), (), asked.rows, labels, {}, "draft")
    history = ChannelHistory(record, "views")
    assert len(labels) > 0
    for baseline in (channel_median, shrunk_channel_mean):
        assert not np.isnan(baseline(record, history, "views")(record)).any()
