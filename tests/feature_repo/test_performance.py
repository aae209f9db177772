import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transformations.declared import names
from feature_repo.transformations.performance import (
    PERFORMANCE_FEATURES,
    Snapshots,
    video_performance,
)
from tests.exactness import differing, quick

START, HOUR = 1_750_000_000.0, 3600.0
COUNT = st.just(math.nan) | st.integers(0, 10**9).map(float)
LOOK = st.tuples(st.integers(0, 80), COUNT, COUNT, COUNT, st.integers(0, 1))
VIDEO = st.lists(LOOK, min_size=1, max_size=8, unique_by=lambda look: look[0]).map(sorted)
VIDEOS = st.lists(VIDEO, min_size=1, max_size=4)


def computed(videos):
    """Compute the features of videos, each a list of (hours / 6, views, likes, comments, def)."""
    rows = [(code, *look) for code, looks in enumerate(videos) for look in looks]
    video, steps, views, likes, comments, definition = zip(*rows, strict=True)
    return video_performance(
        Snapshots(
            np.array(video, dtype=np.int64),
            START + 6 * HOUR * np.array(steps),
            np.array(views, dtype=float),
            np.array(likes, dtype=float),
            np.array(comments, dtype=float),
            np.array(definition, dtype=np.int64),
        )
    )


def last(looks):
    return {name: values[-1] for name, values in computed([looks]).items()}


@given(VIDEOS)
@quick
def test_a_video_is_described_the_same_alone_or_in_a_batch(videos):
    alone = [computed([looks]) for looks in videos]
    together = {name: np.concatenate([part[name] for part in alone]) for name in alone[0]}
    assert differing(computed(videos), together) == set()


@given(VIDEO)
@quick
def test_later_looks_change_no_earlier_row(looks):
    features = computed([looks])
    for known in range(1, len(looks)):
        before = {name: values[:known] for name, values in features.items()}
        assert differing(computed([looks[:known]]), before) == set()


@given(VIDEOS)
@quick
def test_features_are_those_declared_and_never_null_where_they_say_so(videos):
    features = computed(videos)
    assert set(features) == set(names(PERFORMANCE_FEATURES))
    for feature in PERFORMANCE_FEATURES:
        assert features[feature.name].dtype == np.float64
        if feature.null == "never":
            assert not np.isnan(features[feature.name]).any(), feature.name


def test_growth_is_measured_from_the_latest_look_old_enough():
    # At 0, 12 h, 36 h: for one day back, 18 h at least, so the look at 12 h is the reference.
    features = last([(0, 99, 0, 0, 0), (2, 999, 9, 0, 0), (6, 9999, 99, 9, 0)])
    assert features["views_per_hour_1d"] == pytest.approx(9000 / 24)
    assert features["log10_views_growth_1d"] == pytest.approx(1.0)
    assert features["log10_likes_growth_1d"] == pytest.approx(1.0)
    assert features["log10_comments_growth_1d"] == pytest.approx(1.0)
    assert math.isnan(features["log10_views_growth_3d"])  # nothing is 54 h old
    assert features["hours_since_previous_observation"] == 24
    assert features["observation_count"] == 3
    assert features["first_log10_views"] == pytest.approx(2.0)
    assert features["first_observed_at"] == START
    assert features["observed_at"] == START + 36 * HOUR


def test_growth_is_per_day_whatever_the_gap():
    features = last([(0, 99, 0, 0, 0), (6, 9999, 0, 0, 0)])
    assert features["log10_views_growth_1d"] == pytest.approx(2.0 / 1.5)
    assert features["views_per_hour_1d"] == pytest.approx(9900 / 36)


def test_a_look_too_long_ago_is_no_reference():
    features = last([(0, 99, 9, 9, 0), (7, 9999, 9, 9, 0)])  # 42 h, more than one and a half days
    assert math.isnan(features["log10_views_growth_1d"])
    assert math.isnan(features["log10_likes_growth_1d"])
    assert math.isnan(features["log10_views_growth_3d"])


def test_growth_does_not_span_a_change_of_what_a_view_is():
    assert last([(0, 99, 0, 0, 0), (4, 999, 0, 0, 0)])["log10_views_growth_1d"] == pytest.approx(1)
    assert math.isnan(last([(0, 99, 0, 0, 0), (4, 999, 0, 0, 1)])["log10_views_growth_1d"])


def test_slowing_growth_has_a_ratio_below_one():
    looks = [(0, 9, 0, 0, 0), (8, 999, 0, 0, 0), (12, 9999, 0, 0, 0)]
    features = last(looks)  # over one day 1 decade, over three 3
    assert features["log10_views_growth_3d"] == pytest.approx(1.0)
    assert features["views_growth_ratio_1d_3d"] == pytest.approx(1.0)
    still = last([(0, 9, 0, 0, 0), (8, 9, 0, 0, 0), (12, 9, 0, 0, 0)])
    assert math.isnan(still["views_growth_ratio_1d_3d"])


def test_hidden_likes_are_not_no_likes():
    hidden = last([(0, 100, math.nan, 0, 0)])
    none = last([(0, 100, 0, math.nan, 0)])
    assert (hidden["are_likes_hidden"], none["are_likes_hidden"]) == (1, 0)
    assert (hidden["are_comments_off"], none["are_comments_off"]) == (0, 1)
    assert math.isnan(hidden["likes_per_view"])
    assert none["likes_per_view"] == 0
    assert math.isnan(none["comments_per_view"])


def test_a_video_without_views_has_no_rates():
    features = last([(0, 0, 5, 5, 0)])
    assert math.isnan(features["likes_per_view"])
    assert features["log10_views"] == 0
    assert math.isnan(last([(0, math.nan, 5, 5, 0)])["log10_views"])
