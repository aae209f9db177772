"""One pipelined connection to a Redis server: commands and replies as bytes."""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
import numpy as np

from serving.errors import ServingError
from serving.redis_kernel import reply_ends

Command = bytes
# Told which keys have changed; None is any of them.
Told = Callable[[list[bytes] | None], None]

DEFAULT_PORT = 6379
_PUSH = ord(">")

_log = logging.getLogger(__name__)


class RedisAway(ServingError):
    """A Redis server does not answer, or answers with an error."""


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis server is and how to get in."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read `redis://[user:password@]host[:port][/database]`; `rediss` for TLS.

        Raises:
            ValueError: It is no such address.
        """
        parts = urlsplit(url)
        database = int(parts.path.strip("/") or dict(parse_qsl(parts.query)).get("db", "0"))
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or database < 0:
            raise ValueError("no address of a Redis server")
        return cls(
            parts.hostname,
            parts.port or DEFAULT_PORT,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            database,
            ssl.create_default_context() if parts.scheme == "rediss" else None,
        )

    def at(self, host: str, port: int) -> "RedisAddress":
        """Give another server of the same kind, entered in the same way."""
        return replace(self, host=host, port=port)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def command(*parts: bytes | str | int) -> Command:
    """Encode a command as Redis reads it."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    head = b"*%d\r\n" % len(encoded)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded])


class _Waiting:
    """Replies that one caller waits for."""

    __slots__ = ("ends", "found", "future")

    def __init__(self, count: int, future: "asyncio.Future[list[bytes]]") -> None:
        self.future = future
        self.ends = np.zeros(count + 1, np.int64)  # the first one is where they begin
        self.found = 0


class RedisConnection(asyncio.Protocol):
    """Sends commands as they come and hands replies out in order; never waits to write.

    Where `is_telling`, Redis says when a key that was read changes, by a push between replies. It
    does not before it has answered the read, so that what is told is never older than what is held.
    Once the connection is lost nothing is known of any key.
    """

    def __init__(self, told: Told | None = None) -> None:
        self.is_open = False
        self.is_telling = False
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._waiting: deque[_Waiting] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport, self.is_open = cast("asyncio.Transport", transport), True

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them, and tell of what changed."""
        self._received += data
        while self._received and self._has_taken_next():
            pass

    def _has_taken_next(self) -> bool:
        """Take a push, or some of the replies that are waited for; False if neither is whole."""
        first = self._waiting[0] if self._waiting else None
        at = 0 if first is None else int(first.ends[first.found])
        if len(self._received) > at and self._received[at] == _PUSH:
            return self._has_taken_push(at)
        if first is None:
            return False
        more = _whole(self._received, first)
        if more < 0:
            self.close()
            return False
        first.found += more
        if first.found == len(first.ends) - 1:
            self._waiting.popleft()
            ends = first.ends.tolist()
            if not first.future.done():
                replies = [bytes(self._received[a:b]) for a, b in pairwise(ends)]
                first.future.set_result(replies)
            del self._received[: ends[-1]]
            return True
        return more > 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._end()
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(RedisAway("the connection was lost"))

    def close(self) -> None:
        """Drop the connection."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    async def execute(self, commands: Sequence[Command], timeout: float) -> list[bytes]:
        """Send commands in one write and wait for all replies, as Redis sends them.

        Raises:
            RedisAway: The server does not answer in time, or answers with an error. Late replies
                are given up with the connection: the server is not well.
        """
        if not self.is_open or self._transport is None:
            raise RedisAway("not connected")
        future: asyncio.Future[list[bytes]] = self._loop.create_future()
        self._waiting.append(_Waiting(len(commands), future))
        self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))
        timer = self._loop.call_later(timeout, self._give_up, future)
        try:
            replies = await future
        finally:
            timer.cancel()
        for reply in replies:
            if reply.startswith(b"-"):
                raise RedisAway(reply[1:].decode(errors="replace").strip())
        return replies

    def _end(self) -> None:
        """Be open no longer; what was read is not vouched for from now on."""
        if self.is_open and self._told is not None:
            self._told(None)
        self.is_open = self.is_telling = False

    def _has_taken_push(self, at: int) -> bool:
        """Take out a push that is whole, and tell of what changed."""
        end = np.zeros(1, np.int64)
        received = np.frombuffer(self._received, np.uint8)
        whole = reply_ends(received, len(received), np.int64(at), end)
        del received  # nothing can be taken out of what somebody looks at
        if whole != 1:
            if whole < 0:
                self.close()
            return False
        kind, *told = parsed(bytes(self._received[at : end[0]]))
        del self._received[at : end[0]]
        if kind == b"invalidate" and self._told is not None:
            self._told(told[0])
        return True

    def _give_up(self, future: "asyncio.Future[list[bytes]]") -> None:
        if not future.done():
            future.set_exception(RedisAway("no answer in time"))
            self.close()


def _whole(received: bytearray, first: _Waiting) -> int:
    """Count the replies that have become whole; -1 where these are none."""
    if not received:
        return 0
    begun = first.ends[first.found :]
    return reply_ends(np.frombuffer(received, np.uint8), len(received), begun[0], begun[1:])


def parsed(reply: bytes) -> Any:
    """Give a whole reply as objects: bytes, whole numbers, None, and lists of them."""
    reader = hiredis.Reader()
    reader.feed(reply)
    return reader.gets()


async def connect(
    address: RedisAddress, timeout: float, told: Told | None = None
) -> RedisConnection:
    """Connect, log in and choose the database.

    Args:
        address: Of the server.
        timeout: For each step, seconds.
        told: Called when keys change that were read, if the server can tell: Redis 6 and later.

    Raises:
        RedisAway: The server cannot be reached or refuses.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            _, connection = await loop.create_connection(
                lambda: RedisConnection(told), address.host, address.port, ssl=address.tls
            )
    except (OSError, TimeoutError) as error:
        raise RedisAway(f"{address}: {type(error).__name__}") from error
    login = [part for part in (address.username, address.password) if part]
    hello = [command("AUTH", *login)] if login else []
    hello += [command("SELECT", address.database)] if address.database else []
    try:
        if hello:
            await connection.execute(hello, timeout)
        if told is not None:
            await _track(connection, timeout)
    except RedisAway as error:
        connection.close()
        raise RedisAway(f"{address}: {error}") from error
    except BaseException:  # cancelled
        connection.close()
        raise
    return connection


async def _track(connection: RedisConnection, timeout: float) -> None:
    """Have the server say which keys change; an old one, a proxy or its rights may not allow it.

    Source: https://redis.io/docs/latest/develop/reference/client-side-caching/
    """
    for asked in (command("HELLO", 3), command("CLIENT", "TRACKING", "ON")):
        try:
            await connection.execute([asked], timeout)
        except RedisAway as error:
            _log.info("Redis does not tell of changes: %s", error)
            return
    connection.is_telling = connection.is_open
