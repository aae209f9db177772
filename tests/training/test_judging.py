import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.records import DAY, START, training_set
from training.card import coverage_by_tier
from training.evaluation import Scored, evaluate
from training.promotion import against_champion, coverage_holds
from training.scores import average_ranks

METRICS = ("views", "likes", "comments")
CHANNELS = np.array([f"UC-{i % 50}" for i in range(1_000)], dtype=object)


def errors(scale: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, len(CHANNELS))


def test_a_clearly_better_challenger_is_promoted():
    verdict = against_champion(errors(0.1, 1), errors(0.2, 2), CHANNELS, seed=0)
    assert verdict.promote
    assert verdict.reason.startswith("better")


@pytest.mark.parametrize("scale", [0.1, 0.2])
def test_an_equal_or_worse_challenger_is_not(scale):
    assert not against_champion(errors(scale, 1), errors(0.1, 1), CHANNELS, seed=0).promote


def test_the_interval_of_a_gain_holds_as_many_draws_as_it_says():
    challenger, champion = errors(0.1, 1), errors(0.2, 2)
    told = against_champion(challenger, champion, CHANNELS, seed=0).reason
    sides = np.stack([champion**2 - challenger**2, champion**2])
    of_channel = sides.reshape(2, -1, 50).sum(axis=1)
    gained, missed = of_channel[:, np.random.default_rng(7).integers(50, size=(20_000, 50))].sum(2)
    low, high = np.quantile(gained / missed, [0.05, 0.95])
    stated = re.search(r"\(90% between (.+)% and (.+)%\)", told)
    assert stated, told
    assert list(map(float, stated.groups())) == pytest.approx([100 * low, 100 * high], abs=0.5)


def test_being_better_on_one_channel_only_is_not_enough():
    champion = errors(0.1, 1)
    challenger = champion.copy()
    challenger[CHANNELS == "UC-3"] = 0.0
    assert not against_champion(challenger, champion, CHANNELS, seed=0).promote


def test_one_channel_shows_nothing_however_much_better():
    """Every draw of channels would be the same: an interval without width."""
    alone = np.full(len(CHANNELS), "UC-1", dtype=object)
    verdict = against_champion(errors(0.1, 1), errors(0.2, 2), alone, seed=0)
    assert not verdict.promote
    assert "one channel" in verdict.reason


def test_channels_that_stand_still_hide_no_gain_on_the_others():
    """Draws of these alone divide nothing by nothing."""
    channels = np.array([f"UC-{i % 6}" for i in range(600)], dtype=object)
    still = np.isin(channels, ["UC-0", "UC-1", "UC-2"])
    better, worse = (np.where(still, 0.0, errors(scale, 1)[:600]) for scale in (0.1, 0.2))
    assert against_champion(better, worse, channels, seed=0).promote
    for champion in (better, np.zeros(600)):
        verdict = against_champion(worse, champion, channels, seed=0)
        assert not verdict.promote
        assert "nan" not in verdict.reason


@pytest.mark.parametrize(
    ("coverage", "holds"), [(0.8, True), (0.77, True), (0.7, False), (0.9, False)]
)
def test_an_interval_that_does_not_hold_is_refused(coverage, holds):
    assert coverage_holds(coverage).promote is holds


def test_where_nothing_was_tested_no_coverage_is_told():
    verdict = coverage_holds(float("nan"))
    assert not verdict.promote
    assert "nan" not in verdict.reason


def test_scores_are_those_worked_out_by_hand():
    asked = training_set([10, 10, 10], [1, 1, 1], [0.1, 0.2, 0.6])
    median = {m: np.array([3.1, 3.3, 3.6]) for m in METRICS}
    interval = {m: np.array([[3.0, 3.2], [3.25, 3.4], [3.0, 4.0]]) for m in METRICS}
    every = {"all": np.ones(3, dtype=bool)}
    row = evaluate(asked, [Scored("m", False, median, interval)], every)[0]
    assert row["n"] == 3
    assert row["rmse_log10"] == pytest.approx((0.01 / 3) ** 0.5)
    assert row["coverage_80"] == pytest.approx(2 / 3)
    assert row["width_80_log10"] == pytest.approx((0.2 + 0.15 + 1.0) / 3)
    assert row["r2_growth"] == pytest.approx(1 - 0.01 / 0.14)
    assert row["spearman"] == pytest.approx(1.0)


