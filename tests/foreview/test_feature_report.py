"""The report on features finds what was put into made-up data, and says no more than that."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from feature_repo.bundle import Column
from feature_repo.families import CHANNEL, EARLY_PERFORMANCE, FORMAT
from feature_repo.store import apply, feast_environment, open_feature_store
from foreview.cli import cli
from foreview.feature_report import page
from foreview.feature_report.ablation import EVERYTHING, ablation, fitted_without
from foreview.feature_report.importance import hurting, importance, suspects
from foreview.feature_report.redundancy import clusters, correlations
from foreview.feature_report.running import Findings
from foreview.feature_report.stability import by_country, by_month
from foreview.feature_report.trials import (
    LATER_MONTHS,
    OTHER_COUNTRIES,
    evenly,
    left_out_countries,
    trials,
)
from ingestion.feature_tables import build
from ingestion.warehouse import open_warehouse
from tests.training.sets import few_trees, grown
from tests.worlds import DAY, NOON, small_world, store
from training.questions import Questions
from training.splits import borders

MOST = 4_000
COUNTRIES = ("AA", "BB", "CC", "DD", "EE")


@pytest.fixture(scope="module")
def params():
    """The real rules with few trees, which need few labels."""
    few = few_trees()
    rule = few.robustness.model_copy(
        update={"windows_days": (), "least_labels": 100, "trees": few.lightgbm}
    )
    return few.model_copy(update={"robustness": rule})


@pytest.fixture(scope="module")
def questions():
    """Questions over four months, whose growth is told by views; a channel is of one country."""
    drawn = grown(2_800, seed=3)
    days = np.tile([1.0, 3.0, 7.0, 2.0], 2_800)
    longer = np.log10(1 + days) / np.log10(1 + drawn.labels["horizon_days"])
    labels = drawn.labels.assign(horizon_days=days)
    labels[["views", "likes", "comments"]] = labels[["views", "likes", "comments"]].mul(longer, 0)
    moments = pd.DatetimeIndex(drawn.rows["event_timestamp"])[labels["row"]]
    labels["observed_at"] = moments + pd.to_timedelta(labels["horizon_days"], unit="D")
    drawn = drawn._replace(labels=labels)
    return Questions(drawn, drawn)


@pytest.fixture(scope="module")
def countries(questions):
    """The country of each video: that of its channel."""
    rows = questions.drawn.rows
    number = rows["channel_id"].str.removeprefix("UC").astype(int) % len(COUNTRIES)
    return pd.Series([COUNTRIES[n] for n in number], index=rows["video_id"])


@pytest.fixture(scope="module")
def at(questions, params):
    """The borders of the questions' time."""
    moments = questions.drawn.rows["event_timestamp"]
    return borders(moments.min(), moments.max(), params.split)


@pytest.fixture(scope="module")
def tried(questions, at, countries, params):
    """Both trials."""
    return trials(questions, at, countries, params, MOST)


def asked(trial, column):
    return set(trial.rows[column].to_numpy()[trial.labels["row"].to_numpy()])


def test_nothing_that_is_asked_was_learnt_from(tried, at, countries):
    later, elsewhere = tried
    assert [later.name, elsewhere.name] == [LATER_MONTHS, OTHER_COUNTRIES]
    assert later.fitted_on.labels["observed_at"].max() < at.test
    assert min(asked(later.asked, "event_timestamp")) >= at.test
    assert not asked(elsewhere.fitted_on, "channel_id") & asked(elsewhere.asked, "channel_id")
    assert set(countries[list(asked(elsewhere.asked, "video_id"))]) == {"BB"}
    assert "BB" not in set(countries[list(asked(elsewhere.fitted_on, "video_id"))])
    assert all(len(t.fitted_on.labels) <= MOST and t.asked.labels["views"].notna().all()
               for t in tried)  # fmt: skip


