"""`foreview metrics` over a database that is not ready, or not there."""

from datetime import UTC, datetime

import redis
from prometheus_client import CollectorRegistry, generate_latest

from feature_repo.clock import fixed_clock
from foreview.exporting import platform_registry
from foreview.servers.state import free_port
from observability.settings import ObservabilitySettings

NOW = fixed_clock(datetime(2026, 7, 1, tzinfo=UTC))
PARTS = ("jobs", "observations", "features", "asked", "outcomes", "drift", "skew", "ingestion")


def exported(database_url: str, schema: str, redis_url: str) -> CollectorRegistry:
    settings = ObservabilitySettings(
        database_url=database_url, database_schema=schema, redis_url=redis_url
    )
    return platform_registry(settings, NOW)


def failed(registry: CollectorRegistry) -> dict[str, float | None]:
    return {
        part: registry.get_sample_value("metrics_query_failed", {"query": part}) for part in PARTS
    }


def test_a_new_warehouse_has_nothing_to_tell_and_no_part_fails(
    database_url: str, schema: str, redis_url: str
) -> None:
    registry = exported(database_url, schema, redis_url)
    assert failed(registry) == dict.fromkeys(PARTS, 0.0)
    assert b"youtube_quota_units_limit" in generate_latest(registry)


def test_a_part_that_cannot_be_read_is_named_and_left_out(
    database_url: str, empty_schema: str, redis_url: str
) -> None:
    registry = exported(database_url, empty_schema, redis_url)
    assert failed(registry) == dict.fromkeys(PARTS, 1.0)
    assert b"job_runs_total" not in generate_latest(registry)


def test_without_a_database_the_exporter_still_answers_and_says_so(redis_url: str) -> None:
    registry = exported(f"postgresql://a:b@127.0.0.1:{free_port()}/c", "foreview", redis_url)
    assert registry.get_sample_value("metrics_query_failed", {"query": "database"}) == 1


def test_an_empty_online_store_is_infinitely_stale(
    database_url: str, schema: str, redis_url: str
) -> None:
    from ingestion.feature_tables import build
    from ingestion.warehouse import open_warehouse
    from tests.worlds import small_world, store

    engine = open_warehouse(database_url, schema)
    store(engine, small_world())
    build(engine)
    engine.dispose()
    with redis.Redis.from_url(redis_url.removesuffix("/0") + "/13") as online:
        online.flushdb()
    settings = ObservabilitySettings(
        database_url=database_url,
        database_schema=schema,
        redis_url=redis_url.removesuffix("/0") + "/13",
    )
    registry = platform_registry(settings, fixed_clock(datetime(2026, 1, 17, tzinfo=UTC)))
    lag = registry.get_sample_value(
        "materialization_lag_seconds", {"feature_view": "video_performance"}
    )
    assert lag == float("inf")
