import math
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observability.scoring import (
    GIVE_UP_AFTER,
    Answered,
    Circumstances,
    Look,
    interpolated_count,
    score,
    truth,
)
from tests.worlds import DAY, HOUR, NOON

PUBLISHED = NOON - 2 * DAY


def look(hours: float, value: int, definition: str = "views_1", late: float = 0.0) -> Look:
    observed = NOON + hours * HOUR
    return Look(value, observed, observed + late * HOUR, definition)


def around(before: Look | None, after: Look | None, **changes: object) -> Circumstances:
    return Circumstances(
        NOON, PUBLISHED, "views_1", before, after, after is not None, False
    )._replace(
        **changes  # type: ignore[arg-type]
    )


def test_half_way_between_two_looks_a_count_is_their_geometric_mean() -> None:
    count = interpolated_count(look(-2, 99), look(2, 9999), NOON, PUBLISHED)
    assert count == pytest.approx(999)


def test_a_look_at_the_very_moment_is_the_truth_whatever_comes_after() -> None:
    assert interpolated_count(look(0, 42), look(900, 10_000), NOON, PUBLISHED) == 42


@given(st.integers(0, 10**10), st.integers(0, 10**10), st.floats(0.01, 2.9), st.floats(0.01, 2.9))
def test_an_interpolated_count_lies_between_the_two_it_is_made_of(
    first: int, second: int, before: float, after: float
) -> None:
    count = interpolated_count(look(-before, first), look(after, second), NOON, PUBLISHED)
    assert count is not None
    low, high = sorted((first, second))
    assert low - 1e-9 * (1 + low) <= count <= high + 1e-9 * (1 + high)


@pytest.mark.parametrize(("hours", "is_known"), [(6.0, True), (6.1, False)])
def test_a_young_videos_bracket_is_at_most_six_hours_wide(hours: float, is_known: bool) -> None:
    found = interpolated_count(
        look(-3, 10), look(hours - 3, 20), NOON, published_at=NOON - 20 * HOUR
    )
    assert (found is not None) == is_known


@pytest.mark.parametrize(("hours", "is_known"), [(24.0, True), (24.1, False)])
def test_an_old_videos_bracket_is_at_most_a_quarter_of_its_age(
    hours: float, is_known: bool
) -> None:
    found = interpolated_count(look(-3, 10), look(hours - 3, 20), NOON, published_at=NOON - 4 * DAY)
    assert (found is not None) == is_known


def test_a_truth_is_late_when_it_reached_us_a_day_after_the_horizon_closed() -> None:
    in_time = truth(around(look(-1, 10), look(1, 20, late=22)), NOON + 2 * DAY)
    late = truth(around(look(-1, 10), look(1, 20, late=24)), NOON + 2 * DAY)
    assert (in_time.status, in_time.is_late) == ("scored", False)
    assert (late.status, late.is_late) == ("scored", True)
    assert late.known_at == NOON + 25 * HOUR


@pytest.mark.parametrize("side", ["start", "before", "after"])
def test_no_truth_spans_a_change_of_what_a_view_is(side: str) -> None:
    looks = [look(-1, 10), look(1, 20)]
    start = "views_3" if side == "start" else "views_1"
    if side != "start":
        at = ["before", "after"].index(side)
        looks[at] = looks[at]._replace(view_definition="views_3")
    found = truth(around(*looks, view_definition=start), NOON + DAY)
    assert found == ("view_definition_changed", None, None, None)


def test_without_a_look_after_the_horizon_one_waits_a_week_and_then_gives_up() -> None:
    missing = around(look(-1, 10), None)
    assert truth(missing, NOON + GIVE_UP_AFTER).status == "waiting"
    assert truth(missing, NOON + GIVE_UP_AFTER + timedelta(seconds=1)).status == "never"


def test_a_video_that_is_gone_and_one_that_hides_its_count_are_told_apart() -> None:
    gone = around(look(-1, 10), None, is_gone=True)
    hidden = around(look(-1, 10), None, was_seen_after=True)
    assert truth(gone, NOON + HOUR).status == "deleted"
    assert truth(hidden, NOON + HOUR).status == "hidden"


def test_scores_are_what_they_are_called() -> None:
    scores = score(Answered(current=99, p10=99, p50=999, p90=9999), 9999.0)
    assert scores.error_log10 == pytest.approx(1.0)
    assert scores.persistence_error_log10 == pytest.approx(2.0)
    assert scores.is_covered
    assert scores.width_log10 == pytest.approx(2.0)
    assert scores.absolute_percentage_error == pytest.approx(9000 / 9999)
    # 0.1 x 2 decades, 0.5 x 1 decade, nothing at the upper end
    assert scores.pinball_log10 == pytest.approx((0.2 + 0.5) / 3)


@given(st.integers(0, 10**9), st.floats(0, 1e9))
@example(1, 1.0000000001)  # a hair's breadth off is off
def test_a_perfect_forecast_loses_nothing_and_any_other_something(
    answered: int, actual: float
) -> None:
    scores = score(Answered(answered, answered, answered, answered), actual)
    assert scores.pinball_log10 >= 0
    is_perfect = math.log10(1 + answered) == math.log10(1 + actual)
    assert (scores.pinball_log10 == 0) == is_perfect
