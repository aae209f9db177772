"""Redis as it is run: one server, a master that sentinels name, or a cluster; kept connected."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from serving.errors import ServingError
from serving.redis_connection import (
    Command,
    RedisAddress,
    RedisAway,
    RedisConnection,
    Told,
    command,
    connect,
    parsed,
)
from serving.settings import ServingSettings

_RETRY_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 1.0
_SIGN_SECONDS = 0.5

_log = logging.getLogger(__name__)


class RedisServers(Protocol):
    """Where keys are read."""

    @property
    def is_telling(self) -> bool:
        """Whether they say, at this moment, which of the keys read from them change."""

    def tell(self, told: Told) -> None:
        """Have changes told from the next connection on, all keys' where one is lost."""

    async def start(self) -> None:
        """Connect, and stay connected in the background."""

    async def stop(self) -> None:
        """Close all connections."""

    async def execute(
        self, keys: Sequence[bytes], commands: Sequence[Command], timeout: float
    ) -> list[bytes]:
        """Run a command per key; replies in order, as Redis sends them. Raises RedisAway."""


def open_servers(settings: ServingSettings) -> RedisServers:
    """Give the servers that the settings name; nothing is connected yet.

    Raises:
        ServingError: An address is not one.
    """
    form = "FOREVIEW_REDIS_URL is not of the form redis://[:password@]host:port/0"
    address = _parsed(settings.required_redis_url, form)
    if settings.redis_cluster:
        return ClusterServers(address)
    form = "FOREVIEW_REDIS_SENTINELS is not of the form host:port,host:port"
    named = [part.strip() for part in (settings.redis_sentinels or "").split(",") if part.strip()]
    sentinels = [_parsed(f"redis://{part}", form) for part in named]
    return SingleServer(address, sentinels, settings.redis_sentinel_service)


def _parsed(url: str, form: str) -> RedisAddress:
    try:
        return RedisAddress.parse(url)
    except ValueError:
        raise ServingError(form) from None  # what is wrong may be part of a password


async def _hear(connection: RedisConnection) -> None:
    """Ask for a sign of life; who gives none is taken for lost, and what it told for nothing."""
    with contextlib.suppress(RedisAway):
        await connection.execute([command("PING")], _SIGN_SECONDS)


class SingleServer:
    """One server, or the master that sentinels name, found again after each failover."""

    def __init__(
        self, address: RedisAddress, sentinels: Sequence[RedisAddress] = (), service: str = ""
    ) -> None:
        self._address = address
        self._sentinels, self._service = list(sentinels), service
        self._connection: RedisConnection | None = None
        self._connected_to: RedisAddress | None = None
        self._task: asyncio.Task[None] | None = None
        self._told: Told | None = None

    @property
    def is_telling(self) -> bool:
        """Whether the server says which keys change."""
        return self._connection is not None and self._connection.is_telling

    def tell(self, told: Told) -> None:
        """Have changes told from the next connection on."""
        self._told = told

    async def start(self) -> None:
        """Connect, and stay connected in the background."""
        await self._connect()
        self._task = asyncio.create_task(self._stay_connected())

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    async def execute(
        self, keys: Sequence[bytes], commands: Sequence[Command], timeout: float
    ) -> list[bytes]:
        """Run a command per key; replies in order."""
        if self._connection is None:
            raise RedisAway("not connected")
        return await self._connection.execute(commands, timeout)

    async def _stay_connected(self) -> None:
        looked = 0.0
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            looked += _RETRY_SECONDS
            if self._connection is None or not self._connection.is_open:
                await self._connect()
            elif looked >= _LOOK_SECONDS:
                looked = 0.0
                await _hear(self._connection)
                if self._sentinels:
                    await self._follow_master()

    async def _follow_master(self) -> None:
        try:
            address = await self._master()
        except RedisAway:
            return  # while no sentinel answers, the master known stands
        if address != self._connected_to and self._connection is not None:
            _log.warning("the sentinels name another master: %s", address)
            self._connection.close()
            await self._connect()

    async def _connect(self) -> None:
        try:
            address = await self._master() if self._sentinels else self._address
            self._connection = await connect(address, _CONNECT_SECONDS, self._told)
        except RedisAway as error:
            _log.info("Redis: %s", error)
        else:
            self._connected_to = address

    async def _master(self) -> RedisAddress:
        asked = command("SENTINEL", "get-master-addr-by-name", self._service)
        problems = []
        for sentinel in self._sentinels:
            try:
                connection = await connect(sentinel, _CONNECT_SECONDS)
                try:
                    (told,) = await connection.execute([asked], _CONNECT_SECONDS)
                finally:
                    connection.close()
            except RedisAway as error:
                problems.append(str(error))
                continue
            if (reply := parsed(told)) is not None:
                return self._address.at(reply[0].decode(), int(reply[1]))
            problems.append(f"{sentinel} knows no {self._service}")
        raise RedisAway("; ".join(problems))


