"""What ingestion did and has before it, for Prometheus: read from PostgreSQL when it is asked for.

Batch jobs end before they could be scraped; what they leave in tables stays.
"""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text

from feature_repo.clock import Clock
from ingestion.quota import BucketUsage, usage

HORIZONS = (1, 3, 7, 14, 30)

_ROWS = text("""
    SELECT coalesce(world, 'unknown') AS world, kind, sum(count::bigint) AS amount
    FROM job_runs, jsonb_each_text(rows) AS counted (kind, count)
    WHERE job IN ('collect', 'load') GROUP BY 1, 2
""")
_LAST_RUNS = text("""
    SELECT coalesce(world, 'unknown') AS world, job, max(started_at) AS at
    FROM job_runs WHERE job IN ('collect', 'load', 'purge') AND outcome <> 'failed' GROUP BY 1, 2
""")
_QUARANTINED = text("""
    SELECT reasons[1] AS reason, count(*) AS amount FROM quarantine GROUP BY 1
""")
_TARGETS = text("""
    SELECT world, kind, CASE WHEN gone_at IS NULL THEN 'watched' ELSE 'gone' END AS state,
        count(*) AS amount
    FROM collection_targets GROUP BY 1, 2, 3
""")
_OVERDUE = text("""
    SELECT world, count(*) FILTER (
        WHERE gone_at IS NULL AND next_due_at < CAST(:now AS timestamptz) - interval '2 hours'
    ) AS amount FROM collection_targets GROUP BY 1
""")
# Of videos whose day `h` came in the last week: the share that was looked at about then.
_COVERAGE = text("""
    SELECT t.world, count(*) AS due, count(*) FILTER (WHERE EXISTS (
        SELECT FROM video_snapshots s WHERE s.video_id = t.target_id AND s.observed_at
            BETWEEN t.published_at + (:days - 0.25) * interval '1 day'
                AND t.published_at + (:days + 0.25) * interval '1 day'
    )) AS covered
    FROM collection_targets t
    WHERE t.kind = 'video' AND t.gone_at IS NULL
        AND t.added_at < t.published_at + :days * interval '1 day'
        AND t.published_at + (:days + 0.25) * interval '1 day'
            BETWEEN CAST(:now AS timestamptz) - interval '7 days' AND :now
    GROUP BY 1
""")


class IngestionMetrics(Collector):
    """A Prometheus collector over the tables of ingestion; a scrape costs some queries."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing beforehand: registering must not query the database."""
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Read the figures of this moment."""
        now = self._clock()
        yield from _quota(usage(self._engine, now))
        with self._engine.connect() as connection:
            yield _rows(connection)
            yield _quarantined(connection)
            yield _targets(connection)
            yield _overdue(connection, now)
            yield _coverage(connection, now)
            yield _last_runs(connection)


def _quota(buckets: list[BucketUsage]) -> Iterator[GaugeMetricFamily]:
    used = GaugeMetricFamily(
        "youtube_quota_units_used", "Units charged on this Pacific day.", labels=["bucket"]
    )
    limit = GaugeMetricFamily(
        "youtube_quota_units_limit", "Units allowed on a Pacific day.", labels=["bucket"]
    )
    kept = GaugeMetricFamily(
        "youtube_quota_units_reserved", "Units kept for labels due today.", labels=["bucket"]
    )
    for bucket in buckets:
        used.add_metric([bucket.bucket], bucket.used)
        limit.add_metric([bucket.bucket], bucket.limit)
        kept.add_metric([bucket.bucket], bucket.reserved)
    yield from (used, limit, kept)


def _rows(connection: Connection) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "ingestion_rows", "Rows by what became of them.", labels=["world", "outcome"]
    )
    for row in connection.execute(_ROWS):
        family.add_metric([row.world, row.kind], float(row.amount))
    return family


def _quarantined(connection: Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "ingestion_quarantined_rows", "Rows in quarantine by first reason.", labels=["reason"]
    )
    for row in connection.execute(_QUARANTINED):
        family.add_metric([row.reason], row.amount)
    return family


def _targets(connection: Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "ingestion_targets", "Videos and channels.", labels=["world", "kind", "state"]
    )
    for row in connection.execute(_TARGETS):
        family.add_metric([row.world, row.kind, row.state], row.amount)
    return family


def _overdue(connection: Connection, now: datetime) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "ingestion_overdue_targets", "Targets due for more than two hours.", labels=["world"]
    )
    for row in connection.execute(_OVERDUE, {"now": now}):
        family.add_metric([row.world], row.amount)
    return family


def _coverage(connection: Connection, now: datetime) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "ingestion_label_coverage_ratio",
        "Share of videos looked at within six hours of an age, of those that reached it in a week.",
        labels=["world", "horizon_days"],
    )
    for days in HORIZONS:
        for row in connection.execute(_COVERAGE, {"now": now, "days": days}):
            family.add_metric([row.world, str(days)], row.covered / row.due)
    return family


def _last_runs(connection: Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "ingestion_last_run_timestamp_seconds", "Last run that succeeded.", labels=["world", "job"]
    )
    for row in connection.execute(_LAST_RUNS):
        family.add_metric([row.world, row.job], row.at.timestamp())
    return family
