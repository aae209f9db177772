"""`foreview evaluate` on small recorded data, in a real PostgreSQL; in full on the real data."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
import redis
import yaml
from click.testing import CliRunner, Result

from foreview.evaluating import evaluate, private_database
from ingestion.emulator.lists import write_lists
from ingestion.emulator.world import synthetic_world
from training.errors import TooLittleData
from training.params import read_params
from training.plain import PLAIN
from training.settings import TrainingSettings

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
END = datetime(2026, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEYS = {
    "situation", "subset", "metric", "horizon_days", "model", "baseline", "n", "rmse_log10",
    "mae_log10", "r2", "r2_growth", "spearman", "mdape", "coverage_80", "width_80_log10",
    "bias_log10", "spearman_within_channel", "mrse", "pinball_log10", "rmse_log10_low",
    "rmse_log10_high", "spearman_within_channel_low", "spearman_within_channel_high",
    "channels_ranked", "coverage_80_low", "coverage_80_high",
}  # fmt: skip
MODELS = {
    "lightgbm": False,
    "persistence": True,
    "szabo_huberman": True,
    "szabo_huberman_by_age": True,
    "pinto_linear": True,
    "pinto_rbf": True,
    "plain_lightgbm": True,
}
DRAFT_MODELS = {"lightgbm": False, "channel_median": True, "shrunk_channel_mean": True}

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days of lists of a small world."""
    directory = tmp_path_factory.mktemp("recorded") / "world"
    return write_lists(directory, synthetic_world(3, days=40, channels=25, end=END), 40)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of lists of other channels."""
    directory = tmp_path_factory.mktemp("recorded") / "elsewhere"
    return write_lists(directory, synthetic_world(4, days=10, channels=5, end=END + 10 * DAY), 10)


@pytest.fixture(scope="module", autouse=True)
def environment(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The private servers, and parameters of a model that is quickly fitted."""
    stated = read_params(TrainingSettings.model_fields["params"].default)
    trees = stated.lightgbm | {"n_estimators": 40, "learning_rate": 0.15, "num_threads": 1}
    small = stated.model_dump(mode="json") | {
        "lightgbm": trees,
        "draft": {},
        "intervals": {"min_labels": 10},
        # The protocol holds back its share, eight days, whatever a training may.
        "split": stated.split.model_dump() | {"most_test_days": 4},
    }
    params = tmp_path_factory.mktemp("params") / "params.yaml"
    params.write_text(yaml.safe_dump(small))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREVIEW_DATABASE_URL", database_url)
        patch.setenv("FOREVIEW_REDIS_URL", redis_url)
        patch.setenv("FOREVIEW_PARAMS", str(params))
        yield


def run(*arguments: Path | str) -> Result:
    """Run the command in this process, which has Feast imported already."""
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def scores(path: Path) -> Rows:
    return json.loads(path.read_text())["rows"]


