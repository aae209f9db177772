import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.targets import growth_score, quantiles
from tests.training.records import training_set
from training.errors import TooLittleData
from training.intervals import calibrate, isotonic_quantiles

METRICS = ("views", "likes", "comments")


def noisy(n: int, seed: int, spread: float = 0.3):
    """Growth around 0.1 decades with a known relative error, over ten horizons and all ages."""
    random = np.random.default_rng(seed)
    growth = 0.1 + (0.1 + 0.01) * random.normal(0, spread, n)
    ages = random.choice([10.0, 50.0, 200.0, 900.0], n).tolist()
    return training_set(ages, random.integers(1, 11, n).tolist(), growth.tolist())


def test_eighty_percent_of_fresh_errors_of_the_same_kind_are_covered():
    held_out, fresh = noisy(40_000, 1), noisy(40_000, 2)
    predicted = {metric: np.full(40_000, 0.1) for metric in METRICS}
    intervals = calibrate(held_out, predicted, min_labels=500)
    score = growth_score(fresh.labels["views"].to_numpy(), predicted["views"])
    covered = np.zeros(len(score), dtype=bool)
    groups, days = fresh.groups(), fresh.labels["horizon_days"].to_numpy()
    for group in np.unique(groups):
        low, _, high = intervals.table("views", str(group)).at(days.tolist()).T
        covered |= (groups == group) & (low <= score) & (score <= high)
    assert abs(covered.mean() - 0.8) < 0.02


def test_a_group_is_as_wide_as_its_own_errors():
    wide, narrow = noisy(20_000, 1, spread=0.5), noisy(20_000, 2, spread=0.1)
    young = np.array([[10.0, 4.5]] * 20_000, dtype=np.float32)
    old = np.array([[900.0, 4.5]] * 20_000, dtype=np.float32)
    both = training_set([0] * 40_000, [1] * 40_000, [0] * 40_000)
    labels = both.labels.assign(
        **{m: np.concatenate([wide.labels[m], narrow.labels[m]]) for m in METRICS}
    )
    held_out = both._replace(features=np.vstack([young, old]), labels=labels)
    intervals = calibrate(held_out, {m: np.full(40_000, 0.1) for m in METRICS}, 500)
    widths = [
        np.ptp(intervals.table("views", group).at([1])) for group in ("1e4@to_36h", "1e4@older")
    ]
    assert widths[0] > 3 * widths[1]


def test_a_small_group_is_drawn_to_all_groups_and_neither_falls_nor_crosses():
    # By hand: 1,000 errors of -0.5 to 0.5 of one tier, 3,000 twice as wide of another; the others
    # weigh as 150 labels, so that the first keeps 1,000 / 1,150 of its own quantile.
    days, growth = [1.0] * 4_000, 0.1 + 0.11 * np.tile(np.linspace(-0.5, 0.5, 1_000), 4)
    growth[1_000:] = 0.1 + 0.11 * np.tile(np.linspace(-1, 1, 1_000), 3)
    held_out = training_set([900.0] * 4_000, days, growth.tolist())
    held_out.features[1_000:, 1] = 5.5
    intervals = calibrate(held_out, {m: np.full(4_000, 0.1) for m in METRICS}, 500)
    small, large, every = (intervals.tables["views"][f"{t}@older"] for t in ("1e4", "1e5", "all"))
    assert small.p90[0] == pytest.approx((1000 * 0.4 + 150 * every.p90[0]) / 1150, abs=0.002)
    assert large.p90[0] == pytest.approx((3000 * 0.8 + 150 * every.p90[0]) / 3150, abs=0.002)
    falling = calibrate(noisy(20_000, 5), {m: np.full(20_000, 0.1) for m in METRICS}, 500)
    for table in falling.tables["views"].values():
        columns = np.array([table.p10, table.p50, table.p90])
        assert (np.diff(columns, axis=1) >= 0).all()
        assert (np.diff(columns, axis=0) >= 0).all()


def test_a_horizon_is_measured_with_its_neighbours_but_not_with_horizons_further_off():
    # Errors of up to 0.1 at one day, 0.2 at two, 0.4 at eight, 0.6 at nine, 0.8 at ten days.
    most = {1: 0.1, 2: 0.2, 8: 0.4, 9: 0.6, 10: 0.8}
    scores = {day: np.linspace(-wide, wide, 600) for day, wide in most.items()}
    growth = 0.1 + 0.11 * np.concatenate(list(scores.values()))
    held_out = training_set([900.0] * 3_000, np.repeat(list(most), 600).tolist(), growth.tolist())
    table = calibrate(held_out, {m: np.full(3_000, 0.1) for m in METRICS}, 500).tables["views"]
    together = np.quantile(np.concatenate([scores[8], scores[9], scores[10]]), 0.9)
    assert table["all"].p90 == pytest.approx([0.08, 0.16, *[together] * 3], abs=0.002)
    assert table["all"].n == (600,) * 5


@pytest.mark.parametrize(
    ("least", "most", "middle"),
    [(-0.8, 0.4, -0.1), (-0.2, 1.0, 0.2), (0.5, 1.5, 0.6), (-1.5, -0.5, -0.6)],
)
def test_the_middle_goes_half_of_the_way_to_the_median_error_but_never_out(least, most, middle):
    # By hand: half of the median error, or the nearer end of the interval where that is outside.
    growth = 0.1 + 0.11 * np.linspace(least, most, 1_000)
    held_out = training_set([900.0] * 1_000, [1.0] * 1_000, growth.tolist())
    table = calibrate(held_out, {m: np.full(1_000, 0.1) for m in METRICS}, 500).tables["views"]
    assert table["all"].p50[0] == pytest.approx(middle, abs=0.002)
    assert table["all"].p10[0] <= table["all"].p50[0] <= table["all"].p90[0]


def test_horizons_with_too_few_labels_are_not_answered():
    held_out = training_set([900] * 620, [1] * 600 + [2] * 20, [0.1] * 620)
    intervals = calibrate(held_out, {m: np.full(620, 0.1) for m in METRICS}, min_labels=500)
    assert intervals.tables["views"]["all"].horizons == (1,)


def test_no_horizon_with_enough_labels_is_an_error():
    held_out = training_set([900] * 20, [1] * 20, [0.1] * 20)
    with pytest.raises(TooLittleData, match="no horizon has 500 labels"):
        calibrate(held_out, {m: np.full(20, 0.1) for m in METRICS}, min_labels=500)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-1, 5), min_size=2, max_size=20), min_size=1, max_size=8))
def test_isotonic_quantiles_neither_fall_nor_cross(samples):
    found = isotonic_quantiles([np.sort(np.array(sample)) for sample in samples])
    assert (np.diff(found, axis=0) >= 0).all()
    assert (np.diff(found, axis=1) >= 0).all()


@settings(deadline=None)
@given(
    st.floats(0, 1e9),
    st.lists(st.floats(-0.2, 2), min_size=2, max_size=6).map(sorted),
    st.lists(st.floats(-0.99, 3), min_size=3, max_size=3).map(sorted),
)
def test_quantiles_of_counts_never_fall_below_the_present_nor_with_the_horizon(
    count, growth, errors
):
    n = len(growth)
    found = quantiles(np.full(n, count), np.array(growth), np.tile(errors, (n, 1)))
    assert (found >= count * (1 - 1e-12) - 1e-9).all()
    assert (np.diff(found, axis=0) >= 0).all()
    assert (np.diff(found, axis=1) >= 0).all()
