import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.request_fields import draft_arrays, epoch_seconds
from feature_repo.transformations.declared import names
from feature_repo.transformations.normals import (
    AGE_GRID_DAYS,
    EVIDENCE_FEATURES,
    NORMAL_FEATURES,
    SPREAD_FEATURES,
)
from feature_repo.transformations.profile import DRAFT_FEATURES
from feature_repo.transformations.request import (
    CHANNEL_INPUTS,
    DRAFT_REQUEST_FEATURES,
    PUBLISHED_INPUTS,
    PUBLISHED_REQUEST_FEATURES,
    draft_request,
    published_request,
)
from tests.exactness import bits, differing, few, quick, rows_alone

NOW, HOUR, DAY = 1_750_000_000.0, 3600.0, 86_400.0
MOMENT = st.integers(-4_000_000, 4_000_000).map(lambda seconds: NOW + seconds)
LOG_COUNT = st.just(math.nan) | st.floats(0, 9)
MOMENTS_STORED = ("published_at", "observed_at", "channel_last_upload_at")
NEVER_NULL = ("published_at", "observed_at")


def drawn(names_, seed):
    """Draw what is stored of one video: a third of it null, never a moment of its own."""
    random = np.random.default_rng(seed)
    values = dict(zip(names_, random.uniform(0, 9, len(names_)), strict=True))
    values |= {n: NOW + random.integers(-4e6, 4e6) for n in MOMENTS_STORED if n in values}
    nulls = [n for n in names_ if n not in NEVER_NULL and random.random() < 0.3]
    return values | dict.fromkeys(nulls, math.nan)


SEED = st.integers(0, 2**32)
STORED = SEED.map(lambda seed: drawn(PUBLISHED_INPUTS, seed))
ASKED = st.lists(st.tuples(STORED, MOMENT), min_size=1, max_size=8)


def columns(rows):
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def published(rows):
    stored, as_of = zip(*rows, strict=True)
    return published_request(columns(stored), np.array(as_of))


def normal(age_days, **normals):
    """Read a channel's normal at an age, from normals given by hours (`h24=5.0`)."""
    stored = dict.fromkeys(PUBLISHED_INPUTS, math.nan)
    stored |= {f"channel_normal_log10_views_{h[1:]}h": value for h, value in normals.items()}
    stored |= {"published_at": NOW - age_days * DAY, "observed_at": NOW, "log10_views": 6.0}
    features = published([(stored, NOW)])
    return features["channel_normal_log10_views"][0]


@given(ASKED)
@quick
def test_a_question_is_answered_the_same_alone_or_in_a_batch(rows):
    alone = rows_alone([published([row]) for row in rows])
    assert differing(published(rows), alone) == set()
    assert set(published(rows)) == set(names(PUBLISHED_REQUEST_FEATURES))


DRAFTED = st.lists(
    st.tuples(
        SEED.map(lambda seed: drawn(CHANNEL_INPUTS, seed) | {"channel_country": seed % 3 * 9.0}),
        st.text(max_size=20),
        st.none() | st.text(max_size=20),
        st.none() | st.lists(st.text(max_size=5), max_size=3),
        LOG_COUNT,
        LOG_COUNT,
        MOMENT,
    ),
    min_size=1,
    max_size=5,
)


def drafted(rows):
    stored, titles, descriptions, tags, *numbers = zip(*rows, strict=True)
    return draft_request(columns(stored), titles, descriptions, tags, *map(np.array, numbers))


@given(DRAFTED)
@few
def test_a_draft_is_asked_about_the_same_alone_or_in_a_batch(rows):
    together = drafted(rows)
    assert differing(together, rows_alone([drafted([row]) for row in rows])) == set()
    assert set(together) == set(names((*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES)))


@given(ASKED)
@quick
def test_ages_are_never_null_and_the_rest_only_as_declared(rows):
    features = published(rows)
    stored = columns([row[0] for row in rows])
    for feature in PUBLISHED_REQUEST_FEATURES:
        if feature.null == "never":
            assert not np.isnan(features[feature.name]).any(), feature.name
    unpublished = stored["observed_at"] <= stored["published_at"]
    np.testing.assert_array_equal(
        np.isnan(features["lifetime_views_per_hour"]), np.isnan(stored["view_count"]) | unpublished
    )
    np.testing.assert_array_equal(
        np.isnan(features["days_since_channel_upload"]), np.isnan(stored["channel_last_upload_at"])
    )


