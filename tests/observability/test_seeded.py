"""Faults seeded into a running platform, seen through the real exporter by the real rules.

The exporter's samples at one moment are held for two and a half hours in Prometheus' own engine.
Runs last of those that share the platform: it leaves faults behind.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml
from prometheus_client import CollectorRegistry

from foreview.exporting import platform_registry
from observability import checks, pipeline
from observability.champion import ModelRegistry
from observability.database import connected
from observability.settings import ObservabilitySettings
from tests.observability.platform import Platform
from tests.observability.promtool import run, scenario

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

UP = {
    'up{job="foreview-jobs",instance="j"}': "1x200",
    'up{job="foreview-serving",instance="a"}': "1x200",
    'model_info{version="1",world="synthetic",instance="a"}': "1x200",
}


def exporter(platform: Platform, clock: Callable[[], datetime]) -> CollectorRegistry:
    settings = ObservabilitySettings(
        database_url=platform.url,
        database_schema=platform.schema,
        redis_url=platform.environment["FOREVIEW_REDIS_URL"],
    )
    return platform_registry(settings, clock)


def alerts(
    platform: Platform, directory: Path, clock: Callable[[], datetime] | None = None
) -> set[str]:
    """Name the alerts that fire if what the exporter says stays so."""
    series = dict(UP)
    for family in exporter(platform, clock or platform.clock).collect():
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sample.labels.items())
            value = str(sample.value).replace("inf", "Inf")
            series[f'{sample.name}{{{labels}{"," if labels else ""}instance="j"}}'] = f"{value}x200"
    told = run(directory, [scenario("seeded", series, {}, "150m")], interval="5m")
    assert not told or "FAILED" in told, told
    return set(re.findall(r'\{alertname="(\w+)"\}', told.partition("got:")[2]))


def held_back(firing: set[str]) -> set[str]:
    """Name the alerts that Alertmanager says nothing of while these fire."""
    settings = yaml.safe_load(Path("observability/alertmanager/alertmanager.yml").read_text())
    held = set()
    for rule in settings["inhibit_rules"]:
        if firing & _named(rule["source_matchers"]):
            held |= _named(rule["target_matchers"])
    return held


def _named(matchers: list[str]) -> set[str]:
    return {name for one in matchers for name in re.findall(r"\w+", one.partition('"')[2])}


@pytest.fixture(scope="module")
def watched(healthy_platform: Platform) -> Iterator[Platform]:
    """The platform, which others use too: what was logged is afterwards as it was before."""
    platform = healthy_platform
    platform.materialize()
    pipeline.outcomes(platform.url, platform.schema, platform.clock)
    check(platform)
    with connected(platform.url, platform.schema) as connection:
        connection.execute("CREATE TABLE logged_before AS TABLE forecast_log")
        yield platform
        connection.execute("DELETE FROM job_runs WHERE job = 'outcomes'")
        for changed in ("forecast_outcomes", "drift_results", "skew_results", "forecast_log"):
            connection.execute(f"DELETE FROM {changed}".encode())
        connection.execute("INSERT INTO forecast_log TABLE logged_before")
        connection.execute("DROP TABLE logged_before")


def check(platform: Platform) -> None:
    with ModelRegistry(platform.environment["FOREVIEW_MLFLOW_TRACKING_URI"]) as models:
        sources = checks.Sources(platform.url, platform.schema, models, platform.clock)
        checks.check_drift(sources, "synthetic", days=9)
        checks.check_skew(sources, platform.store, "synthetic", hours=24 * 9)


def test_before_any_fault_nothing_is_told(watched: Platform, tmp_path: Path) -> None:
    assert alerts(watched, tmp_path) == set()


def test_a_stuck_collector_is_called_that_and_nothing_else(
    watched: Platform, tmp_path: Path
) -> None:
    later = watched.clock() + timedelta(hours=13)
    found = alerts(watched, tmp_path, lambda: later)
    assert found == {"CollectionStuck"}


def test_a_materialization_that_moves_nothing_is_called_that_and_nothing_else(
    watched: Platform, tmp_path: Path
) -> None:
    """Green and empty: the window ends where the last one did, though rows came since."""
    import redis

    from feature_repo import online_layout as layout

    behind = watched.clock() - timedelta(hours=12)
    query = "SELECT video_id FROM video_performance WHERE event_timestamp > %s"
    with (
        connected(watched.url, watched.schema) as connection,
        redis.Redis.from_url(watched.environment["FOREVIEW_REDIS_URL"]) as online,
    ):
        encode, field = layout.key_encoder("video_id"), layout.timestamp_field("video_performance")
        ids = {row[0] for row in connection.execute(query, [behind])}
        kept = {video_id: online.hget(encode(video_id), field) for video_id in ids}
        for video_id in ids:
            stamp = layout.encode_timestamp(int(behind.timestamp()), 0)
            online.hset(encode(video_id), field, stamp)
        found = alerts(watched, tmp_path)
        for video_id, stamp in kept.items():
            online.hset(encode(video_id), field, stamp)
    assert found == {"MaterializationBehind"}


def nudge(platform: Platform, feature: str, by: float, where: str = "true") -> None:
    """Move a feature in logged vectors; null stays null."""
    query = f"""
        UPDATE forecast_log
        SET features[array_position(names, %(feature)s)] =
            features[array_position(names, %(feature)s)] + %(by)s
        FROM vector_layouts WHERE vector_layouts.layout = forecast_log.layout AND {where}
    """
    with connected(platform.url, platform.schema) as connection:
        connection.execute(query.encode(), {"feature": feature, "by": by})


def test_a_skew_is_called_that_and_nothing_else(watched: Platform, tmp_path: Path) -> None:
    some = "video_id IN (SELECT min(video_id) FROM forecast_log)"
    nudge(watched, "log10_views", 0.001, some)
    with ModelRegistry(watched.environment["FOREVIEW_MLFLOW_TRACKING_URI"]) as models:
        sources = checks.Sources(watched.url, watched.schema, models, watched.clock)
        checks.check_skew(sources, watched.store, "synthetic", hours=24 * 9, sample=10_000)
    found = alerts(watched, tmp_path)
    nudge(watched, "log10_views", -0.001, some)
    with connected(watched.url, watched.schema) as connection:
        connection.execute("DELETE FROM skew_results")
    assert found == {"FeatureSkew"}


def test_drift_is_called_that_and_nothing_else(watched: Platform, tmp_path: Path) -> None:
    nudge(watched, "growth_exponent_1d", 0.5)
    with ModelRegistry(watched.environment["FOREVIEW_MLFLOW_TRACKING_URI"]) as models:
        sources = checks.Sources(watched.url, watched.schema, models, watched.clock)
        drifted = checks.check_drift(sources, "synthetic", 9, tmp_path / "drift.html")
    found = alerts(watched, tmp_path)
    with connected(watched.url, watched.schema) as connection:
        connection.execute("DELETE FROM drift_results")
    assert drifted[0].name == "growth_exponent_1d"
    assert drifted[0].status == "drifted"
    assert "growth_exponent_1d" in (tmp_path / "drift.html").read_text()
    assert found == {"FeatureDrift"}


def test_a_bad_model_is_called_that(watched: Platform, tmp_path: Path) -> None:
    """That truths lie outside its intervals follows from it: Alertmanager holds that back."""
    with connected(watched.url, watched.schema) as connection:
        rows = connection.execute("SELECT forecast_id, answer FROM forecast_log").fetchall()
        for forecast_id, answer in rows:
            for asked in answer["metrics"].values():
                for one in asked["forecasts"]:
                    for name in ("p10", "p50", "p90"):
                        one[name] = None if one[name] is None else 5 * one[name]
            connection.execute(
                "UPDATE forecast_log SET answer = %s WHERE forecast_id = %s",
                [orjson.dumps(answer).decode(), forecast_id],
            )
        connection.execute("DELETE FROM forecast_outcomes")
    with connected(watched.url, watched.schema) as connection:
        connection.execute("DELETE FROM job_runs WHERE job = 'outcomes'")
    pipeline.outcomes(watched.url, watched.schema, watched.clock)
    found = alerts(watched, tmp_path)
    assert found - held_back(found) == {"ForecastsWorseThanPersistence"}