def test_a_row_that_one_model_cannot_answer_is_left_out_for_all():
    asked = training_set([10, 10, 10], [1, 1, 1], [0.1, 0.2, 0.6])
    whole = Scored("a", False, {m: np.full(3, 3.0) for m in METRICS}, None)
    partial = Scored("b", True, {m: np.array([3.0, np.nan, 3.0]) for m in METRICS}, None)
    rows = evaluate(asked, [whole, partial], {"all": np.ones(3, dtype=bool)})
    assert {row["n"] for row in rows} == {2}


def test_each_video_is_ranked_once_within_its_channel():
    # Five videos of one channel in the right order, and the first one asked about twenty times.
    asked = training_set([10.0] * 25, [1.0] * 25, [0.1] * 20 + [0.2, 0.3, 0.4, 0.5, 0.6])
    video = ["v0"] * 20 + [f"v{i}" for i in range(1, 6)]
    asked = asked._replace(rows=asked.rows.assign(video_id=video, channel_id="UC"))
    truth = asked.truth("views")
    every = {"all": np.ones(25, dtype=bool)}

    def within(medians: np.ndarray) -> float:
        scored = Scored("m", False, dict.fromkeys(METRICS, medians), None)
        return evaluate(asked, [scored], every)[0]["spearman_within_channel"]

    assert within(truth) == pytest.approx(1.0)
    assert within(-truth) == pytest.approx(-1.0)
    repeated = truth.copy()
    repeated[1:20] = 9.0  # only the first question about a video counts
    assert within(repeated) == pytest.approx(1.0)


def test_a_video_is_ranked_by_the_moment_it_was_first_asked_about_whatever_the_order_of_labels():
    # Five videos, each asked about on day 0 and, listed before that, on day 4; then all is over.
    asked = training_set(
        [10.0] * 10, [7.0] * 10, [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5]
    )
    day = np.repeat([4, 0], 5)
    moments = pd.DatetimeIndex([START + DAY * int(days) for days in day])
    videos = [f"v{i}" for i in range(5)] * 2
    rows = asked.rows.assign(video_id=videos, channel_id="UC", event_timestamp=moments)
    asked = asked._replace(rows=rows)
    # Right about the first questions, 3.1 to 3.5 in this order; wrong about the second ones.
    medians = np.concatenate([[3.0, 3.1, 3.2, 3.3, 3.4], [3.1, 3.2, 3.3, 3.5, 3.4]])
    scored = Scored("m", False, dict.fromkeys(METRICS, medians), None)
    row = evaluate(asked, [scored], {"all": np.ones(10, dtype=bool)})[0]
    # By hand: the last two of five are swapped, 1 - 6 * (1 + 1) / (5 * 24).
    assert row["spearman_within_channel"] == pytest.approx(0.9)


def test_ranks_within_channels_say_of_how_many_and_how_sure_they_are():
    # By hand: channels in order (1), reversed (-1) and of four videos, which is too few to rank.
    channel = ["A"] * 5 + ["B"] * 10 + ["C"] * 4
    truth = [*np.arange(5), *np.arange(10), *np.arange(4)]
    asked = training_set([10.0] * 19, [1.0] * 19, (np.array(truth) / 10).tolist())
    asked = asked._replace(rows=asked.rows.assign(channel_id=channel))
    order = np.where(np.array(channel) == "A", 1.0, -1.0)
    scored = Scored("m", False, {m: 3.0 + order * np.array(truth) for m in METRICS}, None)
    row = evaluate(asked, [scored], {"all": np.ones(19, dtype=bool)})[0]
    assert row["spearman_within_channel"] == pytest.approx((5 - 10) / 15)
    assert row["channels_ranked"] == 2
    assert row["spearman_within_channel_low"] == pytest.approx(-1.0)
    assert row["spearman_within_channel_high"] == pytest.approx(1.0)
    only = evaluate(asked, [scored], {"all": np.array(channel) == "A"})[0]
    assert (only["channels_ranked"], only["spearman_within_channel_low"]) == (1, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=40))
