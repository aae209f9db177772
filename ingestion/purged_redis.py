"""Retention in the online store: features of videos and channels of which nothing else is left."""

from collections.abc import Mapping, Sequence

from redis import Redis

from feature_repo.online_layout import key_encoder

_AT_ONCE = 1_000


def purge_redis(redis_url: str, entities: Mapping[str, Sequence[str]], *, dry_run: bool) -> int:
    """Delete the online features of entities, ids by join key; give how many had any."""
    found = 0
    with Redis.from_url(redis_url) as redis:
        for join_key, ids in entities.items():
            encode = key_encoder(join_key)
            for first in range(0, len(ids), _AT_ONCE):
                keys = [encode(one) for one in ids[first : first + _AT_ONCE]]
                found += redis.exists(*keys) if dry_run else redis.unlink(*keys)
    return found
