"""Replies handed out in order, in whatever pieces they come."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from serving.redis_connection import (
    RedisAddress,
    RedisAway,
    RedisConnection,
    command,
    connect,
    parsed,
)

PING, GET = command("PING"), command("GET", "key")


def answered(
    replies: Sequence[bytes], sizes: Callable[[], int],
    ask: Callable[[RedisConnection], Awaitable[object]],
) -> object:  # fmt: skip
    """Ask a server that sends such bytes in pieces of such sizes."""

    async def run() -> object:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            left = b"".join(replies)
            while left:
                size = sizes()
                writer.write(left[:size])
                left = left[size:]
                await asyncio.sleep(0.0005)
            await reader.read()  # until the other side ends
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            connection = await connect(RedisAddress("127.0.0.1", port), 5.0)
            try:
                return await ask(connection)
            finally:
                connection.close()
                await asyncio.sleep(0.05)  # the server ends too

    return asyncio.run(run())


@pytest.mark.parametrize("seed", range(5))
def test_each_caller_gets_its_own_replies(seed: int) -> None:
    chance = random.Random(seed)
    asked = [[chance.randbytes(chance.randrange(60)) for _ in range(n)] for n in (1, 3, 2)]
    replies = [b"$%d\r\n%b\r\n" % (len(one), one) for of_caller in asked for one in of_caller]

    async def ask(connection: RedisConnection) -> object:
        told = [connection.execute([GET] * len(of_caller), 5.0) for of_caller in asked]
        return await asyncio.gather(*told)

    def sizes() -> int:
        return chance.choice((1, 2, 7, 50, 500))

    told = iter(replies)
    assert answered(replies, sizes, ask) == [[next(told) for _ in one] for one in asked]


@pytest.mark.parametrize("seed", range(5))
def test_what_changed_is_told_apart_from_replies_however_they_come(seed: int) -> None:
    chance, told = random.Random(seed), []
    wanted = [chance.randbytes(chance.randrange(60)) for _ in range(6)]
    parts: list[bytes] = []
    changed: list[list[bytes] | None] = []
    for one in wanted:
        for _ in range(chance.randrange(3)):
            keys = [chance.randbytes(20) for _ in range(chance.randrange(1, 3))]
            changed.append(None if chance.random() < 0.2 else keys)
            parts.append(invalidation(changed[-1]))
        parts.append(b"$%d\r\n%b\r\n" % (len(one), one))

    async def ask(connection: RedisConnection) -> object:
        connection._told = told.append  # a server of this test's knows no HELLO
        asked = [connection.execute([GET] * 3, 5.0) for _ in range(2)]
        answers = await asyncio.gather(*asked)
        assert told == changed  # nothing is held back
        connection.close()
        assert told == [*changed, None]  # nothing is known any more
        return [parsed(reply) for replies in answers for reply in replies]

    assert answered(parts, lambda: chance.choice((1, 2, 7, 50, 500)), ask) == wanted


def test_what_changed_is_told_while_nobody_waits() -> None:
    told: list[list[bytes] | None] = []

    async def ask(connection: RedisConnection) -> object:
        connection._told = told.append
        await connection.execute([PING], 5.0)
        while len(told) < 2:
            await asyncio.sleep(0.001)
        return None

    parts = [b"+PONG\r\n", invalidation([b"one"]), invalidation([b"two"])]
    answered(parts, lambda: 3, ask)
    assert told[:2] == [[b"one"], [b"two"]]


def invalidation(keys: list[bytes] | None) -> bytes:
    head = b">2\r\n$10\r\ninvalidate\r\n"
    return head + (b"_\r\n" if keys is None else command(*keys))


def test_an_error_is_raised_to_who_asked_and_the_next_is_answered() -> None:
    async def ask(connection: RedisConnection) -> object:
        return await asyncio.gather(
            connection.execute([GET, PING], 5.0), connection.execute([PING], 5.0),
            return_exceptions=True,
        )  # fmt: skip

    failed, well = answered([b"-MOVED 1 host:7\r\n", b"+PONG\r\n", b"+PONG\r\n"], lambda: 5, ask)
    assert isinstance(failed, RedisAway)
    assert str(failed) == "MOVED 1 host:7"
    assert well == [b"+PONG\r\n"]


def test_what_is_no_reply_ends_the_connection() -> None:
    with pytest.raises(RedisAway, match="lost"):
        answered([b"HTTP/1.1 400\r\n"], lambda: 99, lambda asked: asked.execute([PING], 5.0))
