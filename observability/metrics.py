"""Every metric that batch jobs and the stores leave behind, read where they keep it.

Batch jobs end before anybody asks them; what they did is in PostgreSQL, and how fresh the online
store is stands in Redis. A Prometheus collector reads both at scrape time. Ages go by the one
clock, so that a simulated world is as old as it says.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

import psycopg
import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import sql

from feature_repo import online_layout as layout
from feature_repo.clock import Clock
from observability.database import Connection, connected
from observability.errors import DatabaseUnavailable, ObservabilityError

# Scores are of forecasts whose horizon closed in this time: old glory hides no new failure.
RECENT = timedelta(days=28)
# A scrape is given up after ten seconds, its queries are not by themselves: where a table is
# locked, each scrape would keep one more connection, until PostgreSQL has none left for anybody.
BOUNDS = "SET lock_timeout = '2s'; SET statement_timeout = '10s'"
# Entities whose online row is looked at: those with the newest rows offline.
_PROBED = 50
_FEATURE_HISTORY = timedelta(days=62)

_JOBS = """
    SELECT DISTINCT ON (job) job,
        (SELECT extract(epoch FROM %(now)s - max(started_at))::float FROM job_runs AS good
            WHERE good.job = last.job AND good.outcome <> 'failed'),
        (outcome = 'failed')::int, duration_seconds
    FROM job_runs AS last ORDER BY job, started_at DESC, run_id DESC
"""
_RUNS = "SELECT job, outcome, count(*) FROM job_runs GROUP BY job, outcome ORDER BY 1, 2"
_ROWS = """
    SELECT job, kind, sum(count::bigint)::float
    FROM job_runs, jsonb_each_text(rows) AS counted (kind, count) GROUP BY job, kind ORDER BY 1, 2
"""
# Told before there is one: no rate is seen in a series that begins with what it should tell.
_ROWS_FROM_ZERO = [(job, kind) for job in ("collect", "load") for kind in ("loaded", "quarantined")]
_OBSERVED = """
    SELECT world, extract(epoch FROM %(now)s - max(observed_at))::float FROM video_snapshots
    WHERE observed_at > %(now)s - %(history)s GROUP BY world
"""
_BUILD_LAG = """
    SELECT extract(epoch FROM
        (SELECT max(observed_at) FROM video_snapshots WHERE observed_at > %(now)s - %(history)s)
        - (SELECT max(event_timestamp) FROM video_performance
            WHERE event_timestamp > %(now)s - %(history)s))::float
"""
_NEWEST_ROWS = sql.SQL("""
    SELECT {key}, extract(epoch FROM max(event_timestamp))::float AS newest FROM {view}
    WHERE event_timestamp > %(now)s - %(history)s AND created_timestamp <= %(now)s
    GROUP BY {key} ORDER BY newest DESC LIMIT %(probed)s
""")
_ASKED = """
    WITH latest AS (
        SELECT as_of, feature_times, degraded FROM forecast_log
        WHERE asked_at > %(now)s - interval '1 day' AND asked_at <= %(now)s
            AND situation = 'published'
        ORDER BY asked_at DESC LIMIT 1000
    )
    SELECT view, percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
            ORDER BY extract(epoch FROM as_of - at::timestamptz)::float),
        (SELECT avg(('stale_features' = ANY(degraded))::int)::float FROM latest)
    FROM latest, json_each_text(feature_times) AS told (view, at)
    WHERE at IS NOT NULL GROUP BY view
"""
_STATUSES = """
    SELECT world, status, count(*)::float FROM forecast_outcomes
    WHERE situation = 'published' AND due_at > %(now)s - %(recent)s AND due_at <= %(now)s
    GROUP BY world, status
"""
_SCORES = """
    SELECT world, metric, coalesce(model_version, 'all'), coalesce(horizon_days, 0)::text,
        coalesce(tier, 'all'), coalesce(format, 'all'), count(DISTINCT video_id)::float,
        avg(abs(error_log10)), avg(abs(persistence_error_log10)), avg(error_log10),
        avg(is_covered::int)::float, avg(width_log10), avg(pinball_log10)
    FROM forecast_outcomes
    WHERE situation = 'published' AND status = 'scored'
        AND due_at > %(now)s - %(recent)s AND due_at <= %(now)s
    GROUP BY world, metric, GROUPING SETS ((), (model_version, horizon_days), (tier), (format))
"""
_DRIFT = """
    SELECT world, kind, name, status, psi, ks, wasserstein, effect FROM drift_results
    WHERE (world, checked_at) IN
        (SELECT world, max(checked_at) FROM drift_results WHERE checked_at <= %(now)s GROUP BY 1)
"""
_SKEW = """
    SELECT world, feature_view, feature, compared, mismatched, missing, extra, behind
    FROM skew_results WHERE (world, checked_at) IN
        (SELECT world, max(checked_at) FROM skew_results WHERE checked_at <= %(now)s GROUP BY 1)
