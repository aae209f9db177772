"""Runs the emulator: in the foreground for a user, or beside a program in a thread of its own."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import uvicorn

from ingestion.emulator.api import EmulatorApp, WorldClock
from ingestion.emulator.faults import Faults
from ingestion.emulator.queries import Site
from ingestion.emulator.synthetic import SyntheticSite
from ingestion.emulator.world import World
from ingestion.errors import IngestionError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RunningEmulator:
    """An emulator that answers at `address`; its clock is moved from here or over HTTP."""

    address: str
    app: EmulatorApp = field(repr=False)

    def now(self) -> datetime:
        """Give the world's present: a Clock."""
        return self.app.clock.now()

    def advance(self, to: datetime) -> datetime:
        """Move the world's clock on to a moment."""
        return self.app.clock.advance(to)


@contextmanager
def running_emulator(
    world: World | Site,
    *,
    port: int = 0,
    host: str = LOOPBACK,
    now: datetime | None = None,
    limits: Mapping[str, int] | None = None,
    keys: frozenset[str] | None = None,
    faults: Faults | None = None,
) -> Iterator[RunningEmulator]:
    """Serve a world from a background thread; it has stopped when the block ends.

    Args:
        world: What to serve: a synthetic world, or any other site.
        port: Where; 0 chooses a free port.
        host: The interface to listen on.
        now: Where the world's clock begins; the world's start by default.
        limits: Units per key and Pacific day, by bucket; YouTube's own by default.
        keys: The keys that are accepted; every key by default.
        faults: Faults in force from the start.
    """
    site = SyntheticSite(world) if isinstance(world, World) else world
    clock = WorldClock(site, now or site.start)
    app = EmulatorApp(site, clock, limits=limits, keys=keys, faults=faults)
    with _listening(host, port) as listener:
        server = uvicorn.Server(_configuration(app))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="youtube-emulator", daemon=True
        )
        thread.start()
        try:
            _wait_until_started(server, thread)
            bound = listener.getsockname()
            yield RunningEmulator(f"http://{bound[0]}:{bound[1]}", app)
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def serve(app: EmulatorApp, *, host: str, port: int, begun: Callable[[], None]) -> None:
    """Serve an emulator until it is interrupted; `begun` is called once it has its port."""
    with _listening(host, port) as listener:
        begun()
        uvicorn.Server(_configuration(app)).run(sockets=[listener])


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise IngestionError(
            f"the emulator cannot listen on {host}:{port} ({error.strerror}): choose another --port"
        ) from error
    # asyncio does so only for sockets made with an explicit protocol; without it each answer waits
    # 40 ms for the client to acknowledge its header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _configuration(app: EmulatorApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    while not server.started:
        if not thread.is_alive():
            raise IngestionError("the emulator stopped before it answered")
        pause.wait(0.005)
