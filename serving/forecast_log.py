"""What was asked, seen and answered: written to PostgreSQL in batches, beside the hot path."""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import orjson
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import dict_row

from serving import binary_copy
from serving.errors import ForecastLogUnavailable
from serving.metrics import ServingMetrics

_COLUMNS = (
    "forecast_id", "asked_at", "as_of", "situation", "world", "video_id", "channel_id",
    "model_version", "model_digest", "request", "vector", "feature_times", "answer", "degraded",
    "layout", "features",
)  # fmt: skip
# Alike in most receipts of an hour: encoded once, so they are written first.
_ALIKE = ("situation", "world", "model_version", "model_digest", "degraded", "layout")
_WRITTEN = (*_ALIKE, *(name for name in _COLUMNS if name not in _ALIKE))

_BATCH = 200
_ROWS_AT_ONCE = 10
_GATHER_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_FLUSH_SECONDS = 3.0
_CONNECT_SECONDS = 2
_WRITE_SECONDS = 10.0
_NOTICE_SECONDS = 0.1
_ZERO = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")

_log = logging.getLogger(__name__)


class VectorLayout:
    """The order of a vector's features: its id names it, the table vector_layouts tells it."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        digest = hashlib.md5(",".join(columns).encode(), usedforsecurity=False)
        self.key = digest.digest()
        self.id = UUID(bytes=self.key)


@dataclass(slots=True)
class ForecastRecord:
    """One forecast, cheap to make; it becomes a row later.

    `answer` is the JSON that is sent and logged, `request` that of what was asked. `features` are
    the model's float32 inputs, in the order of `layout`: written in full, they replay to the bit.
    """

    forecast_id: str
    asked_at: datetime
    as_of: datetime
    situation: str
    world: str
    video_id: str | None
    channel_id: str | None
    model_version: str
    model_digest: str
    request: bytes
    layout: VectorLayout
    features: NDArray[np.float32] | None
    counts: Mapping[str, float]
    tier: str
    source: str
    observed_at: float
    views: tuple[str, ...]
    event_times: list[float]
    degraded: Sequence[str]
    answer: bytes = b""

    def row(self) -> bytes:
        """Give the record as a row of COPY's binary format, in the order of `_WRITTEN`."""
        vector = {
            "counts": self.counts,
            "tier": self.tier,
            "source": self.source,
            "observed_at": self.observed_at,
        }
        features = self.features
        layout = None if features is None else self.layout.key
        alike = _alike(
            self.situation, self.world, self.model_version, self.model_digest,
            tuple(self.degraded), layout,
        )  # fmt: skip
        own = (
            bytes.fromhex(self.forecast_id.replace("-", "")),
            binary_copy.timestamp(self.asked_at),
            binary_copy.timestamp(self.as_of),
            _text(self.video_id),
            _text(self.channel_id),
            self.request,
            orjson.dumps(vector),
            _times(self.views, tuple(self.event_times)),
            self.answer,
            None if features is None else binary_copy.reals(features),
        )
        return binary_copy.row(len(_WRITTEN), alike, binary_copy.fields(own))


class _Row(NamedTuple):
    """A record as it goes to PostgreSQL, and when it came, by a clock that never goes back."""

    came_at: float
    layout: VectorLayout
    encoded: bytes


