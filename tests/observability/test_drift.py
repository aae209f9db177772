from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import lightgbm
import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observability import drift
from observability.asked import Vectors, truth_places
from observability.checks import MATTERS_LOG10, matters
from observability.distances import distances, mapped_to, matched_weights
from tests.foreview.test_evaluating import REAL_DATA

NAMES = ["age_at_observation_hours", "quiet", "loud", "channel_size", "views_so_far"]
START = datetime(2026, 1, 5, tzinfo=UTC)


def predict(rows: Any) -> Any:
    """Listen to `loud` and `views_so_far`; `quiet` says nothing."""
    return 0.1 * np.nan_to_num(rows[:, 2]) + 0.1 * np.nan_to_num(rows[:, 4])


def drawn(seed: int, count: int) -> Any:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, len(NAMES)))
    rows[:, 0] = random.uniform(1, 500, count)
    return rows


def asked(rows: Any, channels: int = 400, definition: str = "views_1") -> Vectors:
    count = len(rows)
    return Vectors(
        np.array([f"v{n}" for n in range(count)]),
        np.array([f"c{n % channels}" for n in range(count)]),
        START.timestamp() + np.linspace(0, 7 * 86_400 - 1, count),
        rows,
        np.full(count, definition),
        np.full(count, "long"),
    )


def found(reference: Any, now: Vectors, *, is_counted_anew: bool = False) -> dict[str, drift.Drift]:
    weights = matched_weights(*(drift.age_bands(r[:, 0]) for r in (reference, now.features)))
    drifts = drift.feature_drift(
        NAMES, reference, now, weights, predict, is_counted_anew=is_counted_anew, seed=7
    )
    return {one.name: one for one in drifts}


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(drift.MIN_ROWS, 1500))
def test_two_draws_of_one_world_do_not_drift(seed: int, count: int) -> None:
    drifts = found(drawn(seed, 4000), asked(drawn(seed + 1, count)))
    assert {one.status for one in drifts.values()} == {"stable"}


def test_what_moves_forecasts_comes_first_and_what_does_not_matters_not() -> None:
    rows = drawn(2, 1000)
    rows[:, 1] += 3  # the model does not listen to it
    rows[:, 2] += 1
    drifts = found(drawn(1, 4000), asked(rows))
    assert next(iter(drifts)) == "loud"
    assert drifts["quiet"].status == drifts["loud"].status == "drifted"
    assert drifts["quiet"].effect == 0
    assert drifts["loud"].effect == pytest.approx(0.1, rel=0.1)
    assert matters(list(drifts.values()))
    assert not matters([drifts["quiet"]])


def test_a_feature_that_turned_null_drifts_from_that_day() -> None:
    rows = drawn(2, 1400)
    rows[800:, 2] = np.nan  # from the fifth day on
    one = found(drawn(1, 4000), asked(rows))["loud"]
    assert (one.status, one.changed_since) == ("drifted", START + timedelta(days=4))


def test_asking_about_younger_videos_is_no_drift_of_what_goes_with_age() -> None:
    reference, rows = drawn(1, 8000), drawn(2, 4000)
    for one in (reference, rows):
        one[:, 4] += drift.age_bands(one[:, 0]) == "older"
    young = rows[rows[:, 0] < 200]
    assert found(reference, asked(young))["views_so_far"].status == "stable"


def test_small_samples_say_so_and_nothing_else() -> None:
    few = found(drawn(1, 4000), asked(drawn(2, drift.MIN_ROWS - 1) + 5))
    assert {one.status for one in few.values()} == {"too_few"}
    assert few["loud"].psi is None
    few_channels = found(drawn(1, 4000), asked(drawn(2, 1000) + 5, channels=99))
    assert few_channels["channel_size"].status == "too_few"
    assert few_channels["loud"].status == "drifted"