def schemas(database_url: str) -> set[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'evaluate%'"
    with psycopg.connect(database_url) as connection:
        return {name for (name,) in connection.execute(query)}


@pytest.fixture(scope="module")
def evaluated(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Rows]:
    """The protocol on the record, its last fifth held back."""
    file = tmp_path_factory.mktemp("scores") / "new" / "folder" / "scores.json"
    page = file.with_suffix(".html")
    result = run("--protocol", "snap-v1", "--raw", recorded, "--json", file, "--html", page)
    assert result.exit_code == 0, result.output
    report = page.read_text()
    assert report.count("<svg") >= 10
    assert "shrunk_channel_mean" in report
    return result, scores(file)


def test_scores_have_the_promised_form(evaluated: tuple[Result, Rows]) -> None:
    _, rows = evaluated
    assert all(row.keys() == KEYS for row in rows)
    for situation, models in (("published", MODELS), ("draft", DRAFT_MODELS)):
        found = {r["model"]: r["baseline"] for r in rows if r["situation"] == situation}
        assert found == models
    assert {row["metric"] for row in rows} == {"views", "likes", "comments"}
    assert {"all", "first_snapshot", "known_channel"} <= {row["subset"] for row in rows}
    for row in rows:
        assert (row["coverage_80"] is None) == row["baseline"]


def test_the_protocol_holds_back_its_share_not_what_a_training_does(
    evaluated: tuple[Result, Rows],
) -> None:
    assert 7 in {row["horizon_days"] for row in evaluated[1]}


def test_every_model_is_scored_on_the_same_rows(evaluated: tuple[Result, Rows]) -> None:
    asked: dict[tuple[str, str, int], dict[str, int]] = {}
    for row in evaluated[1]:
        if row["situation"] != "published":
            continue
        group = row["subset"], row["metric"], row["horizon_days"]
        asked.setdefault(group, {})[row["model"]] = row["n"]
    for n in asked.values():
        assert n.keys() == MODELS.keys()
        assert len(set(n.values())) == 1


def test_the_table_for_people_shows_views(evaluated: tuple[Result, Rows]) -> None:
    result, _ = evaluated
    assert "| all | views | 1 | lightgbm |" in result.stdout
    assert "| first_snapshot | views |  | shrunk_channel_mean |" in result.stdout
    assert "RMSE of views by plain LightGBM's: all +1 d " in result.stdout
    assert "80 % intervals of views hold within 3 points in " in result.stdout


def test_other_data_are_only_scored_on_and_all_of_them_are(
    recorded: Path, elsewhere: Path, tmp_path: Path
) -> None:
    file = tmp_path / "scores.json"
    result = run("--raw", recorded, "--score-only", elsewhere, "--json", file)
    assert result.exit_code == 0, result.output
    looks = pd.read_parquet(elsewhere / "snapshots.parquet")
    days = looks["observed_at"].dt.floor("D") + pd.Timedelta(days=1)
    keys = pd.MultiIndex.from_arrays([looks["video_id"], looks["observed_at"].dt.floor("D")])
    next_day = pd.MultiIndex.from_arrays([looks["video_id"], days]).isin(keys)
    asked = {
        row["subset"]: row["n"]
        for row in scores(file)
        if (row["metric"], row["horizon_days"], row["model"]) == ("views", 1, "lightgbm")
    }
    assert asked["all"] == next_day.sum()
    assert asked["new_channel"] == asked["all"]
    assert "known_channel" not in asked


def test_nothing_is_left_behind(evaluated: tuple[Result, Rows], database_url: str) -> None:
    assert schemas(database_url) == set()


def test_too_little_data_are_refused_and_leave_nothing_behind(
    elsewhere: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREVIEW_PARAMS", str(TrainingSettings.model_fields["params"].default))
    result = run("--raw", elsewhere)
    assert isinstance(result.exception, TooLittleData)
    assert "at least 500 are needed" in str(result.exception)
    assert schemas(database_url) == set()


def test_a_path_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    assert run("--raw", tmp_path / "nothing").exit_code == 2


def test_a_server_that_is_set_is_used_though_the_other_is_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FOREVIEW_REDIS_URL")
    monkeypatch.setenv("FOREVIEW_STATE_DIR", str(tmp_path))
    with private_database() as (given, redis_url):
        assert given == database_url
        assert redis.Redis.from_url(redis_url).ping()


@pytest.mark.full
@pytest.mark.timeout(1_500)
def test_on_real_data_the_model_is_ahead_of_every_baseline_of_the_literature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (REAL_DATA / "snapshots.parquet").is_file():
        pytest.skip(f"no recorded data in {REAL_DATA}")
    monkeypatch.delenv("FOREVIEW_PARAMS")
    file = tmp_path / "scores.json"
    result = run("--raw", REAL_DATA, "--json", file)
    assert result.exit_code == 0, result.output
    errors: dict[int, dict[str, float]] = {}
    for row in scores(file):
        if (row["subset"], row["metric"]) == ("all", "views") and row["n"] >= 200:
            errors.setdefault(row["horizon_days"], {})[row["model"]] = row["rmse_log10"]
    assert {1, 3, 7} <= errors.keys()
    for of_model in errors.values():
        # A model per horizon that reads facts of the lists is a yardstick, not to be far behind.
        assert of_model["lightgbm"] < 1.03 * of_model.pop(PLAIN)
        assert min(of_model, key=of_model.__getitem__) == "lightgbm"
