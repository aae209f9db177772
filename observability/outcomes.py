"""Logged forecasts meet the truth as their horizons close; incremental and safe to repeat."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.rows import DictRow, dict_row

from feature_repo.segments import view_definition
from feature_repo.targets import MAX_HORIZON_DAYS
from observability.database import Connection
from observability.scoring import (
    GIVE_UP_AFTER,
    Answered,
    Circumstances,
    Look,
    Scores,
    score,
    truth,
)

_BATCH = 2_000
# A forecast may be logged this much after it was asked for, while the database was away.
_LOG_LAG = timedelta(days=2)
# A draft is the video of its title that came out so near the plan, asked about so long before.
_OFF_PLAN = timedelta(days=2)
_PLANNED_AHEAD = timedelta(days=90)

COLUMNS = (
    "forecast_id", "metric", "horizon_days", "world", "situation", "model_version", "model_digest",
    "video_id", "channel_id", "tier", "format", "as_of", "due_at", "current_count", "p10", "p50",
    "p90", "is_degraded", "status", "observed_count", "known_at", "is_late", "error_log10",
    "persistence_error_log10", "is_covered", "width_log10", "pinball_log10",
    "absolute_percentage_error", "scored_at",
)  # fmt: skip
_FROM_LOG = COLUMNS[: COLUMNS.index("status")]

# What an answer was about and from when its horizons count. A draft is about the video that its
# channel published under its very title within two days of the plan, and after it was asked about;
# most drafts are never published as they were asked about, and have no outcome.
_ABOUT = """
    SELECT log.*, log.video_id AS about, log.as_of AS counted_from FROM forecast_log AS log
    WHERE log.situation = 'published' AND log.video_id IS NOT NULL AND log.asked_at >= %(since)s
    UNION ALL
    SELECT log.*, published.video_id, published.published_at FROM forecast_log AS log
    JOIN LATERAL (
        SELECT video_id, published_at FROM video_metadata AS told
        WHERE told.channel_id = log.channel_id AND told.title = log.request->'draft'->>'title'
            AND told.published_at > log.asked_at
            AND told.published_at BETWEEN log.as_of - %(off_plan)s AND log.as_of + %(off_plan)s
        ORDER BY abs(extract(epoch FROM told.published_at - log.as_of)), video_id LIMIT 1
    ) AS published ON true
    WHERE log.situation = 'draft' AND log.asked_at >= %(since)s - %(planned_ahead)s
        AND log.as_of >= %(since)s - %(off_plan)s
"""
# Every answered number whose horizon has closed and whose truth is not known for good.
_DUE = f"""
    SELECT log.forecast_id, metric, (answered->>'horizon_days')::integer AS horizon_days,
        log.world, log.situation, log.model_version, log.model_digest, log.about AS video_id,
        log.channel_id, log.vector->>'tier' AS tier, log.as_of,
        log.counted_from + (answered->>'horizon_days')::integer * interval '24 hours' AS due_at,
        (answers->>'current')::bigint AS current_count,
        (answered->>'p10')::bigint AS p10, (answered->>'p50')::bigint AS p50,
        (answered->>'p90')::bigint AS p90,
        cardinality(log.degraded) > 0 AS is_degraded
    FROM ({_ABOUT}) AS log,
        json_each(log.answer->'metrics') AS asked (metric, answers),
        json_array_elements(answers->'forecasts') AS answered
    WHERE answered->>'p50' IS NOT NULL
"""
_OPEN = f"""
    SELECT due.* FROM ({_DUE}) AS due
    LEFT JOIN forecast_outcomes AS known USING (forecast_id, metric, horizon_days)
    WHERE due.due_at <= %(now)s AND (
        known.status IS NULL OR known.status = 'waiting'
        OR (known.status <> 'scored' AND due.due_at > %(now)s - %(give_up)s))
"""
_LOOK = """
    SELECT {count} AS count, observed_at, ingested_at, view_definition
    FROM video_snapshots AS look
    WHERE look.video_id = due.video_id AND {when} AND {count} IS NOT NULL
    ORDER BY observed_at {order}, ingested_at DESC LIMIT 1
