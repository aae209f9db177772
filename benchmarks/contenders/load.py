"""A load generator: keep-alive connections on one epoll, closed loop or open loop."""

import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

Requests = Iterator[bytes]

_NAP_SECONDS = 0.00005


class Sent(NamedTuple):
    """A request on its way, and the moment it was meant to leave."""

    intended: float


@dataclass
class Answers:
    """What came back: latencies in seconds, how often each status, and the time it took."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    never_answered: int = 0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Give a quantile of the latencies, in milliseconds."""
        return float(np.quantile(self.latencies, share)) * 1000.0


class _Connection:
    """A keep-alive connection that carries one request at a time."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self._whole: int | None = None
        self.sent: Sent | None = None

    def send(self, request: bytes, intended: float) -> None:
        self.sent = Sent(intended)
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what is there; give the status once an answer is complete."""
        self.received += self.socket.recv(262_144)
        if self._whole is None:  # looked for once: a large answer comes in many pieces
            head_ends = self.received.find(b"\r\n\r\n")
            if head_ends < 0:
                return None
            head = self.received[:head_ends].lower()
            at = head.find(b"content-length:")
            self._whole = head_ends + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.received) < self._whole:
            return None
        status = int(self.received[9:12])
        self.received, self._whole = bytearray(), None
        return status


class Load:
    """Sends requests to one address and times the answers from the moment each was meant to go."""

    def __init__(self, address: str, connections: int) -> None:
        parts = urlsplit(address)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._epoll = select.epoll()
        self._by_number: dict[int, _Connection] = {}
        self._free: deque[_Connection] = deque()
        for _ in range(connections):
            connection = _Connection(self._address)
            self._by_number[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket, select.EPOLLIN)
            self._free.append(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._by_number.values():
            connection.socket.close()
        self._epoll.close()

    def closed_loop(self, requests: Requests, seconds: float) -> Answers:
        """Keep every connection busy: each sends its next request when an answer has come."""
        answers, began = Answers(), time.perf_counter()
        end = began + seconds
        while self._free:
            self._free.popleft().send(next(requests), time.perf_counter())
        busy = len(self._by_number)
        while busy:
            for connection in self._take(answers, 1.0):
                now = time.perf_counter()
                if now < end:
                    connection.send(next(requests), now)
                else:
                    self._free.append(connection)
                    busy -= 1
        answers.seconds = time.perf_counter() - began
        return answers

    def open_loop(self, requests: Requests, rate: float, seconds: float, seed: int = 7) -> Answers:
        """Send at the moments of a Poisson process, whether answers have come or not.

        A request that finds no free connection waits, and its latency counts that wait.
        """
        moments = _poisson(rate, seconds, seed)
        answers, began = Answers(), time.perf_counter()
        waiting: deque[float] = deque()
        at, out = 0, 0
        while at < len(moments) or waiting or out:
            now = time.perf_counter() - began
            while at < len(moments) and moments[at] <= now:
                waiting.append(moments[at])
                at += 1
            while waiting and self._free:
                self._free.popleft().send(next(requests), began + waiting.popleft())
                out += 1
            done = self._take(answers, 0.0)
            self._free.extend(done)
            out -= len(done)
            if not done:  # epoll would sleep a millisecond or more; a busy core would slow servers
                time.sleep(_NAP_SECONDS)
        answers.seconds = time.perf_counter() - began
        return answers

    def _take(self, answers: Answers, timeout: float) -> list[_Connection]:
        done = []
        for number, _ in self._epoll.poll(timeout):
            connection = self._by_number[number]
            status = connection.receive()
            if status is None or connection.sent is None:
                continue
            answers.latencies.append(time.perf_counter() - connection.sent.intended)
            answers.statuses[status] = answers.statuses.get(status, 0) + 1
            done.append(connection)
        return done


def get_request(path: str) -> bytes:
    """Give a GET request of a path."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def endless(request: Callable[[], bytes]) -> Requests:
    """Give request after request."""
    while True:
        yield request()


def post_request(path: str, body: bytes) -> bytes:
    """Give a POST request of a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _poisson(rate: float, seconds: float, seed: int) -> list[float]:
    chance, moments, at = random.Random(seed), [], 0.0
    while True:
        at += chance.expovariate(rate)
        if at > seconds:
            return moments
        moments.append(at)
