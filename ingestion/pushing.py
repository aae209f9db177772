"""After each batch of collection: the features it changed, computed again and brought online."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Literal

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_repo.online_writer import ViewLayout, write
from ingestion.feature_tables import compute, upsert
from ingestion.locks import between_purges
from ingestion.online_expiry import Expiry
from ingestion.patience import through_outages

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ingestion.settings import IngestionSettings

_PATIENCE_SECONDS = 5.0

_log = logging.getLogger(__name__)


When = Literal["at once", "at the end", "never"]


@dataclass
class Pushed:
    """What was pushed: rows written to Redis and to the feature tables, and how long it took."""

    online: int = 0
    offline: int = 0
    seconds: float = 0.0


class Pusher:
    """What a collector tells of what it observed: `Collector(..., after=Pusher(...))`.

    Redis is written first, so that a forecast knows the observation at once; then the feature
    tables, so that history knows it too. Where Redis does not answer, collection goes on: what
    could not be pushed is tried again after the next batch, and materialized at the latest. Where
    PostgreSQL does not answer, it is waited for.

    Attributes:
        total: What was pushed so far.
        behind: How many videos and channels are observed but not pushed.
    """

    def __init__(
        self,
        engine: "Engine",
        client: Redis | None,
        expiry: Callable[[], Expiry | None] = lambda: None,
        when: When = "at once",
    ) -> None:
        """Push over connections that stay the caller's.

        Args:
            engine: The warehouse.
            client: Of the online store; None where there is none, then nothing is ever pushed.
            expiry: Gives which videos are too old to be kept online, as of now.
            when: After every batch, or when collection ends, or never.
        """
        self._engine, self._client, self._expiry = engine, client, expiry
        self._when = when if client else "never"
        self._videos: set[str] = set()
        self._channels: set[str] = set()
        self.total = Pushed()

    @classmethod
    def by(
        cls,
        settings: "IngestionSettings",
        engine: "Engine",
        clock: Callable[[], datetime],
        when: When,
    ) -> "Pusher":
        """Give the pusher that the settings ask for: of the online store that they name, if any."""
        client = None
        if settings.redis_url:
            # One that is away is tried again after the next batch: collection does not wait.
            client = Redis.from_url(
                settings.redis_url,
                socket_connect_timeout=_PATIENCE_SECONDS,
                socket_timeout=_PATIENCE_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        return cls(engine, client, lambda: Expiry.by(settings, clock()), when)

    @property
    def behind(self) -> int:
        """How many videos and channels are observed but not pushed."""
        return len(self._videos) + len(self._channels)

    def __call__(self, video_ids: set[str], channel_ids: set[str]) -> None:
        """Note what was observed, and push it."""
        if self._when == "never":
            return
        self._videos |= video_ids
        self._channels |= channel_ids
        if self._when == "at once":
            self.push()

    def push(self) -> None:
        """Compute the features of what was observed, and write them to Redis and the tables."""
        if self._client is None or not self.behind:
            return
        began = monotonic()
        online, offline, is_online = through_outages(self._write)
        self.total.online += online
        self.total.offline += offline
        if is_online:
            self._videos, self._channels = set(), set()
        self.total.seconds += monotonic() - began

    def _write(self) -> tuple[int, int, bool]:
        """Compute and write; give the rows online and offline, and whether all of them are online.

        Doing it again changes nothing.
        """
        assert self._client is not None
        online, is_online = 0, True
        with between_purges(self._engine):
            tables = compute(self._engine, sorted(self._videos), sorted(self._channels))
            expiry = self._expiry()
            try:
                for name, rows in tables.items():
                    view = ViewLayout.of(name)
                    lifetimes = expiry.lifetimes(self._client, view, rows) if expiry else None
                    online += write(self._client, rows, view, lifetimes).written
            except RedisError as error:
                _log.warning("%d videos and channels are not online yet: %s", self.behind, error)
                is_online = False
            return online, sum(upsert(self._engine, tables).values()), is_online

    def finish(self) -> dict[str, float] | None:
        """Push what was not pushed yet; give what was, as JSON, or None for a pusher of nothing."""
        self.push()
        if self._when == "never":
            return None
        return asdict(self.total) | {"behind": self.behind}

    def told(self) -> list[str]:
        """Tell people what was pushed."""
        if self._when == "never":
            return []
        lines = [
            f"features: {self.total.online} rows brought online, {self.total.offline} into the "
            f"tables, in {self.total.seconds:.1f} s"
        ]
        if self.behind:
            lines.append(f"  {self.behind} videos and channels are not online: Redis is away")
        return lines
