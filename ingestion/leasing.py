"""Which targets are due, handed out to collectors: no two of them look at the same at once."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import Engine, text

from ingestion import planner
from ingestion.targets import Kind, Target

# A collector that dies loses what it holds after this long.
LEASE = timedelta(minutes=15)

_COLUMNS = [f"t.{field.name}" for field in fields(Target)]
_LEASE = """
    WITH due AS (
        SELECT kind, target_id FROM collection_targets
        WHERE world = :world AND kind = :kind AND gone_at IS NULL AND {due} <= :until
            AND (leased_until IS NULL OR leased_until <= :now)
        ORDER BY label_due_at > :now NULLS LAST, {due}, target_id
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE collection_targets t SET leased_until = :leased_until FROM due
    WHERE t.kind = due.kind AND t.target_id = due.target_id
    RETURNING {columns}
"""
_RELEASE = text(
    "UPDATE collection_targets SET leased_until = NULL WHERE kind = :kind AND target_id = ANY(:ids)"
)
# Forecasts whose moment of truth comes before the units of the day end, or was just missed.
_LABELS = text("""
    SELECT t.target_id, t.last_observed_at, t.published_at, array_agg(DISTINCT l.due_at) AS labels
    FROM collection_targets t JOIN (
        SELECT f.video_id, f.as_of + days::int * interval '1 day' AS due_at
        FROM forecast_log f, json_array_elements_text(f.request -> 'days') AS days
        WHERE f.world = :world AND f.situation = 'published' AND f.video_id IS NOT NULL
            AND f.asked_at > CAST(:now AS timestamptz) - interval '32 days'
    ) l ON l.video_id = t.target_id
    WHERE t.kind = 'video' AND t.gone_at IS NULL AND t.label_due_at IS NULL
        AND l.due_at BETWEEN CAST(:now AS timestamptz) - interval '6 hours' AND :until
        AND coalesce(t.last_observed_at, '-infinity') < l.due_at
    GROUP BY t.target_id, t.last_observed_at, t.published_at
""")
_SCHEDULE = """
    UPDATE collection_targets t
    SET label_due_at = l.due_at, next_due_at = least(t.next_due_at, l.due_at)
    FROM (VALUES %s) AS l (target_id, due_at)
    WHERE t.kind = 'video' AND t.target_id = l.target_id AND t.label_due_at IS NULL
"""
_WAITING_LABELS = text("""
    SELECT count(*) FROM collection_targets WHERE world = :world AND kind = 'video'
        AND gone_at IS NULL AND label_due_at IS NOT NULL
""")
_RHYTHM = text("""
    SELECT c.target_id, array(
        SELECT v.published_at FROM collection_targets v
        WHERE v.kind = 'video' AND v.channel_id = c.target_id AND v.published_at IS NOT NULL
        ORDER BY v.published_at DESC LIMIT 10
    ) AS published
    FROM unnest(CAST(:ids AS text[])) AS c (target_id)
""")


class Leases:
    """The targets of one world, as collectors take them."""

    def __init__(self, engine: Engine, world: str) -> None:
        self._engine = engine
        self._world = world

    def due(
        self,
        kind: Kind,
        now: datetime,
        *,
        limit: int,
        until: datetime | None = None,
        by: str = "next_due_at",
    ) -> list[Target]:
        """Take up to `limit` targets that are due until a moment, those with labels first."""
        statement = text(_LEASE.format(due=by, columns=", ".join(_COLUMNS)))
        asked = {
            "world": self._world,
            "kind": kind,
            "now": now,
            "until": until or now,
            "limit": limit,
            "leased_until": now + LEASE,
        }
        with self._engine.begin() as connection:
            return [Target(**row) for row in connection.execute(statement, asked).mappings()]

    def release(self, targets: Iterable[Target]) -> None:
        """Let go of targets that were not looked at."""
        by_kind: dict[str, list[str]] = {}
        for target in targets:
            by_kind.setdefault(target.kind, []).append(target.target_id)
        with self._engine.begin() as connection:
            for kind, ids in by_kind.items():
                connection.execute(_RELEASE, {"kind": kind, "ids": sorted(ids)})

    def schedule_labels(self, now: datetime, until: datetime) -> int:
        """Make videos due where forecasts meet the truth; give how many wait for it today."""
        asked = {"world": self._world, "now": now, "until": until + planner.LABEL_BRACKET}
        with self._engine.begin() as connection:
            rows = connection.execute(_LABELS, asked).all()
            looks = [(r.target_id, _first_look(r)) for r in rows]
            soon = sorted((name, at) for name, at in looks if at is not None and at <= until)
            if soon:
                cursor: Any = connection.connection.cursor()
                execute_values(cursor, _SCHEDULE, soon, "(%s, %s::timestamptz)", page_size=1000)
            return int(connection.scalar(_WAITING_LABELS, {"world": self._world}) or 0)

    def rhythms(self, channel_ids: Sequence[str]) -> dict[str, list[datetime]]:
        """Give when the latest known videos of channels were published."""
        with self._engine.connect() as connection:
            rows = connection.execute(_RHYTHM, {"ids": list(channel_ids)}).all()
        return {row.target_id: list(row.published) for row in rows}

    def known(self, kind: Kind, ids: Iterable[str]) -> set[str]:
        """Tell which ids are targets already, also those that are gone."""
        query = text(
            "SELECT target_id FROM collection_targets WHERE kind = :kind AND target_id = ANY(:ids)"
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query, {"kind": kind, "ids": list(ids)}))

    def purged(self, video_ids: Iterable[str]) -> set[str]:
        """Tell which videos were purged by name: what a certificate names."""
        query = text(
            "SELECT certificate #>> '{selection,video_id}' FROM purges"
            " WHERE certificate #>> '{selection,video_id}' = ANY(:ids)"
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query, {"ids": list(video_ids)}))


def _first_look(row: Any) -> datetime | None:
    """Give the first look that the labels of a video ask for."""
    looks = [planner.label_look(at, row.last_observed_at, row.published_at) for at in row.labels]
    return min((at for at in looks if at is not None), default=None)
