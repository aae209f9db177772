"""`foreview metrics` over a database that is not ready, or not there."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import redis
from prometheus_client import CollectorRegistry, generate_latest

from feature_repo.clock import fixed_clock
from foreview.exporting import platform_registry
from foreview.servers.state import free_port
from observability.database import connected
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


def test_rows_that_are_refused_are_counted_from_zero_so_that_the_first_are_seen(
    database_url: str, schema: str, redis_url: str
) -> None:
    told = exported(database_url, schema, redis_url).get_sample_value
    for job in ("collect", "load"):
        for kind in ("loaded", "quarantined"):
            assert told("job_rows_total", {"batch_job": job, "kind": kind}) == 0


def test_a_part_that_cannot_be_read_is_named_and_left_out(
    database_url: str, empty_schema: str, redis_url: str
) -> None:
    registry = exported(database_url, empty_schema, redis_url)
    assert failed(registry) == dict.fromkeys(PARTS, 1.0)
    assert b"job_runs_total" not in generate_latest(registry)


def test_a_part_whose_tables_are_locked_is_given_up_and_leaves_no_connection_behind(
    database_url: str, schema: str, redis_url: str
) -> None:
    registry = exported(database_url, schema, redis_url)
    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as pool:
        for table in ("forecast_log", "quota_ledger"):
            holder.execute(f"LOCK TABLE {schema}.{table} IN ACCESS EXCLUSIVE MODE".encode())
        scrape = pool.submit(generate_latest, registry)
        try:
            told = scrape.result(timeout=20).decode()
        finally:
            holder.rollback()
    for part in PARTS:
        is_locked = part in ("asked", "ingestion")
        assert f'metrics_query_failed{{query="{part}"}} {is_locked:.1f}' in told


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


def test_what_was_done_asked_and_found_is_told_under_its_own_name(
    database_url: str, schema: str, redis_url: str
) -> None:
    with connected(database_url, schema) as connection:
        connection.execute("""
            INSERT INTO job_runs (job, world, started_at, duration_seconds, outcome, rows) VALUES
                ('train', 'real', '2026-06-30T00:00Z', 1, 'promoted', '{}'),
                ('train', 'real', '2026-06-30T18:00Z', 2, 'failed', '{}')
        """)
        connection.execute("""
            INSERT INTO forecast_log (forecast_id, asked_at, as_of, situation, world, video_id,
                model_version, model_digest, request, vector, feature_times, answer)
            SELECT gen_random_uuid(), at, at, 'published', 'real', 'v', '1', 'd', '{}', '{}',
                json_build_object('video_performance', at - age), '{}'
            FROM (SELECT '2026-06-30T12:00Z'::timestamptz AS at,
                unnest(ARRAY[1, 1, 50]) * interval '1 hour' AS age) AS asked
        """)
        connection.execute("""
            INSERT INTO forecast_outcomes (forecast_id, metric, horizon_days, world, situation,
                model_version, model_digest, video_id, tier, format, as_of, due_at, p10, p50, p90,
                is_degraded, status, scored_at, observed_count, known_at, is_late, error_log10,
                persistence_error_log10, is_covered, width_log10, pinball_log10)
            SELECT gen_random_uuid(), 'views', 1, 'real', 'published', '1', 'd', 'v', 'all', 'long',
                due, due, 1, 2, 3, false, 'scored', due, 2, due, false, error, 0, true, 0, 0
            FROM (VALUES ('2026-06-29Z'::timestamptz, 0.1), ('2026-05-01Z', 0.9)) AS o (due, error)
        """)
        connection.execute("""
            INSERT INTO skew_results (world, checked_at, feature_view, feature, compared,
                mismatched, missing, extra, behind)
            VALUES ('real', '2026-06-30Z', 'video_performance', 'view_count', 9, 1, 2, 3, 4)
        """)
    told = exported(database_url, schema, redis_url).get_sample_value
    assert told("job_last_success_age_seconds", {"batch_job": "train"}) == 24 * 3600
    assert told("job_last_run_failed", {"batch_job": "train"}) == 1
    view = {"feature_view": "video_performance"}
    assert told("asked_feature_age_seconds", view | {"quantile": "0.5"}) == 3600
    assert (told("asked_feature_age_seconds", view | {"quantile": "0.99"}) or 0) > 40 * 3600
    chosen = {"world": "real", "metric": "views", "model_version": "all", "horizon_days": "0"}
    assert told("forecast_error_log10", chosen | {"tier": "all", "format": "all"}) == 0.1
    results = ("compared", "mismatched", "missing", "extra", "behind")
    skewed = [told("skew_values", {"world": "real", "result": result}) for result in results]
    assert skewed == [9, 1, 2, 3, 4]
