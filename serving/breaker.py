"""A circuit breaker: whom nobody reaches is not asked again by every request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving.redis_connection import RedisAway

_log = logging.getLogger(__name__)

FAILURES = 3
SUCCESSES = 2
PROBE_SECONDS = 0.2


class Breaker:
    """Opens after some failures in a row; probes of its own close it again, never a request."""

    def __init__(self, told: Callable[[bool], None]) -> None:
        self.is_open = False
        self._failures = 0
        self._told = told
        self._probe: Callable[[], Awaitable[None]] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, probe: Callable[[], Awaitable[None]]) -> None:
        """Say how to find out whether the other side answers: it raises RedisAway if not."""
        self._probe = probe
        self._told(False)

    async def stop(self) -> None:
        """Stop probing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def succeeded(self) -> None:
        """Note an answer."""
        self._failures = 0

    def failed(self) -> None:
        """Note that none came."""
        self._failures += 1
        if self._failures >= FAILURES and not self.is_open:
            self.is_open = True
            self._told(True)
            _log.warning("the online store does not answer: forecasts fall back on what is known")
            self._task = asyncio.create_task(self._close_when_well())

    async def _close_when_well(self) -> None:
        assert self._probe is not None
        well = 0
        while well < SUCCESSES:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._probe()
            except RedisAway:
                well = 0
            else:
                well += 1
        self.is_open, self._failures = False, 0
        self._told(False)
        _log.warning("the online store answers again")