def test_a_new_way_to_count_views_is_told_apart_from_drift() -> None:
    rows = drawn(2, 1000)
    rows[:, 4] += 2
    now = asked(rows, definition="views_3")
    assert drift.counted_anew(now, datetime(2026, 8, 1, tzinfo=UTC)) == 1.0
    assert drift.counted_anew(now, datetime(2026, 9, 1, tzinfo=UTC)) == 0.0
    drifts = found(drawn(1, 4000), now, is_counted_anew=True)
    assert drifts["views_so_far"].status == "view_definition_changed"


def test_truths_outside_their_intervals_are_a_drift_of_labels() -> None:
    as_promised = drift.label_drift("views_7d", np.array([50.0, 200.0, 200.0, 50.0]), 300)
    all_above = drift.label_drift("views_7d", np.array([5.0, 45.0, 150.0, 300.0]), 300)
    few = drift.label_drift("views_7d", np.array([0.0, 0.0, 0.0, 100.0]), 100)
    assert [one.status for one in (as_promised, all_above, few)] == ["stable", "drifted", "too_few"]


def test_whole_counts_that_keep_what_was_promised_are_no_drift(database_url: str) -> None:
    """Of small counts many equal a quantile, and some forecasts have one number for all three."""
    random, now = np.random.default_rng(1), datetime(2026, 6, 1, tzinfo=UTC)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TEMP TABLE forecast_outcomes (metric text, horizon_days int, video_id text, "
            "channel_id text, world text, situation text, status text, due_at timestamptz, "
            "observed_count float, p10 bigint, p50 bigint, p90 bigint)"
        )
        for mean in (0.3, 3.0):
            p10, p50, p90 = np.quantile(random.poisson(mean, 100_000), [0.1, 0.5, 0.9])
            rows = [
                ("likes", round(mean * 10), f"v{n}", f"c{n % 400}", "real", "published", "scored",
                 now, float(truth), int(p10), int(p50), int(p90))
                for n, truth in enumerate(random.poisson(mean, 2_000))
            ]  # fmt: skip
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO forecast_outcomes VALUES ({', '.join(['%s'] * 12)})", rows
                )
        found = truth_places(connection, "real", now - timedelta(days=1), now)
    assert found.keys() == {("likes", 30)}  # of 0.3 all but nothing is known: 0, 0 and 1
    places, channels = found["likes", 30]
    assert places.sum() == pytest.approx(2_000)
    assert drift.label_drift("likes_30d", places, channels).status == "stable"
    assert places[0] == pytest.approx(200, abs=80)
    assert places[3] == pytest.approx(200, abs=80)


@pytest.mark.parametrize(
    ("was", "now"), [([0.0], [1.0]), ([0.0], [-3.0]), ([0.0, 1.0], [0.0, 7.0])]
)
def test_a_value_that_was_never_seen_is_in_no_bin_of_another(
    was: list[float], now: list[float]
) -> None:
    apart = distances(np.resize(was, 1_000), np.ones(1_000), np.resize(now, 500))
    assert apart.psi > 1


def test_truths_of_few_channels_may_be_off_together_by_chance() -> None:
    places = np.array([25.0, 100.0, 255.0, 120.0])  # 75 % above p50
    assert drift.label_drift("views_7d", places, 400).status == "drifted"
    assert drift.label_drift("views_7d", places, 20).status == "stable"


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0, 0.9))
def test_a_sample_is_no_distance_from_itself_and_stays_where_it_is(seed: int, nulls: float) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=500)
    values[random.random(500) < nulls] = np.nan
    apart = distances(values, np.ones(500), values)
    assert apart.psi == pytest.approx(0, abs=1e-12)
    assert (apart.ks or 0) < 1e-9
    assert (apart.wasserstein or 0) < 1e-9
    np.testing.assert_array_equal(mapped_to(values, np.ones(500), values, random), values)


