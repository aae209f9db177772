"""Retention in PostgreSQL: which rows go, and which receipts lose what they say."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from feature_repo.schemas import FEATURE_TABLES

# Collected from the real API: what was imported carries the moment of its observation.
_IS_COLLECTED = "world = 'real' AND ingested_at > observed_at"
_COLLECTED = f"{_IS_COLLECTED} AND observed_at < :before"
_OBSERVATIONS = ("video_snapshots", "video_metadata", "video_metadata_seen", "channel_snapshots")
# Receipts keep their number and nothing else: who asks for one is told that it is gone.
_EMPTY_RECEIPT = (
    "UPDATE forecast_log SET request = '{}', vector = '{}', feature_times = '{}', answer = '{}', "
    "layout = NULL, features = NULL, video_id = NULL, channel_id = NULL, "
    "degraded = ARRAY['purged']"
)
_AFFECTED_VIDEOS = text(f"""
    SELECT DISTINCT video_id FROM video_snapshots s WHERE {_COLLECTED} AND NOT EXISTS (
        SELECT FROM video_snapshots newer
        WHERE newer.video_id = s.video_id AND newer.observed_at >= :before)
""")
# Channels of which neither a video nor a look of their own is left.
_AFFECTED_CHANNELS = text("""
    SELECT channel_id FROM (
        SELECT channel_id FROM channel_snapshots WHERE world = 'real'
            AND ingested_at > observed_at AND observed_at < :before
        UNION SELECT channel_id FROM video_metadata WHERE video_id = ANY(:videos)
    ) c WHERE NOT EXISTS (SELECT FROM channel_snapshots newer
            WHERE newer.channel_id = c.channel_id
            AND (newer.observed_at >= :before OR newer.ingested_at = newer.observed_at))
        AND NOT EXISTS (SELECT FROM video_metadata m JOIN video_snapshots s USING (video_id)
            WHERE m.channel_id = c.channel_id AND m.video_id <> ALL(:videos))
""")
_CHANNELS_WITHOUT_VIDEOS = text("""
    SELECT DISTINCT channel_id FROM video_metadata m WHERE video_id = :video AND NOT EXISTS (
        SELECT FROM video_metadata other
        WHERE other.channel_id = m.channel_id AND other.video_id <> :video)
""")


# Features of a video go where it was collected.
_OF_COLLECTED_VIDEOS = f"video_id IN (SELECT video_id FROM video_snapshots WHERE {_IS_COLLECTED})"
# A channel may be known by its videos alone, and an earlier purge may have left it nothing but
# features: what is neither imported nor of a synthetic world was collected.
_OF_COLLECTED_CHANNELS = f"""(
    channel_id IN (SELECT channel_id FROM channel_snapshots WHERE {_IS_COLLECTED})
    OR channel_id IN (SELECT channel_id FROM video_metadata
        WHERE video_id IN (SELECT video_id FROM video_snapshots WHERE {_IS_COLLECTED}))
    OR channel_id NOT IN (
        SELECT channel_id FROM channel_snapshots WHERE NOT ({_IS_COLLECTED})
        UNION ALL SELECT channel_id FROM video_metadata WHERE NOT ({_IS_COLLECTED}))
)"""


def affected_entities(
    engine: Engine, video_id: str | None, before: datetime | None
) -> dict[str, list[str]]:
    """Name the videos and channels of whose observations nothing is left after a purge."""
    with engine.connect() as connection:
        if video_id is not None:
            channels = connection.scalars(_CHANNELS_WITHOUT_VIDEOS, {"video": video_id}).all()
            return {"video_id": [video_id], "channel_id": list(channels)}
        videos = list(connection.scalars(_AFFECTED_VIDEOS, {"before": before}))
        asked = {"before": before, "videos": videos}
        return {
            "video_id": videos,
            "channel_id": list(connection.scalars(_AFFECTED_CHANNELS, asked)),
        }


def purge_tables(
    engine: Engine,
    video_id: str | None,
    before: datetime | None,
    channels: Sequence[str],
    *,
    dry_run: bool,
) -> dict[str, int]:
    """Delete rows, all or nothing; give how many by table.

    Args:
        engine: The warehouse.
        video_id: The video that goes, or null.
        before: Since when what was collected stays, or null.
        channels: Those of which nothing else is left.
        dry_run: Count only.
    """
    with engine.begin() as connection:
        if video_id is not None:
            found = _purge_video(connection, video_id, channels)
        else:
            assert before is not None
            found = _purge_old(connection, before)
        if dry_run:
            connection.rollback()
    return found


def _purge_video(connection: Connection, video_id: str, channels: Sequence[str]) -> dict[str, int]:
    tables = ["video_snapshots", "video_metadata", "video_metadata_seen", "forecast_outcomes"]
    tables += [name for name, schema in FEATURE_TABLES.items() if schema.names[0] == "video_id"]
    statements = {name: f"DELETE FROM {name} WHERE video_id = :video" for name in tables}
    statements["collection_targets"] = (
        "DELETE FROM collection_targets WHERE kind = 'video' AND target_id = :video"
    )
    # What a channel's features say of its only video goes with it.
    for name in (n for n, schema in FEATURE_TABLES.items() if schema.names[0] == "channel_id"):
        statements[name] = f"DELETE FROM {name} WHERE channel_id = ANY(:channels)"
    statements["quarantine"] = "DELETE FROM quarantine WHERE position(:video IN item::text) > 0"
    statements["forecast_log"] = f"{_EMPTY_RECEIPT} WHERE video_id = :video"
    return _run(connection, statements, {"video": video_id, "channels": list(channels)})


def _purge_old(connection: Connection, before: datetime) -> dict[str, int]:
    statements = {}
    # Features are what was observed, said otherwise: those of collected moments go with them.
    for name, schema in FEATURE_TABLES.items():
        is_of_channels = schema.names[0] == "channel_id"
        collected = _OF_COLLECTED_CHANNELS if is_of_channels else _OF_COLLECTED_VIDEOS
        statements[name] = f"DELETE FROM {name} WHERE event_timestamp < :before AND {collected}"
    for name in _OBSERVATIONS:
        statements[name] = f"DELETE FROM {name} WHERE {_COLLECTED}"
    # What a creator wrote is refreshed by every look that finds it unchanged.
    statements["video_metadata"] += (
        " AND NOT EXISTS (SELECT FROM video_metadata_seen seen WHERE "
        "seen.video_id = video_metadata.video_id AND seen.digest = video_metadata.digest "
        "AND seen.observed_at >= :before)"
    )
    statements["quarantine"] = (
        "DELETE FROM quarantine WHERE world = 'real' AND quarantined_at < :before"
    )
    statements["forecast_outcomes"] = (
        "DELETE FROM forecast_outcomes WHERE world = 'real' AND as_of < :before"
    )
    statements["forecast_log"] = (
        f"{_EMPTY_RECEIPT} WHERE world = 'real' AND asked_at < :before "
        "AND NOT 'purged' = ANY(degraded)"
    )
    return _run(connection, statements, {"before": before})


def _run(
    connection: Connection, statements: dict[str, str], values: dict[str, Any]
) -> dict[str, int]:
    return {
        name: connection.execute(text(statement), values).rowcount
        for name, statement in statements.items()
    }
