import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transformations.sequences import (
    last_values,
    latest_at,
    row_median,
    row_spread,
    running_count,
    running_max,
)
from tests.exactness import quick

START = 1_750_000_000.0
# Whole seconds, and parts of a millisecond that a coarser clock would take for one moment.
MOMENT = st.builds(
    lambda seconds, micros: START + seconds + micros / 1e6,
    st.integers(-4, 4),
    st.sampled_from([0, 1, 400, 999, 1000]),
)
ENTITY = st.integers(0, 3)
ROWS = st.lists(st.tuples(ENTITY, MOMENT), max_size=25).map(sorted)
VALUE = st.just(math.nan) | st.floats(-1e6, 1e6)
ENTITY_VALUES = st.lists(st.tuples(ENTITY, VALUE), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


def columns(rows):
    entity = np.array([row[0] for row in rows], dtype=np.int64)
    return entity, np.array([row[1] for row in rows], dtype=np.float64)


@given(ROWS, st.lists(st.tuples(ENTITY, MOMENT), max_size=15))
@quick
def test_the_latest_row_is_the_last_one_not_after_the_moment(rows, asked):
    expected = [
        max((at for at, (e, t) in enumerate(rows) if e == entity and t <= moment), default=-1)
        for entity, moment in asked
    ]
    assert latest_at(*columns(rows), *columns(asked)).tolist() == expected


def test_a_row_of_the_same_millisecond_but_later_is_not_yet_there():
    entity, seconds = columns([(0, START), (0, START + 0.0004), (0, START + 0.0008)])
    assert latest_at(entity, seconds, entity, seconds).tolist() == [0, 1, 2]


def test_there_is_no_latest_row_among_none():
    entity, seconds = columns([])
    asked = columns([(0, START)])
    assert latest_at(entity, seconds, *asked).tolist() == [-1]


@given(ENTITY_VALUES, st.integers(1, 5))
@quick
def test_a_rolling_median_is_numpys_over_the_last_values(rows, count):
    entity, values = columns(rows)
    window = last_values(values, entity, count)
    for at in range(len(rows)):
        own = [v for e, v in rows[: at + 1] if e == entity[at]][-count:]
        known = [value for value in own if not math.isnan(value)]
        assert [v for v in window[at] if not math.isnan(v)] == known[::-1]
        expected = np.median(known) if known else math.nan
        np.testing.assert_array_equal(row_median(window[at : at + 1]), [expected])


@given(st.lists(st.lists(VALUE, min_size=4, max_size=4), min_size=1, max_size=10))
@quick
def test_a_spread_is_the_median_deviation_of_three_values_or_more(window):
    for row, spread in zip(window, row_spread(np.array(window)), strict=True):
        known = np.array([value for value in row if not math.isnan(value)])
        if len(known) < 3:
            assert math.isnan(spread)
        else:
            assert spread == np.median(np.abs(known - np.median(known)))


@given(ENTITY_VALUES)
@quick
def test_maxima_and_counts_look_back_within_their_entity_only(rows):
    entity, values = columns(rows)
    largest = running_max(values, entity)
    counted = running_count(~np.isnan(values), entity)
    for at in range(len(rows)):
        known = [v for e, v in rows[: at + 1] if e == entity[at] and not math.isnan(v)]
        np.testing.assert_array_equal(largest[at], max(known, default=math.nan))
        assert counted[at] == len(known)
