"""Forgets a synthetic world, so that it can be told anew from its start."""

from redis import Redis
from sqlalchemy import Connection, Engine, text

from feature_repo.online_layout import key_encoder
from feature_repo.schemas import FEATURE_TABLES

WORLD = "synthetic"

_OBSERVATIONS = (
    "video_snapshots",
    "video_metadata",
    "video_metadata_seen",
    "channel_snapshots",
    "collection_targets",
    "quarantine",
)
_ENTITIES = {
    "video_id": "SELECT DISTINCT video_id FROM video_metadata WHERE world = :world",
    "channel_id": "SELECT DISTINCT channel_id FROM video_metadata WHERE world = :world"
    " UNION SELECT DISTINCT channel_id FROM channel_snapshots WHERE world = :world",
}
_KEYS_AT_ONCE = 1_000


def forget_synthetic_world(engine: Engine, redis_url: str) -> int:
    """Delete everything observed in the synthetic world, its features, and those in Redis.

    What came from real recordings stays, as do the raw landing and what was forecast.

    Returns:
        How many videos and channels were forgotten.
    """
    with engine.begin() as connection:
        entities = {key: _ids(connection, query) for key, query in _ENTITIES.items()}
        for name, schema in FEATURE_TABLES.items():
            _delete(connection, name, schema.names[0], entities[schema.names[0]])
        for name in _OBSERVATIONS:
            connection.execute(text(f"DELETE FROM {name} WHERE world = :world"), {"world": WORLD})
    with Redis.from_url(redis_url) as redis:
        for key, ids in entities.items():
            encoded = [key_encoder(key)(entity_id) for entity_id in ids]
            for start in range(0, len(encoded), _KEYS_AT_ONCE):
                redis.unlink(*encoded[start : start + _KEYS_AT_ONCE])
    return sum(len(ids) for ids in entities.values())


def _ids(connection: Connection, query: str) -> list[str]:
    return list(connection.scalars(text(query), {"world": WORLD}))


def _delete(connection: Connection, table: str, key: str, ids: list[str]) -> None:
    connection.execute(text(f'DELETE FROM {table} WHERE "{key}" = ANY(:ids)'), {"ids": ids})