class ForecastLog:
    """A bounded queue in front of the table forecast_log.

    A forecast never waits for it and never fails because of it. While the database is away
    entries wait; once the queue is full the newest are dropped, and counted.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        capacity: int,
        metrics: ServingMetrics,
        write_seconds: float = _WRITE_SECONDS,
    ) -> None:
        self._url, self._schema = url, schema
        self._capacity = capacity
        self._write_seconds = write_seconds
        self._metrics = metrics
        self._fresh: deque[ForecastRecord] = deque()
        self._queue: deque[_Row] = deque()
        self._metrics.log_queued.set_function(self._waiting)
        self._metrics.log_lag.set_function(self._lag)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._known_layouts: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    def append(self, entry: ForecastRecord) -> None:
        """Queue a forecast to be logged."""
        if self._waiting() >= self._capacity:
            self._metrics.log_lost.inc()
            return
        self._fresh.append(entry)
        if len(self._fresh) == 1:
            asyncio.get_running_loop().call_soon(self._encode)

    async def start(self) -> None:
        """Start writing in the background."""
        self._task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Write what is queued, for a few seconds at most; the rest is lost, and counted."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait([self._task], timeout=_FLUSH_SECONDS)
            for task in unfinished:
                # Cancelled on a connection, psycopg would first ask the server to stop.
                self._cut()
                await asyncio.wait([task], timeout=_NOTICE_SECONDS)
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting():
            _log.warning("%d forecasts were never logged", self._waiting())
            self._metrics.log_lost.inc(self._waiting())
        await self._disconnect()

    async def read(self, forecast_id: UUID) -> dict[str, Any] | None:
        """Give a logged forecast by its id, or None.

        Raises:
            ForecastLogUnavailable: The database does not answer.
        """
        query = sql.SQL("SELECT {}, names FROM {} LEFT JOIN {} USING (layout) {}").format(
            sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
            sql.Identifier("forecast_log"),
            sql.Identifier("vector_layouts"),
            sql.SQL("WHERE forecast_id = %s"),
        )
        try:
            async with (
                asyncio.timeout(_FLUSH_SECONDS),
                await self._connect() as connection,
                connection.cursor(row_factory=dict_row, binary=True) as cursor,
            ):
                await cursor.execute(query, [forecast_id])
                found = await cursor.fetchone()
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise ForecastLogUnavailable(
                "The database of the forecast log (FOREVIEW_DATABASE_URL) does not answer: "
                f"{type(error).__name__}"
            ) from error
        return None if found is None else _with_features(found)

    def _waiting(self) -> int:
        return len(self._fresh) + len(self._queue)

    def _lag(self) -> float:
        """Give the age of the oldest waiting row, in seconds; a scrape asks from another thread."""
        try:
            return monotonic() - self._queue[0].came_at
        except IndexError:
            return 0.0

    def _encode(self) -> None:
        """Make rows of entries that just came, a few in a round of the loop.

        What they hold is in the core's cache still, and the next request gets its memory.
        """
        loop = asyncio.get_running_loop()
        came = [self._fresh.popleft() for _ in range(min(_ROWS_AT_ONCE, len(self._fresh)))]
        if self._fresh:
            loop.call_soon(self._encode)
        self._wake.set()
        self._queue += [_Row(monotonic(), entry.layout, entry.row()) for entry in came]

    async def _write(self) -> None:
        while self._waiting() or not self._stopping.is_set():
            if len(self._queue) < _BATCH:
                await self._gather()
            try:
                await self._write_batch(_BATCH)
            except (psycopg.Error, OSError) as error:
                _log.warning("the forecast log is not being written: %s", error)
                await self._disconnect()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _gather(self) -> None:
        """Wait for a first entry, then a little longer for others to share its transaction."""
        if not self._queue:
            self._wake.clear()
            await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _GATHER_SECONDS)

    async def _write_batch(self, most: int) -> None:
        """Write the oldest entries; they leave the queue once the database has them.

        Where it refuses them together, each is written by itself: one that no table will ever take
        is dropped, and one that is there already, as the connection was lost between the database's
        having it and saying so, is left as it is.
        """
        batch = [self._queue[at] for at in range(min(most, len(self._queue)))]
        written = len(batch)
        try:
            await self._copy(batch)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(batch) > 1:
                for _ in batch:
                    await self._write_batch(1)
                return
            if not isinstance(error, psycopg.errors.UniqueViolation):
                _log.error("a forecast cannot be logged: %s", error)
                self._metrics.log_lost.inc()
                written = 0
        for _ in batch:
            self._queue.popleft()
        if written:
            self._metrics.log_written.inc(written)

    async def _copy(self, batch: Sequence[_Row]) -> None:
        """Write rows in one statement: all of them, or none, and within so many seconds."""
        if not batch:
            return
        if self._connection is None or self._connection.closed:
            async with asyncio.timeout(self._write_seconds):
                self._connection, self._known_layouts = await self._connect(), set()
        cutting = asyncio.get_running_loop().call_later(self._write_seconds, self._cut)
        try:
            await self._copy_over(self._connection, batch)
        finally:
            cutting.cancel()

    async def _copy_over(
        self, connection: psycopg.AsyncConnection[Any], batch: Sequence[_Row]
    ) -> None:
        layouts = {row.layout.id: row.layout for row in batch}
        for name in layouts.keys() - self._known_layouts:
            await connection.execute(
                "INSERT INTO vector_layouts VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [name, list(layouts[name].columns)],
            )
            self._known_layouts.add(name)
        command = sql.SQL("COPY forecast_log ({}) FROM STDIN (FORMAT binary)").format(
            sql.SQL(", ").join(map(sql.Identifier, _WRITTEN))
        )
        async with (
            connection.cursor() as cursor,
            cursor.copy(command) as copy,
        ):
            await copy.write(binary_copy.HEAD)
            for first in range(0, len(batch), _ROWS_AT_ONCE):
                rows = [row.encoded for row in batch[first : first + _ROWS_AT_ONCE]]
                await copy.write(b"".join(rows))
                await asyncio.sleep(0)  # requests come first
            await copy.write(binary_copy.TAIL)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
        await connection.execute(
            sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema))
        )
        return connection

    def _cut(self) -> None:
        """End a connection whose database vanished without a word: what waits on it fails at once.

        A timeout will not do: cancelled, psycopg sends the database a last word and waits for its
        answer, in a COPY for as long as TCP does.
        """
        if self._connection is not None and not self._connection.closed:
            with (
                contextlib.suppress(OSError),
                socket.socket(fileno=os.dup(self._connection.fileno())) as shared,
            ):
                shared.shutdown(socket.SHUT_RDWR)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def document(content: Mapping[str, Any]) -> bytes:
    """Give JSON that PostgreSQL can read; it has no character of the number zero."""
    told = orjson.dumps(content)
    return _ZERO.sub(rb"\1\\ufffd", told) if b"\\u0000" in told else told


def _text(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


@lru_cache(maxsize=256)
def _alike(
    situation: str, world: str, model_version: str, model_digest: str,
    degraded: tuple[str, ...], layout: bytes | None,
) -> bytes:  # fmt: skip
    texts = (situation.encode(), world.encode(), model_version.encode(), model_digest.encode())
    return binary_copy.fields((*texts, binary_copy.texts(degraded), layout))


@lru_cache(maxsize=4096)  # a video's stay until it is looked at again
def _times(views: tuple[str, ...], event_times: tuple[float, ...]) -> bytes:
    times = map(_instant, event_times)
    return orjson.dumps(dict(zip(views, times, strict=True)))


def _with_features(found: dict[str, Any]) -> dict[str, Any]:
    """Put the inputs into the vector by their names; null where the answer is of curves."""
    names, values = found.pop("names"), found.pop("features")
    del found["layout"]
    if values is None:
        found["vector"].setdefault("features", None)
    else:
        known = [value if value == value else None for value in values]
        found["vector"]["features"] = dict(zip(names, known, strict=True))
    return found


def _instant(epoch_seconds: float) -> datetime | None:
    if epoch_seconds != epoch_seconds:  # NaN: the view has no row
        return None
    return datetime.fromtimestamp(epoch_seconds, UTC)