class ClusterServers:
    """A cluster: each key is read from the master of its slot; a move is followed."""

    def __init__(self, address: RedisAddress) -> None:
        from redis.crc import key_slot  # takes the whole client along, which nothing else needs

        self._slot_of = key_slot
        self._seed = address
        self._slots: list[tuple[int, int, RedisAddress]] = []
        self._connections: dict[RedisAddress, RedisConnection] = {}
        self._task: asyncio.Task[None] | None = None
        self._told: Told | None = None

    @property
    def is_telling(self) -> bool:
        """Whether every node that is read says which keys change; one that left is not read."""
        return all(node.is_telling for node in self._connections.values() if node.is_open)

    def tell(self, told: Told) -> None:
        """Have changes told from the next connections on."""
        self._told = told

    async def start(self) -> None:
        """Learn the cluster's layout, and keep to it in the background."""
        await self._learn()
        self._task = asyncio.create_task(self._stay_connected())

    async def stop(self) -> None:
        """Close all connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for connection in self._connections.values():
            connection.close()

    async def execute(
        self, keys: Sequence[bytes], commands: Sequence[Command], timeout: float
    ) -> list[bytes]:
        """Run a command per key on the node that has it; replies in order."""
        try:
            return await self._execute(keys, commands, timeout)
        except RedisAway as error:
            if not str(error).startswith("MOVED"):
                raise
            await self._learn()
            return await self._execute(keys, commands, timeout)

    async def _execute(
        self, keys: Sequence[bytes], commands: Sequence[Command], timeout: float
    ) -> list[bytes]:
        by_node: dict[RedisAddress, list[int]] = defaultdict(list)
        for at, key in enumerate(keys):
            by_node[self._node_of(key)].append(at)
        replies = [b""] * len(commands)
        parts = await asyncio.gather(
            *(
                self._connections[node].execute([commands[at] for at in chosen], timeout)
                for node, chosen in by_node.items()
            )
        )
        for chosen, part in zip(by_node.values(), parts, strict=True):
            for at, reply in zip(chosen, part, strict=True):
                replies[at] = reply
        return replies

    def _node_of(self, key: bytes) -> RedisAddress:
        slot = self._slot_of(key)
        for first, last, node in self._slots:
            if first <= slot <= last and node in self._connections:
                return node
        raise RedisAway(f"no node of the cluster has slot {slot}")

    async def _stay_connected(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.gather(*map(_hear, self._connections.values()))
            await self._learn()

    async def _learn(self) -> None:
        """Ask any node that answers for the layout, and connect to every master."""
        for node in (*self._connections, self._seed):
            try:
                connection = await self._open(node)
                (told,) = await connection.execute([command("CLUSTER", "SLOTS")], _CONNECT_SECONDS)
            except RedisAway as error:
                _log.info("Redis cluster: %s", error)
                continue
            self._slots = [
                (first, last, self._seed.at(master[0].decode() or node.host, master[1]))
                for first, last, master, *_ in parsed(told)
            ]
            for _, _, master in self._slots:
                await self._open_quietly(master)
            return

    async def _open_quietly(self, node: RedisAddress) -> None:
        try:
            await self._open(node)
        except RedisAway as error:
            _log.info("Redis cluster: %s", error)

    async def _open(self, node: RedisAddress) -> RedisConnection:
        connection = self._connections.get(node)
        if connection is None or not connection.is_open:
            self._connections.pop(node, None)
            connection = await connect(node, _CONNECT_SECONDS, self._told)
            self._connections[node] = connection
        return connection
