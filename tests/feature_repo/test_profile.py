import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transformations.declared import names
from feature_repo.transformations.format import FORMAT_FEATURES, format_features, short_probability
from feature_repo.transformations.profile import (
    DRAFT_FEATURES,
    DRAFT_FORMAT,
    PROFILE_FEATURES,
    draft_features,
)
from feature_repo.transformations.region import ZONES, local_moments, main_region, region_numbers
from feature_repo.transformations.timing import TIMING_FEATURES, timing_features
from tests.exactness import differing, quick, rows_alone

NUMBER = st.just(math.nan) | st.floats(0.1, 1e6)
FLAG = st.sampled_from([math.nan, 0.0, 1.0])
FORMATS = st.lists(
    st.tuples(
        NUMBER,
        st.sampled_from([math.nan, 1.0, 10.0, 20.0, 24.0]),
        st.sampled_from([None, "none", "live", "upcoming"]),
        FLAG,
        FLAG,
        FLAG,
    ),
    min_size=1,
    max_size=10,
)
SECOND = st.integers(1_110_000_000, 2_000_000_000)
REGION = st.sampled_from([math.nan, *region_numbers(["JP", "US", "BR", "SA", "IN", "GB"])])
MOMENTS = st.lists(st.tuples(SECOND.map(float), REGION), min_size=1, max_size=10)
DRAFTS = st.lists(
    st.tuples(
        st.text(max_size=20),
        st.none() | st.text(max_size=20),
        st.none() | st.lists(st.text(max_size=5), max_size=3),
        NUMBER,
        NUMBER,
        st.integers(1_110_000_000, 2_000_000_000).map(float),
        REGION,
    ),
    min_size=1,
    max_size=8,
)


def formats(rows):
    duration, category, live, *flags = zip(*rows, strict=True)
    return format_features(
        np.array(duration), np.array(category), live, *(np.array(flag) for flag in flags)
    )


def drafts(rows):
    titles, descriptions, tags, *numbers = zip(*rows, strict=True)
    return draft_features(titles, descriptions, tags, *(np.array(part) for part in numbers))


@given(FORMATS)
@quick
def test_a_format_is_described_the_same_alone_or_in_a_batch(rows):
    assert differing(formats(rows), rows_alone([formats([row]) for row in rows])) == set()
    assert tuple(formats(rows)) == names(FORMAT_FEATURES)


@given(FORMATS)
@quick
def test_what_was_not_read_of_a_format_is_null_and_nothing_else_is(rows):
    features = formats(rows)
    duration, category, live, definition, captions, kids = zip(*rows, strict=True)
    sources = {
        "duration_seconds": duration,
        "short_probability": duration,
        "category_id": category,
        "is_music": category,
        "is_gaming": category,
        "is_film": category,
        "is_live_or_upcoming": [math.nan if text is None else 0.0 for text in live],
        "is_high_definition": definition,
        "has_captions": captions,
        "is_made_for_kids": kids,
    }
    for name, source in sources.items():
        np.testing.assert_array_equal(np.isnan(features[name]), np.isnan(source), err_msg=name)


def test_a_short_is_sure_up_to_a_minute_and_ruled_out_from_three():
    seconds = np.array([1.0, 60.0, 90.0, 120.0, 180.0, 7200.0])
    np.testing.assert_array_equal(short_probability(seconds), [1, 1, 0.75, 0.5, 0, 0])


def test_categories_and_broadcasts_are_told_apart():
    unknown = np.full(4, np.nan)
    category = np.array([10.0, 20.0, 1.0, np.nan])
    live = ["live", "upcoming", "none", None]
    features = format_features(unknown, category, live, unknown, unknown, unknown)
    np.testing.assert_array_equal(features["is_music"], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(features["is_gaming"], [0, 1, 0, np.nan])
    np.testing.assert_array_equal(features["is_film"], [0, 0, 1, np.nan])
    np.testing.assert_array_equal(features["is_live_or_upcoming"], [1, 1, 0, np.nan])


@given(MOMENTS)
@quick
def test_a_moment_is_described_the_same_alone_or_in_a_batch(moments):
    alone = rows_alone([timing_features(*np.array([moment]).T) for moment in moments])
    features = timing_features(*np.array(moments).T)
    assert differing(features, alone) == set()
    assert tuple(features) == names(TIMING_FEATURES)
    for feature in TIMING_FEATURES:
        expected = np.isnan(np.array(moments)[:, 1]) & (feature.null != "never")
        np.testing.assert_array_equal(np.isnan(features[feature.name]), expected, feature.name)


@given(SECOND, st.sampled_from(["JP", "US", "BR", "SA", "GB"]))
@quick
def test_a_moment_is_the_hour_and_weekday_that_calendar_and_clocks_say(second, country):
    region = region_numbers([country])
    features = {n: v[0] for n, v in timing_features(np.array([float(second)]), region).items()}
    moment = datetime.fromtimestamp(second, UTC)
    hour = 2 * math.pi * moment.hour / 24
    weekday = 2 * math.pi * moment.weekday() / 7
    assert features["publish_hour_sin"] == math.sin(hour)
    assert features["publish_hour_cos"] == math.cos(hour)
    assert features["publish_weekday_sin"] == math.sin(weekday)
    assert features["publish_weekday_cos"] == math.cos(weekday)
    assert features["is_published_on_weekend"] == (moment.weekday() >= 5)
    local = moment.astimezone(ZoneInfo(ZONES[country]))
    assert features["publish_local_hour_sin"] == math.sin(2 * math.pi * local.hour / 24)
    resting = (4, 5) if country == "SA" else (5, 6)
    assert features["is_published_on_local_weekend"] == (local.weekday() in resting)
    free = holidays.country_holidays(country)
    assert features["is_published_on_holiday"] == (local.date() in free)
    ahead = features["days_to_next_holiday"]
    assert local.date() + timedelta(days=ahead) in free
    assert not any(local.date() + timedelta(days=day) in free for day in range(int(ahead)))


def test_summer_time_is_followed():
    moments = np.array([datetime(2026, month, 5, 12, tzinfo=UTC).timestamp() for month in (1, 7)])
    hours = local_moments(moments, region_numbers(["GB", "GB"])).hour
    assert hours.tolist() == [12, 13]


@pytest.mark.parametrize(
    ("stated", "language", "region"),
    [("US", "ja", "US"), (None, "ja", "JP"), (None, "en", None), (None, None, None)],
)
def test_a_region_is_the_country_stated_or_the_home_of_the_language(stated, language, region):
    told = main_region(region_numbers([stated]), [language])
    np.testing.assert_array_equal(told, region_numbers([region]))


def test_every_region_has_clocks_and_holidays():
    for number in range(len(ZONES)):
        ahead = timing_features(np.array([1.77e9]), np.array([float(number)]))
        assert 0 <= ahead["days_to_next_holiday"][0] < 250, list(ZONES)[number]


@given(DRAFTS)
@quick
def test_a_draft_is_described_the_same_alone_or_in_a_batch(rows):
    features = drafts(rows)
    assert differing(features, rows_alone([drafts([row]) for row in rows])) == set()
    assert set(features) == set(names(DRAFT_FEATURES))
    assert set(DRAFT_FORMAT) < set(features)


@pytest.mark.parametrize("features", [PROFILE_FEATURES, DRAFT_FEATURES])
def test_no_feature_is_declared_twice(features):
    assert len(set(names(features))) == len(features)


def test_whatever_is_known_of_a_draft_is_a_feature_of_a_published_video_too():
    assert set(DRAFT_FEATURES) < set(PROFILE_FEATURES)