"""
_COUNT = """CASE due.metric WHEN 'views' THEN view_count WHEN 'likes' THEN like_count
    ELSE comment_count END"""
_BEFORE = _LOOK.format(count=_COUNT, when="look.observed_at <= due.due_at", order="DESC")
_AFTER = _LOOK.format(count=_COUNT, when="look.observed_at >= due.due_at", order="ASC")
# The observation that the forecast started from: what a view was then, and the video's format. A
# draft started from none: the last one before the truth tells. Where it is no longer kept, which a
# purge comes to before the receipt, the first one that is tells the format.
_CIRCUMSTANCES = f"""
    SELECT due.*, coalesce(start.format, kept.format, 'unknown') AS format,
        start.view_definition AS definition,
        before.count AS before_count, before.observed_at AS before_observed_at,
        before.ingested_at AS before_ingested_at, before.view_definition AS before_definition,
        after.count AS after_count, after.observed_at AS after_observed_at,
        after.ingested_at AS after_ingested_at, after.view_definition AS after_definition,
        EXISTS (SELECT 1 FROM video_snapshots AS look WHERE look.video_id = due.video_id
            AND look.observed_at >= due.due_at) AS was_seen_after,
        (SELECT published_at FROM video_metadata AS told WHERE told.video_id = due.video_id
            ORDER BY observed_at DESC LIMIT 1) AS published_at,
        EXISTS (SELECT 1 FROM collection_targets AS target WHERE target.kind = 'video'
            AND target.target_id = due.video_id AND target.gone_at IS NOT NULL) AS is_gone
    FROM ({_OPEN}) AS due
    LEFT JOIN LATERAL (SELECT format, view_definition FROM video_snapshots AS look
        WHERE look.video_id = due.video_id AND look.observed_at <=
            CASE due.situation WHEN 'draft' THEN due.due_at ELSE due.as_of END
        ORDER BY observed_at DESC, ingested_at DESC LIMIT 1) AS start ON true
    LEFT JOIN LATERAL (SELECT format FROM video_snapshots AS look
        WHERE start.format IS NULL AND look.video_id = due.video_id
        ORDER BY observed_at, ingested_at DESC LIMIT 1) AS kept ON true
    LEFT JOIN LATERAL ({_BEFORE}) AS before ON true
    LEFT JOIN LATERAL ({_AFTER}) AS after ON true
"""
# Where to begin: all that closed before the last run was looked at then, but for what is open.
_SINCE = """
    SELECT last.started_at - %(reach)s, (
        SELECT min(as_of) FROM forecast_outcomes
        WHERE status = 'waiting' OR (status <> 'scored' AND due_at > %(now)s - %(give_up)s))
    FROM job_runs AS last
    WHERE job = 'outcomes' AND outcome <> 'failed' AND started_at <= %(now)s
    ORDER BY started_at DESC LIMIT 1
"""
_BEGINNING = datetime(2005, 1, 1, tzinfo=UTC)
# In one order for all runs: of two at once, each could wait for a row of the other.
_UPSERT = f"""
    INSERT INTO forecast_outcomes ({", ".join(COLUMNS)})
    SELECT {", ".join(COLUMNS)} FROM judged ORDER BY forecast_id, metric, horizon_days
    ON CONFLICT (forecast_id, metric, horizon_days) DO UPDATE SET {
    ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[COLUMNS.index("status") :])
}
    WHERE forecast_outcomes.status <> 'scored'
"""

Progress = Callable[[int], None]


def judge_due(
    connection: Connection, now: datetime, progress: Progress = lambda _: None
) -> Counter[str]:
    """Set every forecast whose horizon closed by `now` beside the truth, as far as that is known.

    A truth once found stands; a forecast without one is looked at again until a week after its
    horizon closed, since rows arrive late and videos come back. Each batch is committed by itself,
    so that a run that was cut off is continued by the next.

    Returns:
        How many answers were looked at, by status.
    """
    counts: Counter[str] = Counter()
    for batch in _open_forecasts(connection, now):
        rows = [_judged(row, now) for row in batch]
        _write(connection, rows)
        counts.update(str(row[COLUMNS.index("status")]) for row in rows)
        progress(counts.total())
    return counts


def refresh_scorecard(connection: Connection) -> None:
    """Bring the scorecard up to date; whoever reads it meanwhile sees the last one."""
    connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY scorecard")


def _open_forecasts(connection: Connection, now: datetime) -> Iterator[list[DictRow]]:
    reach = timedelta(days=MAX_HORIZON_DAYS) + _LOG_LAG
    asked: dict[str, Any] = {
        "now": now, "give_up": GIVE_UP_AFTER, "reach": reach, "off_plan": _OFF_PLAN,
        "planned_ahead": _PLANNED_AHEAD,
    }  # fmt: skip
    borders = connection.execute(_SINCE, asked).fetchone() or (_BEGINNING,)
    asked["since"] = min(border for border in borders if border is not None)
    # WITH HOLD: the batches in between are committed.
    with connection.cursor("open_forecasts", row_factory=dict_row, withhold=True) as cursor:
        cursor.execute(_CIRCUMSTANCES, asked)
        while batch := cursor.fetchmany(_BATCH):
            yield batch


def _judged(row: DictRow, now: datetime) -> tuple[Any, ...]:
    found = truth(
        Circumstances(
            row["due_at"],
            row["published_at"],
            row["definition"] or view_definition(row["format"], row["as_of"]),
            _look(row, "before"),
            _look(row, "after"),
            row["was_seen_after"],
            row["is_gone"],
        ),
        now,
    )
    scores: Scores | tuple[None, ...] = (None,) * len(Scores._fields)
    if found.value is not None:
        answered = Answered(row["current_count"], row["p10"], row["p50"], row["p90"])
        scores = score(answered, found.value)
    return (*(row[name] for name in _FROM_LOG), *found, *scores, now)


def _look(row: DictRow, side: str) -> Look | None:
    if row[f"{side}_count"] is None:
        return None
    return Look(
        row[f"{side}_count"],
        row[f"{side}_observed_at"],
        row[f"{side}_ingested_at"],
        row[f"{side}_definition"],
    )


def _write(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE judged (LIKE forecast_outcomes INCLUDING DEFAULTS) "
            "ON COMMIT DROP"
        )
        with cursor.copy(f"COPY judged ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(_UPSERT)
