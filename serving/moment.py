"""The present moment for a server: the one clock, read without blocking the event loop."""

import asyncio
import logging
from datetime import datetime

from feature_repo.clock import Clock, InvalidClock, system_clock
from serving.errors import ServingError

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25


class Moment:
    """Gives the clock's moment.

    The system's clock is read on every call. Any other may be an emulator's, asked over HTTP, so
    it is read in a thread, a few times a second, and a call gives what was read last.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_system = clock is system_clock
        self._last: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = None

    def __call__(self) -> datetime:
        """Give the present moment, in UTC."""
        if self._is_system:
            return self._clock()
        if self._last is None:
            raise ServingError("the clock was asked before it was started")
        return self._last

    async def start(self) -> None:
        """Read the clock once and, unless it is the system's, go on reading it.

        Raises:
            ServingError: The clock does not answer.
        """
        if self._is_system:
            return
        try:
            self._last = await asyncio.to_thread(self._clock)
        except InvalidClock as error:
            raise ServingError(str(error)) from error
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                self._last = await asyncio.to_thread(self._clock)
            except InvalidClock as error:
                if self.problem is None:
                    _log.warning("%s", error)
                self.problem = str(error)
            else:
                self.problem = None
