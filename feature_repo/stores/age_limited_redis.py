"""Redis online store that reads no row beyond its age limit, and lets corrections replace."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.redis import (
    RedisOnlineStore,
    RedisOnlineStoreConfig,
    _versioned_fv_name,
)
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import make_tzaware
from pydantic import field_validator

from feature_repo import online_layout as layout
from feature_repo.clock import Clock, open_clock, system_clock
from feature_repo.statuses import age_limit_seconds

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Written = tuple[bytes, dict[bytes, bytes]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AgeLimitedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """The stock settings, and the clock that ages are told by."""

    type: Literal["feature_repo.stores.age_limited_redis.AgeLimitedRedisOnlineStore"] = (
        "feature_repo.stores.age_limited_redis.AgeLimitedRedisOnlineStore"
    )
    clock: str = "system"

    @field_validator("clock")
    @classmethod
    def _system_where_unset(cls, clock: str) -> str:
        """Feast's own command line leaves a variable that is not set as it is written."""
        return "system" if clock.startswith("$") else clock


class AgeLimitedRedisOnlineStore(RedisOnlineStore):
    """Feast's Redis store with two rules more; the bytes it writes are the same.

    A row older than its view's age limit is read as nulls, as history has it: the stock store has
    no such rule. Of rows with one event time the last created stands: the stock store keeps the
    first, so that a correction would never be read.
    """

    _clock: Clock = staticmethod(system_clock)

    def _get_client(self, online_store_config: AgeLimitedRedisOnlineStoreConfig) -> Any:
        self._clock = open_clock(online_store_config.clock)
        return super()._get_client(online_store_config)

    async def _get_client_async(self, online_store_config: AgeLimitedRedisOnlineStoreConfig) -> Any:
        self._clock = open_clock(online_store_config.clock)
        return await super()._get_client_async(online_store_config)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the latest row of each entity, unless what is stored is newer."""
        rows, view = _latest(config, data), _versioned_fv_name(table, config)
        client = self._get_client(config.online_store)
        with client.pipeline(transaction=False) as pipe:
            for key in rows:
                pipe.hget(key, layout.timestamp_field(view))
            stored = pipe.execute()
            self._queue(pipe, config, _newer(view, rows, stored))
            pipe.execute()
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write as `online_write_batch` does."""
        rows, view = _latest(config, data), _versioned_fv_name(table, config)
        client = await self._get_client_async(config.online_store)
        async with client.pipeline(transaction=False) as pipe:
            for key in rows:
                pipe.hget(key, layout.timestamp_field(view))
            stored = await pipe.execute()
            self._queue(pipe, config, _newer(view, rows, stored))
            await pipe.execute()
        if progress:
            progress(len(data))

    def _queue(self, pipe: Any, config: RepoConfig, written: list[Written]) -> None:
        for key, fields in written:
            pipe.hset(key, mapping=fields)
            if config.online_store.key_ttl_seconds:
                pipe.expire(name=key, time=config.online_store.key_ttl_seconds)

    def _convert_redis_values_to_protobuf(
        self,
        redis_values: Sequence[Sequence[bytes | None]],
        feature_view: str,
        requested_features: list[str],
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        rows = super()._convert_redis_values_to_protobuf(
            redis_values, feature_view, requested_features
        )
        limit, now = age_limit_seconds(feature_view), self._clock().timestamp()
        return [
            (moment, dict.fromkeys(values, Value()))
            if moment is not None and values and now - moment.timestamp() > limit
            else (moment, values)
            for moment, values in rows
        ]


def _latest(config: RepoConfig, data: list[Row]) -> dict[bytes, Row]:
    """Give each entity's latest row; of rows with one event time the last created."""
    rows: dict[bytes, Row] = {}
    for row in sorted(data, key=_moments):
        key = layout.entity_key(_names(row[0]), config.project)
        rows[key] = row
    return rows


def _moments(row: Row) -> tuple[datetime, datetime]:
    event = make_tzaware(row[2])
    return event, make_tzaware(row[3]) if row[3] else event


def _names(key: EntityKey) -> dict[str, str | int]:
    parts = zip(key.join_keys, key.entity_values, strict=True)
    return {name: getattr(value, value.WhichOneof("val")) for name, value in parts}


def _newer(view: str, rows: dict[bytes, Row], stored: Sequence[bytes | None]) -> list[Written]:
    """Give the hash fields of each row that is not older than what is stored."""
    written = []
    for (key, (_, values, moment, _)), before in zip(rows.items(), stored, strict=True):
        nanos = _nanos(make_tzaware(moment))
        if before and layout.decode_nanos(before) > nanos:
            continue
        stamp = layout.encode_timestamp(*divmod(nanos, 1_000_000_000))
        fields = {layout.timestamp_field(view): stamp}
        for name, value in values.items():
            fields[layout.feature_field(view, name)] = value.SerializeToString()
        written.append((key, fields))
    return written


def _nanos(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