"""

_SCORE_LABELS = ("world", "metric", "model_version", "horizon_days", "tier", "format")
_SCORE_METRICS = {
    "forecast_scored_videos": "Videos whose forecasts met the truth",
    "forecast_error_log10": "Mean absolute error of log10(1 + count)",
    "forecast_persistence_error_log10": "The same, had nothing been forecast to change",
    "forecast_bias_log10": "Mean error of log10(1 + count); positive where forecasts are too low",
    "forecast_interval_coverage_ratio": "Share of truths inside the 80 % interval",
    "forecast_interval_width_log10": "Mean width of the 80 % interval in decades",
    "forecast_pinball_loss_log10": "Mean pinball loss of the three quantiles",
}
_DRIFT_METRICS = ("drift_psi", "drift_ks", "drift_wasserstein", "drift_effect_log10")

Families = Iterator[Metric]
# A part of the metrics; it may raise psycopg's, Redis' and our own errors.
Part = Callable[[Connection, datetime], Families]


class PlatformMetrics(Collector):
    """Reads the platform's state at each scrape.

    A part that cannot be read is left out, so that nobody takes an old number for a new one, and
    `metrics_query_failed{query}` is 1 for it.
    """

    def __init__(
        self,
        database_url: str,
        schema: str,
        redis_url: str,
        clock: Clock,
        others: Mapping[str, Part] | None = None,
    ) -> None:
        """Read from these; `others` are parts of other components, under the same guard."""
        self._database_url, self._schema, self._clock = database_url, schema, clock
        self._redis_url = redis_url
        self._parts: dict[str, Part] = {
            "jobs": _jobs,
            "observations": _observations,
            "features": self._features,
            "asked": _asked,
            "outcomes": _outcomes,
            "drift": _drift,
            "skew": _skew,
            **(others or {}),
        }

    def collect(self) -> Families:
        """Give every family; none of them is kept between scrapes."""
        began = perf_counter()
        failed = GaugeMetricFamily(
            "metrics_query_failed", "1 where a part of the metrics cannot be read", labels=["query"]
        )
        families = list(self._read(failed))
        yield from families
        yield failed
        yield GaugeMetricFamily(
            "metrics_read_seconds", "Time it took to read all metrics", perf_counter() - began
        )

    def _read(self, failed: GaugeMetricFamily) -> Families:
        try:
            now = self._clock()
            with connected(self._database_url, self._schema) as connection:
                connection.execute(BOUNDS)
                for name, part in self._parts.items():
                    yield from _guarded(name, part, connection, now, failed)
        except DatabaseUnavailable:
            failed.add_metric(["database"], 1)

    def _features(self, connection: Connection, now: datetime) -> Families:
        """Compare each view's newest rows with what the online store holds of them."""
        fresh = GaugeMetricFamily(
            "feature_freshness_seconds",
            "Age of the newest row online, by its event; infinite where there is none",
            labels=["feature_view"],
        )
        lag = GaugeMetricFamily(
            "materialization_lag_seconds",
            "How much newer the newest row offline is than the newest one online",
            labels=["feature_view"],
        )
        for view, key in layout.JOIN_KEY_OF_VIEW.items():
            query = _NEWEST_ROWS.format(view=sql.Identifier(view), key=sql.Identifier(key))
            rows = connection.execute(query, _moment(now) | {"probed": _PROBED}).fetchall()
            if not rows:
                continue
            online = self._newest_online(view, key, [row[0] for row in rows])
            fresh.add_metric([view], now.timestamp() - online)
            lag.add_metric([view], max(rows[0][1] - online, 0.0))
        yield from (fresh, lag)

    def _newest_online(self, view: str, key: str, entity_ids: Sequence[str]) -> float:
        encode, field = layout.key_encoder(key), layout.timestamp_field(view)
        with (
            redis.Redis.from_url(
                self._redis_url, socket_timeout=2, socket_connect_timeout=2
            ) as online,
            online.pipeline(transaction=False) as pipeline,
        ):
            for entity_id in entity_ids:
                pipeline.hget(encode(entity_id), field)
            times = [layout.decode_timestamp(found) for found in pipeline.execute()]
        return max((time for time in times if time == time), default=-math.inf)  # NaN: no row


def _guarded(
    name: str,
    part: Part,
    connection: Connection,
    now: datetime,
    failed: GaugeMetricFamily,
) -> Families:
    try:
        families = list(part(connection, now))
    except (psycopg.Error, redis.RedisError, ObservabilityError):
        failed.add_metric([name], 1)
        return
    failed.add_metric([name], 0)
    yield from families