def test_a_channel_of_two_countries_is_learnt_from_nowhere(questions, at, countries, params):
    moved = countries.copy()
    moved[questions.drawn.rows["video_id"][questions.drawn.rows["channel_id"] == "UC0"][:3]] = "BB"
    elsewhere = trials(questions, at, moved, params, MOST)[1]
    assert "UC0" not in asked(elsewhere.fitted_on, "channel_id")


def test_a_world_of_few_countries_leaves_none_out(questions, at, params):
    assert left_out_countries(pd.Series(["AA", "BB", None])) == []
    found = trials(questions, at, pd.Series(dtype=str), params, MOST)
    assert [trial.name for trial in found] == [LATER_MONTHS]


def test_a_family_that_tells_growth_is_missed_and_one_that_does_not_is_not(tried, params):
    for trial in tried:
        rows = ablation(trial, fitted_without(trial, (), params), params)
        told = {row["without"]: row for row in rows if row["horizon_days"] is None}
        assert set(told) == {EVERYTHING, EARLY_PERFORMANCE, CHANNEL, FORMAT}
        assert told[EVERYTHING]["change"] == 0.0
        assert told[EARLY_PERFORMANCE]["change_low"] > 0.02
        assert told[FORMAT]["change_low"] < 0.02
        by_day = {r["horizon_days"] for r in rows if r["without"] == FORMAT}
        assert by_day == {None, 1, 3, 7}
        assert told[FORMAT]["n"] == len(trial.asked.labels)


def test_shuffling_costs_most_where_the_model_leans_most(tried, params):
    for trial in tried:
        rows = importance(trial, fitted_without(trial, (), params), params.seed)
        assert rows[0]["feature"] == "log10_views"
        assert rows[0]["shuffled"] > 0.02
        assert sum(row["gain_share"] for row in rows) < 1.0  # the horizon has the rest


def misled(trial):
    """Make one feature tell the outcome to who learns, and nothing to who is asked."""
    name = [column.name for column in trial.asked.columns].index("duration_seconds")
    learnt, told = trial.fitted_on.features.copy(), trial.asked.features.copy()
    row = trial.fitted_on.labels["row"].to_numpy()
    learnt[row, name] = trial.fitted_on.labels["views"].to_numpy(np.float32)
    told[:, name] = np.random.default_rng(5).permutation(learnt[:, name])
    return trial._replace(
        fitted_on=trial.fitted_on._replace(features=learnt),
        asked=trial.asked._replace(features=told),
    )


def test_a_feature_that_misleads_in_every_trial_is_named_with_evidence(tried, params):
    wrong = [misled(trial) for trial in tried]
    fits = [(trial, fitted_without(trial, (), params)) for trial in wrong]
    rows = [row for trial, fit in fits for row in importance(trial, fit, params.seed)]
    for row in rows:  # shuffling noise is noise again: what counts is the fit without it
        row["shuffled"] = -0.01 if row["feature"] == "duration_seconds" else 0.01
    found = hurting(fits, rows, params)
    assert {row["feature"] for row in found} == {"duration_seconds"}
    assert max(row["change_high"] for row in found) < -0.05
    line = next(page.hurt_lines([findings(hurting=found)]))
    assert line.startswith("published: duration_seconds: hurts")


def test_only_what_helps_when_shuffled_in_every_trial_is_suspected():
    rows = [
        {"feature": "a", "shuffled": -0.01}, {"feature": "a", "shuffled": -0.02},
        {"feature": "b", "shuffled": -0.01}, {"feature": "b", "shuffled": 0.02},
        {"feature": "c", "shuffled": -0.03}, {"feature": "c", "shuffled": -0.04},
    ]  # fmt: skip
    assert suspects(rows) == ["c", "a"]