REAL_NAMES = [
    "age_hours", "log10_views", "is_music", "is_gaming", "is_film", "category_id", "title_length",
    "description_length", "likes_per_view", "comments_per_view", "publish_hour",
]  # fmt: skip
# A video at its first look, and what it had gained three days later.
REAL_ROWS = """
    WITH looks AS (SELECT DISTINCT ON (video_id, observed_at) * FROM '{data}/snapshots.parquet'
        WHERE observed_at BETWEEN '2025-03-28' AND '2025-08-12'
    ), first AS (
        SELECT video_id, min(observed_at) AS first_at, arg_min(view_count, observed_at) AS views,
            arg_min(like_count, observed_at) AS likes,
            arg_min(comment_count, observed_at) AS comments FROM looks GROUP BY 1
    ), told AS (
        SELECT video_id, arg_min(channel_id, first_observed_at) AS channel_id,
            arg_min(category_id, first_observed_at) AS category,
            arg_min(length(title), first_observed_at) AS title_length,
            arg_min(length(description), first_observed_at) AS description_length,
            min(published_at::timestamptz AT TIME ZONE 'UTC') AS published_at
        FROM '{data}/video_versions.parquet' GROUP BY 1
    ), later AS (
        SELECT video_id, any_value(view_count) AS views_3d FROM looks JOIN first USING (video_id)
        WHERE abs(epoch(observed_at) - epoch(first_at) - 3 * 86400) < 3 * 3600 GROUP BY 1
    )
    SELECT video_id, channel_id, first_at, epoch(first_at - published_at) / 3600 AS age_hours,
        log10(1 + views) AS log10_views, (category = 10)::int AS is_music,
        (category = 20)::int AS is_gaming, (category = 1)::int AS is_film,
        category AS category_id, title_length, description_length,
        likes / nullif(views, 0) AS likes_per_view,
        comments / nullif(views, 0) AS comments_per_view,
        hour(published_at) AS publish_hour, log10(1 + views_3d) - log10(1 + views) AS growth
    FROM first JOIN told USING (video_id) LEFT JOIN later USING (video_id) ORDER BY video_id
"""


@pytest.fixture(scope="module")
def recorded() -> pd.DataFrame:
    if not (REAL_DATA / "snapshots.parquet").is_file():
        pytest.skip(f"no recorded data in {REAL_DATA}")
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
        return connection.execute(REAL_ROWS.format(data=Path(REAL_DATA))).df()


def test_the_end_of_youtubes_general_list_in_july_2025_is_noticed_and_named(
    recorded: pd.DataFrame,
) -> None:
    """Four weeks before it are silent; the first fortnight that spans it names feature and day."""
    moment = recorded["first_at"]
    learned = recorded[(moment >= "2025-04-01") & (moment < "2025-06-20")]
    reference = learned[REAL_NAMES].to_numpy(float)
    fitted = learned["growth"].notna().to_numpy()
    growth = learned["growth"].to_numpy(float)[fitted]
    parameters = {"objective": "regression", "num_leaves": 15, "num_threads": 1, "verbose": -1}
    model = lightgbm.train(parameters, lightgbm.Dataset(reference[fitted], growth), 100)

    def week(end: str) -> list[drift.Drift]:
        until = pd.Timestamp(end)
        rows = recorded[(moment > until - timedelta(days=14)) & (moment <= until)]
        now = Vectors(
            rows["video_id"].to_numpy(str),
            rows["channel_id"].to_numpy(str),
            rows["first_at"].to_numpy("datetime64[s]").astype(np.float64),
            rows[REAL_NAMES].to_numpy(float),
            np.full(len(rows), "views_1"),
            np.full(len(rows), "unknown"),
        )
        weights = matched_weights(*(drift.age_bands(r[:, 0]) for r in (reference, now.features)))
        return drift.feature_drift(
            REAL_NAMES, reference, now, weights,
            lambda given: np.asarray(model.predict(given, num_threads=1)),
            is_counted_anew=False, seed=7,
        )  # fmt: skip

    for end in ("2025-07-04", "2025-07-11", "2025-07-18", "2025-07-23"):
        assert not matters(week(end)), end
    drifted = {one.name: one for one in week("2025-08-02") if one.status == "drifted"}
    assert matters(list(drifted.values()))
    named = {
        name
        for name, one in drifted.items()
        if one.changed_since == datetime(2025, 7, 24, tzinfo=UTC)
    }
    assert {"category_id", "log10_views"} <= named
    assert (drifted["log10_views"].effect or 0) > MATTERS_LOG10