def _jobs(connection: Connection, now: datetime) -> Families:
    age = _gauge("job_last_success_age_seconds", "Since a batch job last succeeded", "batch_job")
    failed = _gauge("job_last_run_failed", "1 if the last run of a batch job failed", "batch_job")
    took = _gauge("job_last_duration_seconds", "How long the last run took", "batch_job")
    for job, seconds, is_failed, duration in connection.execute(_JOBS, _moment(now)):
        age.add_metric([job], math.inf if seconds is None else max(seconds, 0.0))
        failed.add_metric([job], is_failed)
        took.add_metric([job], duration)
    runs = CounterMetricFamily(
        "job_runs",
        "Runs of batch jobs: succeeded, failed; of training, promoted or refused",
        labels=["batch_job", "outcome"],
    )
    for job, outcome, count in connection.execute(_RUNS):
        runs.add_metric([job, outcome], count)
    rows = CounterMetricFamily(
        "job_rows", "Rows that batch jobs dealt with", labels=["batch_job", "kind"]
    )
    counted = dict.fromkeys(_ROWS_FROM_ZERO, 0.0)
    counted |= {(job, kind): count for job, kind, count in connection.execute(_ROWS)}
    for labels, count in counted.items():
        rows.add_metric(labels, count)
    yield from (age, failed, took, runs, rows)


def _observations(connection: Connection, now: datetime) -> Families:
    age = _gauge("observation_age_seconds", "Age of the newest observation of a video", "world")
    for world, seconds in connection.execute(_OBSERVED, _moment(now)):
        age.add_metric([world], seconds)
    lag = _gauge(
        "feature_build_lag_seconds",
        "How much newer the newest observation is than the newest feature row of it",
    )
    row = connection.execute(_BUILD_LAG, _moment(now)).fetchone()
    if row is not None and row[0] is not None:
        lag.add_metric([], max(row[0], 0.0))
    yield from (age, lag)


def _asked(connection: Connection, now: datetime) -> Families:
    ages = _gauge(
        "asked_feature_age_seconds",
        "Age of features when asked for, over the day's last thousand forecasts",
        "feature_view",
        "quantile",
    )
    stale = _gauge("asked_stale_ratio", "Share of those forecasts that called them stale")
    for view, quantiles, share in connection.execute(_ASKED, _moment(now)):
        for quantile, seconds in zip(("0.5", "0.99"), quantiles, strict=True):
            ages.add_metric([view, quantile], seconds)
        stale.samples = []
        stale.add_metric([], share)
    yield from (ages, stale)


def _outcomes(connection: Connection, now: datetime) -> Families:
    statuses = _gauge(
        "forecast_outcomes", "Answers whose horizon closed in the last 28 days", "world", "status"
    )
    for world, status, count in connection.execute(_STATUSES, _moment(now)):
        statuses.add_metric([world, status], count)
    yield statuses
    families = [_gauge(name, told, *_SCORE_LABELS) for name, told in _SCORE_METRICS.items()]
    for row in connection.execute(_SCORES, _moment(now)):
        labels, values = row[: len(_SCORE_LABELS)], row[len(_SCORE_LABELS) :]
        for family, value in zip(families, values, strict=True):
            if value is not None:
                family.add_metric(labels, value)
    yield from families


def _drift(connection: Connection, now: datetime) -> Families:
    state = _gauge(
        "drift_state", "1 for the state each was found in", "world", "kind", "name", "status"
    )
    told = "Against the champion's reference, at the last check"
    families = [_gauge(name, told, "world", "kind", "name") for name in _DRIFT_METRICS]
    for world, kind, name, status, *values in connection.execute(_DRIFT, _moment(now)):
        state.add_metric([world, kind, name, status], 1)
        for family, value in zip(families, values, strict=True):
            if value is not None:
                family.add_metric([world, kind, name], value)
    yield from (state, *families)


def _skew(connection: Connection, now: datetime) -> Families:
    values = _gauge(
        "skew_values",
        "Feature values of the last check: compared, mismatched, missing, extra, behind",
        "world",
        "result",
    )
    features = _gauge(
        "skew_differing_values",
        "Values that differ online and offline, of features that have any",
        "world",
        "feature_view",
        "feature",
    )
    totals: dict[str, list[int]] = {}
    for world, view, feature, *counts in connection.execute(_SKEW, _moment(now)):
        total = totals.setdefault(world, [0] * len(counts))
        totals[world] = [sum(pair) for pair in zip(total, counts, strict=True)]
        if differing := sum(counts[1:4]):
            features.add_metric([world, view, feature], differing)
    for world, counts in totals.items():
        names = ("compared", "mismatched", "missing", "extra", "behind")
        for result, count in zip(names, counts, strict=True):
            values.add_metric([world, result], count)
    yield from (values, features)


def _gauge(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=list(labels))


def _moment(now: datetime) -> dict[str, Any]:
    return {"now": now, "recent": RECENT, "history": _FEATURE_HISTORY}
