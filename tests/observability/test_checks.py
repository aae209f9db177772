"""Drift, skew and their metrics on a platform that runs: real logs, a real champion."""

from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from observability import checks, pipeline
from observability.champion import ModelRegistry
from observability.database import connected
from observability.metrics import PlatformMetrics
from tests.observability.platform import Platform


@pytest.fixture(scope="module")
def platform(observed_platform: Platform) -> Platform:
    return observed_platform


@pytest.fixture(scope="module")
def sources(platform: Platform, mlflow_uri: str) -> Iterator[checks.Sources]:
    with ModelRegistry(mlflow_uri) as registry:
        yield checks.Sources(platform.url, platform.schema, registry, platform.clock)


def metrics(platform: Platform) -> CollectorRegistry:
    registry = CollectorRegistry()
    redis_url = platform.environment["FOREVIEW_REDIS_URL"]
    registry.register(PlatformMetrics(platform.url, platform.schema, redis_url, platform.clock))
    return registry


def test_outcomes_of_a_running_platform_become_metrics(platform: Platform) -> None:
    pipeline.outcomes(platform.url, platform.schema, platform.clock)
    with connected(platform.url, platform.schema) as connection:
        rows = connection.execute("SELECT status, count(*) FROM forecast_outcomes GROUP BY 1")
        counts = dict(rows.fetchall())
    assert counts["scored"] > 200
    found = metrics(platform)
    scored = found.get_sample_value("forecast_outcomes", {"world": "synthetic", "status": "scored"})
    assert scored == counts["scored"]
    labels = {"world": "synthetic", "metric": "views", "tier": "all", "format": "all"}
    everything = labels | {"model_version": "all", "horizon_days": "0"}
    error = found.get_sample_value("forecast_error_log10", everything)
    persistence = found.get_sample_value("forecast_persistence_error_log10", everything)
    assert error is not None
    assert persistence is not None
    assert 0 < error < persistence
    judged = found.get_sample_value("job_rows_total", {"batch_job": "outcomes", "kind": "scored"})
    assert judged == counts["scored"]


def test_freshness_goes_by_events_and_lag_by_what_is_not_online(platform: Platform) -> None:
    found = metrics(platform)
    view = {"feature_view": "video_performance"}
    age = found.get_sample_value("observation_age_seconds", {"world": "synthetic"})
    fresh = found.get_sample_value("feature_freshness_seconds", view)
    lag = found.get_sample_value("materialization_lag_seconds", view)
    assert found.get_sample_value("feature_build_lag_seconds") == 0
    assert age is not None
    assert age < 7 * 3600
    assert fresh is not None
    assert lag is not None
    assert 7.5 < fresh / 86_400 < 8.5  # materialized eight days ago, built since
    assert lag == pytest.approx(fresh - age, abs=1)


def test_logged_vectors_are_what_training_would_have_seen(
    platform: Platform, sources: checks.Sources
) -> None:
    found = checks.check_skew(sources, platform.store, "synthetic", 24 * 9)
    assert sum(one.compared for one in found) > 10_000
    assert not any(one.is_skewed for one in found)
    assert not any(one.behind for one in found)


def test_a_day_on_which_nothing_was_asked_has_neither_skew_nor_drift(
    platform: Platform, sources: checks.Sources
) -> None:
    assert checks.check_skew(sources, platform.store, "synthetic", hours=24) == []
    assert checks.check_drift(sources, "synthetic", days=1) == []
    assert not checks.matters([])
    found = metrics(platform)
    for job in ("skew", "drift"):
        assert found.get_sample_value("job_last_run_failed", {"batch_job": job}) == 0


def test_a_value_that_serving_saw_otherwise_is_a_skew_of_that_feature(
    platform: Platform, sources: checks.Sources
) -> None:
    # Of some videos no views are known: there a nudge is none.
    chosen = """
        SELECT forecast_id, features[array_position(names, 'log10_views')]
        FROM forecast_log JOIN vector_layouts USING (layout)
        WHERE situation = 'published' AND features[array_position(names, 'log10_views')] <> 'NaN'
        ORDER BY forecast_id LIMIT 1
    """
    spoil = """
        UPDATE forecast_log SET features[array_position(names, 'log10_views')] = %s
        FROM vector_layouts
        WHERE vector_layouts.layout = forecast_log.layout AND forecast_id = %s
    """
    with connected(platform.url, platform.schema) as connection:
        [(forecast_id, before)] = connection.execute(chosen).fetchall()
        nudged = float(np.nextafter(np.float32(before), np.float32(np.inf)))
        connection.execute(spoil, [nudged, forecast_id])
        found = checks.check_skew(sources, platform.store, "synthetic", 24 * 9, sample=10_000)
        connection.execute(spoil, ["NaN", forecast_id])
        missing = checks.check_skew(sources, platform.store, "synthetic", 24 * 9, sample=10_000)
        connection.execute(spoil, [before, forecast_id])
    assert [(one.feature, one.mismatched) for one in found if one.is_skewed] == [("log10_views", 1)]
    assert [(s.feature, s.missing) for s in missing if s.is_skewed] == [("log10_views", 1)]
    values = {"world": "synthetic", "result": "missing"}
    assert metrics(platform).get_sample_value("skew_values", values) == 1


def test_drift_is_recorded_and_exported(platform: Platform, sources: checks.Sources) -> None:
    found = checks.check_drift(sources, "synthetic", days=9)
    assert {one.kind for one in found} == {"feature", "forecast", "label"}
    effects = [one.effect or 0.0 for one in found if one.kind == "feature"]
    assert effects == sorted(effects, reverse=True)
    exported = metrics(platform)
    for one in found:
        labels = {"world": "synthetic", "kind": one.kind, "name": one.name}
        state = exported.get_sample_value("drift_state", labels | {"status": one.status})
        assert state == 1
        assert exported.get_sample_value("drift_psi", labels) == one.psi
    failed = [s for m in exported.collect() for s in m.samples if s.name == "metrics_query_failed"]
    assert len(failed) == 7
    assert not any(sample.value for sample in failed)