def test_ranks_within_groups_are_those_of_pandas(drawn):
    group = np.array([pair[0] for pair in drawn], dtype=np.int64)
    value = np.array([pair[1] for pair in drawn], dtype=float)
    expected = pd.Series(value).groupby(group).rank().to_numpy()
    np.testing.assert_array_equal(average_ranks(value, group), expected)


def test_the_interval_of_an_error_is_that_of_drawn_channels():
    random = np.random.default_rng(4)
    asked = training_set([10.0] * 400, [1.0] * 400, [0.0] * 400)
    channel = np.repeat(np.arange(40), 10)
    asked = asked._replace(rows=asked.rows.assign(channel_id=[f"UC{c}" for c in channel]))
    level = random.normal(0, 0.1, 40)[channel]
    scored = Scored("m", False, {m: asked.truth(m) + level for m in METRICS}, None)
    row = evaluate(asked, [scored], {"all": np.ones(400, dtype=bool)})[0]
    by_channel = level[::10] ** 2
    draws = [np.sqrt(np.mean(random.choice(by_channel, 40))) for _ in range(2_000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert row["rmse_log10_low"] == pytest.approx(low, rel=0.1)
    assert row["rmse_log10_high"] == pytest.approx(high, rel=0.1)


def test_the_interval_of_a_coverage_is_that_of_drawn_channels():
    # Ten labels of each of forty channels, covered together or not at all.
    random = np.random.default_rng(5)
    asked = training_set([10.0] * 400, [1.0] * 400, [0.0] * 400)
    channel = np.repeat(np.arange(40), 10)
    asked = asked._replace(rows=asked.rows.assign(channel_id=[f"UC{c}" for c in channel]))
    truth, missed = asked.truth("views"), channel < 10
    ends = np.column_stack([truth - 0.1 + missed, truth + 0.1 + missed])
    scored = Scored("m", False, dict.fromkeys(METRICS, truth), dict.fromkeys(METRICS, ends))
    row, only = (
        evaluate(asked, [scored], {"all": chosen})[0]
        for chosen in (np.ones(400, dtype=bool), channel == 0)
    )
    draws = [np.mean(random.random(40) >= 0.25) for _ in range(4_000)]
    assert row["coverage_80"] == pytest.approx(0.75)
    assert row["coverage_80_low"] == pytest.approx(np.quantile(draws, 0.025), abs=0.03)
    assert row["coverage_80_high"] == pytest.approx(np.quantile(draws, 0.975), abs=0.03)
    assert (only["coverage_80"], only["coverage_80_low"]) == (0.0, None)


def test_tiers_whose_intervals_do_not_hold_are_named_with_their_chance():
    def row(subset: str, coverage: float | None, n: int = 500) -> dict:
        ends = {"coverage_80_low": 0.65, "coverage_80_high": None}
        where = {"situation": "published", "metric": "views", "horizon_days": 7, "n": n}
        return where | ends | {"subset": subset, "coverage_80": coverage}

    told = coverage_by_tier(
        [row("tier:1e4", 0.82), row("tier:1e6", 0.726), row("all", 0.5), row("tier:1e5", None),
         row("tier:1e7", 0.5, n=499)]
    )  # fmt: skip
    assert "in 1 of 2 groups" in told
    assert told.endswith("off: 1e6 +7 d 0.726 [0.650, ]")