def test_ages_follow_the_moment_of_asking():
    stored = dict.fromkeys(PUBLISHED_INPUTS, math.nan) | {
        "published_at": NOW - 50 * HOUR,
        "observed_at": NOW - 10 * HOUR,
        "view_count": 800.0,
        "channel_last_upload_at": NOW - 12 * HOUR,
    }
    features = {name: values[0] for name, values in published([(stored, NOW)]).items()}
    assert features["age_hours"] == 50
    assert features["hours_since_observation"] == 10
    assert features["age_at_observation_hours"] == 40
    assert features["lifetime_views_per_hour"] == 20
    assert features["days_since_channel_upload"] == 0.5


@pytest.mark.parametrize(
    ("age_days", "expected"),
    [
        (0.1, 4.0),  # before the grid: its start
        (0.5, 4.0),
        (0.75, 4.5),  # half way from 12 h to 24 h
        (1.0, 5.0),
        (1.5, 5.5),
        (3.0, 6.25),  # half way from 2 d to 4 d
        (32.0, 8.0),
        (400.0, 8.0),  # beyond the grid: its end
    ],
)
def test_a_normal_is_read_on_a_line_between_two_ages(age_days, expected):
    grid = {"h12": 4.0, "h24": 5.0, "h48": 6.0, "h96": 6.5, "h192": 7.0, "h384": 7.5, "h768": 8.0}
    assert normal(age_days, **grid) == expected


def test_where_one_of_two_normals_is_null_the_other_stands():
    assert normal(1.5, h24=5.0) == 5.0
    assert normal(1.5, h48=6.0) == 6.0
    assert math.isnan(normal(1.5, h12=4.0, h96=6.5))
    assert math.isnan(normal(400.0, h384=7.0))


def test_a_video_is_held_against_its_channels_normal():
    stored = dict.fromkeys(PUBLISHED_INPUTS, math.nan) | dict.fromkeys(NORMAL_FEATURES, 5.0)
    stored |= dict.fromkeys(SPREAD_FEATURES, 0.5) | dict.fromkeys(EVIDENCE_FEATURES, 4.0)
    stored |= {"published_at": NOW - DAY, "observed_at": NOW, "log10_views": 6.5}
    features = published([(stored, NOW)])
    assert features["views_against_channel_normal"] == [1.5]
    assert features["views_against_channel_normal_in_spreads"] == [3.0]
    assert features["channel_normal_videos"] == [4.0]
    assert np.isnan(
        published([(stored | {"log10_views": math.nan}, NOW)])["views_against_channel_normal"]
    )


@given(st.floats(0.01, 60), st.lists(st.floats(0, 9), min_size=7, max_size=7))
@quick
def test_a_normal_is_within_the_two_it_is_read_between(age_days, normals):
    hours = [f"h{round(age * 24)}" for age in AGE_GRID_DAYS]
    value = normal(age_days, **dict(zip(hours, normals, strict=True)))
    assert min(normals) - 1e-12 <= value <= max(normals) + 1e-12
    np.testing.assert_allclose(
        value, np.interp(age_days, AGE_GRID_DAYS, normals), rtol=1e-6, atol=1e-6
    )


MICROSECONDS = st.integers(1_110_000_000_000_000, 2_000_000_000_000_000)


@given(st.lists(MICROSECONDS, min_size=1, max_size=6))
@quick
def test_a_moment_is_the_same_seconds_however_it_is_written(micros):
    expected = [micro // 1_000_000 for micro in micros]
    instants = pd.to_datetime(micros, unit="us", utc=True).to_series()
    spellings = [
        instants,
        instants.dt.tz_localize(None),
        instants.dt.tz_convert("Asia/Tokyo"),
        pd.Series(expected, dtype="int64"),
        pd.Series(micros) / 1e6,
        instants.astype(object),
    ]
    for moments in spellings:
        np.testing.assert_array_equal(epoch_seconds(moments), expected)


def test_what_a_draft_leaves_empty_is_null_but_no_description_is_an_empty_one():
    frame = pd.DataFrame(
        {
            "title": ["", None, "a"],
            "description": ["", None, "b"],
            "tags": ["", None, "x\ny"],
            "draft_category_id": [0.0, None, 10.0],
            "draft_duration_seconds": [0.0, math.nan, 3.5],
        }
    )
    titles, descriptions, tags, category, duration = draft_arrays(frame)
    assert titles == ["", "", "a"]
    assert descriptions == ["", None, "b"]
    assert tags == [None, None, ["x", "y"]]
    np.testing.assert_array_equal(bits(category), bits([math.nan, math.nan, 10.0]))
    np.testing.assert_array_equal(bits(duration), bits([math.nan, math.nan, 3.5]))
