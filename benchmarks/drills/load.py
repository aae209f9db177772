"""A bounded open-loop load on loopback: so many requests a second, however slow the answers."""

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT_SECONDS = 3.0
# No drill asks longer or more than this, whatever goes wrong.
_MAX_REQUESTS = 20_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was due and how long its answer took from then, in seconds.

    `status` is 0 when there was no answer.
    """

    due: float
    seconds: float
    status: int
    is_degraded: bool
    body: bytes


class Load:
    """Asks an address for paths in turn, from a thread of its own, until it is stopped."""

    def __init__(self, port: int, paths: Sequence[str], per_second: float) -> None:
        self.per_second = per_second
        self._port = port
        self._paths = itertools.cycle(paths)
        self._samples: list[Sample] = []
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> list[Sample]:
        """Ask nothing more; give every request, in the order they were due."""
        self._is_stopping.set()
        self._thread.join()
        return sorted(self._samples, key=lambda sample: sample.due)

    async def _run(self) -> None:
        begun = time.monotonic()
        asked: set[asyncio.Task[None]] = set()
        for number in range(_MAX_REQUESTS):
            due = begun + number / self.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._is_stopping.is_set():
                break
            task = asyncio.create_task(self._ask(next(self._paths), due))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, path: str, due: float) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                status, body = await self._exchange(path)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status, body = 0, b""
        taken = time.monotonic() - due
        self._samples.append(Sample(due, taken, status, b'"degraded":true' in body, body))

    async def _exchange(self, path: str) -> tuple[int, bytes]:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: drill\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            body = await reader.readexactly(int(length)) if length else await reader.read()
        except BaseException:
            writer.close()
            raise
        if length and b"connection: close" not in head:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return int(head[9:12]), body
