import numpy as np
import pandas as pd
import pytest

from tests.training.records import DAY, START, training_set
from tests.training.sets import few_trees
from training.robustness import best_window, earned_columns, surviving_columns, within
from training.splits import Split

N = 4_000
FIT, CALIBRATION = np.arange(N) < 3_000, np.arange(N) >= 3_000


def record(growth: np.ndarray, **columns: np.ndarray):
    """Make a record of 400 days with a label per question."""
    made = training_set([10.0] * N, [1.0] * N, growth.tolist(), **columns)
    moments = pd.DatetimeIndex([START + DAY * (i / 10) for i in range(N)])
    return made._replace(rows=made.rows.assign(event_timestamp=moments))


def split() -> Split:
    return Split(FIT, CALIBRATION, FIT | CALIBRATION, np.zeros(N, dtype=bool))


def params(**rule):
    stated = few_trees()
    rule = {"least_labels": 100, "windows_days": (100,), **rule}
    return stated.model_copy(update={"robustness": stated.robustness.model_copy(update=rule)})


def test_after_a_change_of_the_world_only_what_came_later_is_learnt_from():
    pace = np.random.default_rng(1).normal(size=N).astype(np.float32)
    changed = np.arange(N) > 2_000
    found = record(np.where(changed, -pace, pace), pace=pace.tolist())
    window = best_window(found, split(), params())
    assert window.start is not None
    assert window.tried["100"] < window.tried["all"] / 2
    assert within(found, window).sum() < 2_100


def test_without_a_change_the_whole_record_is_learnt_from():
    random = np.random.default_rng(1)
    pace = random.normal(size=N).astype(np.float32)
    found = record(pace + random.normal(0, 0.3, N), pace=pace.tolist())
    window = best_window(found, split(), params())
    assert window.start is None
    assert within(found, window).all()


def test_a_window_that_holds_the_whole_record_is_not_tried_again():
    found = record(np.random.default_rng(1).normal(size=N))
    window = best_window(found, split(), params(windows_days=(100, 1_000)))
    assert list(window.tried) == ["all", "100"]


def test_a_window_is_judged_by_the_mean_of_some_fits():
    random = np.random.default_rng(1)
    found = record(random.normal(size=N), pace=random.normal(size=N).tolist())

    def tried(fits, seed):
        stated = params(window_fits=fits).model_copy(update={"seed": seed})
        return best_window(found, split(), stated).tried["all"]

    apart = [tried(1, seed) for seed in (5, 6)]  # seeds of one fit are those of two
    assert apart[0] != apart[1]
    assert tried(2, 5) == pytest.approx(np.mean(apart), rel=1e-12)


def test_a_column_that_is_suddenly_filled_in_is_left_out():
    flag = np.where(FIT, np.nan, 1.0).tolist()
    some = np.where(np.arange(N) % 2 == 0, np.nan, 1.0).tolist()
    found = record(np.zeros(N), flag=flag, some=some)
    names = [found.columns[i].name for i in surviving_columns(found, split(), 0.35)]
    assert "some" in names
    assert "flag" not in names


def test_a_group_of_columns_that_says_nothing_is_left_out_and_one_that_does_stays():
    random = np.random.default_rng(3)
    pace, noise = random.normal(size=(2, N)).astype(np.float32)
    found = record(
        pace + random.normal(0, 0.1, N),
        views_exponent_1d=pace.tolist(),
        channel_growth_exponent=noise.tolist(),
    )
    earned = earned_columns(found, params())
    kept = {found.columns[i].name for i in earned.columns}
    assert earned.left_out == ("channel_growth",)
    assert "views_exponent_1d" in kept
    assert "channel_growth_exponent" not in kept
    assert earned.tried["outlook"] > 2 * earned.tried["all"]