def test_a_month_in_which_a_feature_moved_stands_out(questions):
    drawn = questions.drawn
    features = drawn.features.copy()
    months = pd.DatetimeIndex(drawn.rows["event_timestamp"]).strftime("%Y-%m")
    moved = months == "2025-12"
    features[moved, 0] += 3.0
    features[moved, 2] = np.nan
    rows = by_month(drawn._replace(features=features))
    far = {(row["feature"], row["month"]) for row in rows if row["psi"] >= 1.0}
    assert far >= {("duration_seconds", "2025-12"), ("observation_count", "2025-12")}
    assert {feature for feature, _ in far} == {"duration_seconds", "observation_count"}
    (own,) = [r for r in rows if (r["feature"], r["month"]) == ("duration_seconds", "2025-12")]
    assert own["shift"] > 1.0
    (null,) = [r for r in rows if (r["feature"], r["month"]) == ("observation_count", "2025-12")]
    assert (null["null_share"], null["shift"]) == (1.0, None)


def test_countries_that_are_alike_do_not_stand_out(questions, countries):
    rows = by_country(questions.drawn, countries)
    assert {row["country"] for row in rows} == set(COUNTRIES)
    assert max(row["psi"] for row in rows) < 0.25


def test_features_that_say_the_same_are_one_cluster(questions):
    drawn = questions.drawn
    twice = Column(name="view_count", view="video_performance", kind="stored")
    counts = 10.0 ** drawn.features[:, [1]]
    wider = drawn._replace(
        features=np.hstack([drawn.features, counts]), columns=(*drawn.columns, twice)
    )
    (cluster,) = clusters(correlations(wider))
    assert cluster["features"] == ["log10_views", "view_count"]
    assert cluster["least"] == pytest.approx(1.0)
    assert clusters(correlations(drawn)) == []


def test_thinning_is_even_and_bounded():
    chosen = np.arange(100) % 2 == 0
    kept = np.flatnonzero(evenly(chosen, 10))
    assert list(np.diff(kept)) == [10] * 9
    assert evenly(chosen, 1_000).sum() == 50


def findings(**parts):
    empty = {name: [] for name in Findings._fields} | {"situation": "published"}
    return Findings(**(empty | parts))


def test_the_page_shows_every_part_and_loads_nothing(questions, tried, countries, params):
    fits = [(trial, fitted_without(trial, (), params)) for trial in tried]
    correlation = correlations(questions.drawn)
    found = findings(
        left_out=["BB"],
        ablation=[row for t, fit in fits for row in ablation(t, fit, params)],
        importance=[row for t, fit in fits for row in importance(t, fit, params.seed)],
        months=by_month(questions.drawn),
        countries=by_country(questions.drawn, countries),
        clusters=clusters(correlation),
        correlations=correlation,
    )
    text = page.html("Features of <a world>", [found])
    assert text.count("<svg") == 6
    assert "Features of &lt;a world&gt;" in text
    assert re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text.replace("xlink:href", "")) is None
    table = page.ablation_table([found])
    assert table[0].count("|") == table[2].count("|") == 4
    assert any(line.startswith(f"| {EARLY_PERFORMANCE} |") for line in table)
    assert "correlations" not in found.as_json()


@pytest.mark.full
@pytest.mark.timeout(900)  # trains some thirty small models
def test_the_command_studies_a_world_and_writes_a_page(
    schema, database_url, redis_url, tmp_path, monkeypatch
):
    engine = open_warehouse(database_url, schema)
    for number in range(18):  # so many that a test part has labels enough
        store(engine, small_world(f"r{number}", seed=number))
    build(engine)
    engine.dispose()
    environment = feast_environment(database_url, schema, redis_url)
    apply(open_feature_store(environment))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    page_file = tmp_path / "features.html"
    asked = ["--world", "synthetic", "--as-of", f"{NOON + 30 * DAY:%F}", "--labels", "4000"]
    result = CliRunner().invoke(
        cli,
        ["features", "report", *asked, "--html", str(page_file), "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    published = json.loads(result.stdout)["parts"][0]
    without = {row["without"] for row in published["ablation"] if row["trial"] == LATER_MONTHS}
    assert without >= {EVERYTHING, EARLY_PERFORMANCE, CHANNEL, FORMAT}
    assert len(published["importance"]) >= 90
    assert {row["month"] for row in published["months"]} >= {"2025-12", "2026-01"}
    assert page_file.read_text().count("<svg") >= 5
