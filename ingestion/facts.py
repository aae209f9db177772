"""What must hold of whole tables: keys, references, order of time, volume, freshness; by SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy import Engine, text

from ingestion.suites import Check

# A week with less than this share of the median of the four before it is worth a look.
LEAST_VOLUME, MOST_HOURS = 0.5, 26.0


def _volume(table: str, moment: str) -> str:
    """Give the rows of the last week over the median of the four before it; null without these."""
    return f"""
        WITH weeks AS (SELECT count(t.{moment}) AS rows, week
            FROM generate_series(0, 4) AS week LEFT JOIN {table} t
            ON t.{moment} > CAST(:now AS timestamptz) - (week + 1) * interval '7 days'
            AND t.{moment} <= CAST(:now AS timestamptz) - week * interval '7 days'
            GROUP BY week)
        SELECT max(rows) FILTER (WHERE week = 0) / nullif(percentile_cont(0.5)
            WITHIN GROUP (ORDER BY rows) FILTER (WHERE week > 0), 0) FROM weeks"""


_FACTS: Mapping[str, str] = {
    "duplicate_snapshots": """
        SELECT count(*) FROM (SELECT FROM video_snapshots
        GROUP BY video_id, observed_at, ingested_at HAVING count(*) > 1) t""",
    "repeated_observations": """
        SELECT count(*) FROM (SELECT FROM video_snapshots
        GROUP BY video_id, observed_at, view_count, like_count, comment_count
        HAVING count(*) > 1) t""",
    "snapshots_without_metadata": """
        SELECT count(DISTINCT s.video_id) FROM video_snapshots s WHERE NOT EXISTS
        (SELECT FROM video_metadata m WHERE m.video_id = s.video_id)""",
    "performance_without_snapshots": """
        SELECT count(DISTINCT f.video_id) FROM video_performance f WHERE NOT EXISTS
        (SELECT FROM video_snapshots s WHERE s.video_id = f.video_id)""",
    "ingested_before_observed": """
        SELECT count(*) FROM video_snapshots WHERE ingested_at < observed_at""",
    "features_created_before_event": """
        SELECT (SELECT count(*) FROM video_performance
                WHERE created_timestamp < event_timestamp)
             + (SELECT count(*) FROM channel_track_record
                WHERE created_timestamp < event_timestamp)""",
    "views_that_fell": """
        SELECT count(*) FROM (SELECT view_count - lag(view_count) OVER
        (PARTITION BY video_id ORDER BY observed_at) AS gain FROM video_snapshots
        WHERE observed_at > CAST(:now AS timestamptz) - interval '7 days') t WHERE gain < 0""",
    "hours_since_last_observation": """
        SELECT extract(epoch FROM CAST(:now AS timestamptz) - max(observed_at)) / 3600
        FROM video_snapshots""",
    "hours_since_last_features": """
        SELECT extract(epoch FROM CAST(:now AS timestamptz) - max(event_timestamp)) / 3600
        FROM video_performance""",
    "volume_against_recent_weeks": _volume("video_snapshots", "observed_at"),
    "features_against_recent_weeks": _volume("video_performance", "event_timestamp"),
}

CHECKS = (
    Check("duplicate_snapshots", "at_most", "duplicate_keys", 0),
    Check("repeated_observations", "at_most", "observed_twice", 0, "warning"),
    Check("snapshots_without_metadata", "at_most", "metadata_missing", 0, "warning"),
    Check("performance_without_snapshots", "at_most", "features_of_nothing", 0),
    Check("ingested_before_observed", "at_most", "ingested_before_observed", 0),
    Check("features_created_before_event", "at_most", "features_known_too_early", 0),
    Check("hours_since_last_observation", "at_most", "stale", MOST_HOURS, "warning"),
    Check("hours_since_last_features", "at_most", "features_stale", MOST_HOURS, "warning"),
    Check("volume_against_recent_weeks", "at_least", "volume_fell", LEAST_VOLUME, "warning"),
    Check("features_against_recent_weeks", "at_least", "features_fell", LEAST_VOLUME, "warning"),
    # YouTube corrects counts: no failure, and worth a look where there are many.
    Check("views_that_fell", "at_most", "views_fell", 0, "warning"),
)


@dataclass(frozen=True)
class Facts:
    """The figures of the warehouse at a moment; null where there is nothing to tell from."""

    values: Mapping[str, float | None]

    def table(self) -> pa.Table:
        """Give them as one row."""
        return pa.table({name: pa.array([v], pa.float64()) for name, v in self.values.items()})


def read_facts(engine: Engine, now: datetime) -> Facts:
    """Read the figures; a scan of the tables each."""
    with engine.connect() as connection:
        found = {
            name: connection.execute(text(query), {"now": now} if ":now" in query else {}).scalar()
            for name, query in _FACTS.items()
        }
    return Facts({name: None if v is None else float(v) for name, v in found.items()})
