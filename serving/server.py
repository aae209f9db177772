"""An application behind HTTP: in this process until a signal, or in a thread of it."""

import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from serving.errors import ServingError
from serving.life import Life
from serving.whole_answers import WholeAnswers

START_SECONDS = 15.0
_DRAIN_SECONDS = 10
_BACKLOG = 2048


@dataclass(frozen=True)
class RunningServer:
    """A server that answers at an address such as `http://127.0.0.1:8080`."""

    address: str


class Server(uvicorn.Server):
    """Uvicorn's server, which ends well when it is asked to: a SIGTERM is no failure."""

    def __init__(self, config: uvicorn.Config, life: Life, drain_seconds: float) -> None:
        super().__init__(config)
        self._life = life
        self._drain_seconds = drain_seconds
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At SIGTERM say no longer ready, go on answering for a moment, then stop; once is enough.

        A load balancer learns of it from /readyz before the port closes.
        """
        if sig != signal.SIGTERM or self._life.is_draining or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._life.is_draining = True
        self._ends_at = monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Stop once the draining is over."""
        if self._ends_at is not None and monotonic() >= self._ends_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, without raising them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one.

    Raises:
        ServingError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServingError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another port with --port "
            "or FOREVIEW_API_PORT; 0 takes a free one"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Give the address that a listening socket answers at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: ASGIApp,
    listener: socket.socket,
    when_ready: Callable[[str], None],
    life: Life | None = None,
    drain_seconds: float = 0.0,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way.

    Args:
        app: What answers.
        listener: Where it listens; closed at the end.
        when_ready: Called with the address once it answers.
        life: Told when the server is on its way out.
        drain_seconds: How long it goes on answering after a SIGTERM.

    Raises:
        ServingError: The application does not start; the log says why.
    """

    def ready() -> None:
        _spare_the_collector()
        when_ready(address_of(listener))

    server = _AnnouncingServer(_config(app), life or Life(), drain_seconds, ready)
    try:
        server.run(sockets=[listener])
    except SystemExit as exit_:
        raise ServingError("the server could not start") from exit_
    finally:
        listener.close()


@contextmanager
def run_in_thread(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[RunningServer]:
    """Serve from a thread of this process for as long as the context is open.

    Raises:
        ServingError: The application does not start in time; the log says why.
    """
    listener = bind(host, port)
    ready = threading.Event()
    server = _AnnouncingServer(_config(app), Life(), 0.0, ready.set)
    thread = threading.Thread(target=_run_quietly, args=(server, listener, ready), daemon=True)
    thread.start()
    try:
        if not ready.wait(START_SECONDS) or not server.started:
            raise ServingError("the forecast service did not start")
        yield RunningServer(address_of(listener))
    finally:
        server.should_exit = True
        thread.join(_DRAIN_SECONDS + START_SECONDS)
        listener.close()


def _spare_the_collector() -> None:
    """Have garbage looked for rarely, and never again among what stays for the process' life.

    Requests leave next to no cycles behind; looking through a million objects is a pause that
    whoever asks at that moment waits for.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


class _AnnouncingServer(Server):
    """Says when it has begun to answer."""

    def __init__(
        self,
        config: uvicorn.Config,
        life: Life,
        drain_seconds: float,
        when_ready: Callable[[], None],
    ) -> None:
        super().__init__(config, life, drain_seconds)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._when_ready()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=WholeAnswers,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _run_quietly(server: Server, listener: socket.socket, ready: threading.Event) -> None:
    try:
        server.run(sockets=[listener])
    except SystemExit:
        return  # the log has said why; whoever waits sees that it did not start
    finally:
        ready.set()
