"""What routes ask of PostgreSQL beside the forecast log: a channel's videos, targets, scores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from serving.champion import REAL
from serving.errors import WarehouseUnavailable

_SECONDS = 3.0
_CONNECT_SECONDS = 2
_LIST_BUCKET = "list"
_QUOTA_ZONE = ZoneInfo("America/Los_Angeles")  # YouTube's quota days begin at midnight there


class Warehouse:
    """The platform's tables, each question on a connection of its own: none is asked often."""

    def __init__(self, url: str, schema: str) -> None:
        self._url, self._schema = url, schema

    async def latest_videos(self, channel_id: str, world: str, most: int) -> list[str]:
        """Give the ids of a channel's videos, the latest first. Raises WarehouseUnavailable."""
        query = """
            SELECT video_id FROM video_metadata WHERE channel_id = %s AND world = %s
            GROUP BY video_id ORDER BY max(published_at) DESC, video_id LIMIT %s
        """
        rows = await self._rows(query, [channel_id, world, most])
        return [row["video_id"] for row in rows]

    async def outcomes(self, forecast_id: UUID) -> list[dict[str, Any]]:
        """Give what became of a forecast's numbers, as far as known."""
        query = """
            SELECT metric, horizon_days, status, observed_count, known_at, is_covered, error_log10
            FROM forecast_outcomes WHERE forecast_id = %s ORDER BY metric, horizon_days
        """
        return await self._rows(query, [forecast_id])

    async def scorecard(self, world: str) -> list[dict[str, Any]]:
        """Give how past forecasts did, by metric, horizon and tier; `all` and null for totals."""
        query = """
            SELECT situation, metric, nullif(horizon_days, 0) AS horizon_days, tier, scored,
                closed, label_coverage, mae_log10, rmse_log10, bias_log10, skill, coverage_80,
                width_80_log10, mdape, first_due_at, last_due_at
            FROM scorecard WHERE world = %s AND model_version = 'all' AND format = 'all'
            ORDER BY situation, metric, scorecard.horizon_days, tier
        """
        return await self._rows(query, [world])

    async def add_target(
        self, kind: str, target_id: str, world: str, now: datetime
    ) -> tuple[bool, dict[str, Any]]:
        """Track a video or channel; tell whether it is new, and its row.

        One that was given up is looked at again.
        """
        add = """
            INSERT INTO collection_targets (kind, target_id, world, added_at, next_due_at)
            VALUES (%(kind)s, %(id)s, %(world)s, %(now)s, %(now)s)
            ON CONFLICT (kind, target_id) DO UPDATE
                SET gone_at = NULL, missing_checks = 0, next_due_at = %(now)s
                WHERE collection_targets.gone_at IS NOT NULL
            RETURNING next_due_at, last_observed_at, world
        """
        given = {"kind": kind, "id": target_id, "world": world, "now": now}
        added = await self._rows(add, given)
        if added:
            return True, added[0]
        query = """
            SELECT next_due_at, last_observed_at, world FROM collection_targets
            WHERE kind = %(kind)s AND target_id = %(id)s
        """
        return False, (await self._rows(query, given))[0]

    async def quota_resets_at(self, world: str, now: datetime) -> datetime | None:
        """Give when a first look is possible again; None while there are units left for it.

        It is a list call that no label waits for: units kept for labels are not for it, and none
        are left once YouTube itself said so.
        """
        day = now.astimezone(_QUOTA_ZONE).date()
        bucket = _LIST_BUCKET if world == REAL else f"{_LIST_BUCKET}@{world}"  # as ingestion's
        query = """
            SELECT bucket FROM quota_ledger WHERE quota_day = %s AND bucket = %s
                AND (refused_at IS NOT NULL OR used >= "limit" - reserved)
        """
        if not await self._rows(query, [day, bucket]):
            return None
        midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), _QUOTA_ZONE)
        return midnight.astimezone(now.tzinfo)

    async def _rows(self, query: str, given: Any) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(_SECONDS), self._connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(query.encode(), given)
                return await cursor.fetchall()
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise WarehouseUnavailable(
                f"The database (FOREVIEW_DATABASE_URL) does not answer: {type(error).__name__}"
            ) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
        async with connection:
            await connection.execute(
                sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema))
            )
            yield connection
