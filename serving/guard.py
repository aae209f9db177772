"""Who may ask, and how often: API keys with scopes, and a rate limit per key or address."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
from starlette.types import Scope

from serving.api_keys import ApiKey, KeyTable, digest_of
from serving.errors import Forbidden, KeysUnavailable, ServingError, TooManyRequests, Unauthorized

if TYPE_CHECKING:
    from limits import RateLimitItem

REFRESH_SECONDS = 2.0

_log = logging.getLogger(__name__)


class KeyRing:
    """The valid keys, read again every few seconds; while the database is away the last ones stay.

    A request is checked in memory: a hash and a look-up. Until `was_read` no key can be told from
    a wrong one.
    """

    def __init__(self, table: KeyTable, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now
        self._by_digest: dict[bytes, ApiKey] = {}
        self.was_read = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys, and go on reading them."""
        await self.refresh()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the keys once."""
        try:
            keys = await asyncio.to_thread(self._table.read)
        except (ServingError, psycopg.Error) as error:
            _log.warning("the API keys could not be read: %s", error)
        else:
            self._by_digest = {key.digest: key for key in keys}
            self.was_read = True

    def find(self, secret: str) -> ApiKey | None:
        """Give the valid key with a secret."""
        key = self._by_digest.get(digest_of(secret))
        return key if key is not None and key.is_valid(self._now()) else None

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()


class RateLimit:
    """So many requests per key, or per address where no key is needed."""

    def __init__(self, text: str | None) -> None:
        """Read a limit such as `100/second`; none where the text is empty.

        Raises:
            ServingError: It is no limit.
        """
        self._limit: RateLimitItem | None = None
        if not text:
            return
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import SlidingWindowCounterRateLimiter

        try:
            self._limit = parse(text)
        except ValueError as error:
            raise ServingError(
                f"FOREVIEW_RATE_LIMIT={text!r} is no limit such as 100/second or 5000/hour"
            ) from error
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    def charge(self, who: str, cost: int = 1, counted: int = 0) -> None:
        """Count a request, or the forecasts in it beyond those that were counted.

        Raises:
            TooManyRequests: The limit is reached; what was to be counted is not.
        """
        if self._limit is None or self._limiter.hit(self._limit, who, cost=cost):
            return
        if counted and counted + cost > self._limit.amount:  # however long one waits
            raise TooManyRequests(
                f"At most {self._limit} are allowed, and these are {counted + cost} forecasts at "
                "once: ask for fewer in a request"
            )
        reset = self._limiter.get_window_stats(self._limit, who).reset_time
        wait = max(math.ceil(reset - time.time()), 1)  # noqa: TID251 - the library's own clock
        raise TooManyRequests(
            f"At most {self._limit} are allowed; try again in {wait} s", retry_after=wait
        )


class Guard:
    """Checks each request before anything is done for it."""

    def __init__(self, keys: KeyRing | None, limit: RateLimit) -> None:
        self._keys = keys
        self._limit = limit
        self._is_open = keys is None and not limit.is_set

    def __call__(self, scope: Scope) -> None:
        """Let a request in, or raise Unauthorized, Forbidden, KeysUnavailable, TooManyRequests."""
        if self._is_open:
            return
        needed = scope_needed(scope["method"], scope["path"])
        if needed is None:
            return
        if self._keys is not None:
            scope["api_key_name"] = self._key(scope, needed).name
        self._limit.charge(_sender(scope))

    @property
    def problem(self) -> str | None:
        """Why nobody can be let in, if so."""
        if self._keys is None or self._keys.was_read:
            return None
        return (
            "The API keys were not read yet: the database (FOREVIEW_DATABASE_URL) does not answer"
        )

    def charge_more(self, scope: Scope, cost: int) -> None:
        """Count the forecasts of a request beyond the first, as which it was counted itself."""
        self._limit.charge(_sender(scope), cost, counted=1)

    def _key(self, scope: Scope, needed: str) -> ApiKey:
        assert self._keys is not None
        secret = _secret(scope)
        if secret is None:
            raise Unauthorized("Send an API key: `Authorization: Bearer KEY`")
        if self.problem is not None:
            raise KeysUnavailable(self.problem)
        key = self._keys.find(secret)
        if key is None:
            raise Unauthorized("The API key is unknown, expired or revoked")
        if needed not in key.scopes:
            raise Forbidden(f"The API key {key.name} lacks the scope {needed}")
        return key


def scope_needed(method: str, path: str) -> str | None:
    """Name the scope that a request needs; None for what anyone may see."""
    if path == "/metrics":
        return "forecasts"
    if not path.startswith("/v1/"):
        return None
    if path.startswith("/v1/drafts"):
        return "drafts"
    return "targets" if path.startswith("/v1/targets") else "forecasts"


def _sender(scope: Scope) -> str:
    client = scope.get("client")
    return scope.get("api_key_name") or (client[0] if client else "-")


def _secret(scope: Scope) -> str | None:
    for header, value in scope["headers"]:
        if header == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if kind.lower() == "bearer" else None
    return None
