"""The private servers as one: PostgreSQL, Redis and MLflow, started, found again and stopped."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from foreview.errors import LocalServersError
from foreview.servers import observers, processes, state
from foreview.servers.home import Home, link_to_home, open_home
from foreview.servers.mlflow_server import MLflowServer, mlflow_url
from foreview.servers.postgresql import MLFLOW_DATABASE, PostgreSQL, database_url
from foreview.servers.redis_server import RedisServer, redis_url
from foreview.servers.server import QUIET, Server, pid_in
from foreview.servers.state import ServerRecord
from foreview.servers.status import ServerStatus, describe

NAMES = ("postgresql", "redis", "mlflow")
ALL_NAMES = (*NAMES, *observers.NAMES)
# The first start of MLflow creates its tables; a busy machine multiplies every time.
_PATIENCE_SECONDS = dict.fromkeys(ALL_NAMES, 60.0) | {"mlflow": 180.0}
_ORPHAN_SIGNALS = ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


class Servers:
    """The private servers of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.absolute()

    def start(self, *, linked: bool = False, mlflow: bool = True) -> tuple[str, ...]:
        """Start what is not running; PostgreSQL and Redis answer when this returns.

        MLflow needs seconds more: its port is open already, and whoever connects early waits.
        `wait_for("mlflow")` returns once it answers.

        Args:
            linked: The servers die with this process, however it dies. Call from the main thread.
            mlflow: Start the MLflow server too.

        Returns:
            The names of the servers this call started.

        Raises:
            LocalServersError: A server does not start, or lasting servers are asked for while
                another process has linked ones running.
        """
        self._make_state_dir()
        started: list[str] = []
        with state.locked(self.state_dir):
            if not linked:
                self._refuse_linked_ones()
            try:
                self._start_stores(started, linked=linked)
                if mlflow:
                    self._launch_missing("mlflow", started, linked=linked)
            except BaseException:
                self._stop(started)
                raise
        return tuple(started)

    def observe(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Start what watches the platform, as far as it is installed; PostgreSQL runs already.

        Returns:
            The names this call started, and those whose programs are missing.
        """
        found = [name for name in observers.NAMES if observers.program_of(name)]
        started: list[str] = []
        with state.locked(self.state_dir):
            for name in found:
                self._launch_missing(name, started, linked=False)
        for name in found:
            self.wait_for(name)
        return tuple(started), tuple(name for name in observers.NAMES if name not in found)

    def wait_for(self, name: str) -> None:
        """Return once a started server answers; fail as soon as it is known that it never will."""
        server = self._server(name, self._record(name))
        give_up = time.monotonic() + _PATIENCE_SECONDS[name]
        while not server.answers():
            if self._process(name) is None:
                raise LocalServersError(f"{name} ended while starting:\n{self._log_tail(name)}")
            if time.monotonic() > give_up:
                raise LocalServersError(f"{name} does not answer:\n{self._log_tail(name)}")
            time.sleep(0.05)

    def stop(self, names: Iterable[str] = ALL_NAMES) -> tuple[str, ...]:
        """Stop our servers and no others; gives the names of those that ran."""
        if not self.state_dir.exists():
            return ()
        with state.locked(self.state_dir):
            return self._stop(names)

    def status(self) -> list[ServerStatus]:
        """Tell what runs, where, since when, and what it takes."""
        link = link_to_home(self.state_dir)
        home = link.resolve() if link.is_symlink() else self.state_dir
        data = {name: home / name for name in NAMES}
        data["mlflow"] = self.state_dir / "mlflow-artifacts"
        watching = [name for name in observers.NAMES if name in self._records()]
        data |= {name: self.state_dir / name for name in watching}
        return [
            describe(name, self._records().get(name), self._process(name), data[name])
            for name in (*NAMES, *watching)
        ]

    def running(self) -> tuple[str, ...]:
        """Name the servers that run."""
        return tuple(name for name in ALL_NAMES if self._process(name))

    def environment(self) -> dict[str, str]:
        """Give the variables with which commands and libraries find the running servers."""
        found = {"FOREVIEW_STATE_DIR": str(self.state_dir)} | QUIET
        running = {name: self._record(name) for name in self.running()}
        if record := running.get("postgresql"):
            found["FOREVIEW_DATABASE_URL"] = database_url(record.port, record.password)
        if record := running.get("redis"):
            found["FOREVIEW_REDIS_URL"] = redis_url(record.port, record.password)
        if record := running.get("mlflow"):
            found["FOREVIEW_MLFLOW_TRACKING_URI"] = mlflow_url(record.port)
            found["MLFLOW_TRACKING_URI"] = mlflow_url(record.port)
        return found

    def delete(self) -> None:
        """End the servers, even of a damaged `servers.json`, and remove all they ever stored."""
        if not self.state_dir.exists():
            return
        with state.locked(self.state_dir):
            for name in observers.NAMES:
                ports = dict.fromkeys(observers.NAMES, 0)
                self._end_orphans(observers.Observer(name, self.state_dir, ports, {}))
            self._end_orphans(MLflowServer(self.state_dir, 0, ""))
            self._end_orphans(RedisServer(self._home, 0, ""))
            self._end_orphans(PostgreSQL(self._home, 0, ""))
            if self._home.directory != self.state_dir:
                shutil.rmtree(self._home.directory)
            shutil.rmtree(self.state_dir)

    def _make_state_dir(self) -> None:
        try:
            (self.state_dir / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalServersError(
                f"cannot write to {self.state_dir}: set FOREVIEW_STATE_DIR to a directory of yours"
            ) from error

    def _refuse_linked_ones(self) -> None:
        for name, record in self._records().items():
            if record.linked_to not in (None, os.getpid()) and self._process(name):
                raise LocalServersError(
                    f"{name} runs as part of process {record.linked_to} and ends with it: "
                    "try again when that is done"
                )

    def _start_stores(self, started: list[str], *, linked: bool) -> None:
        stores = ("redis", "postgresql")  # both are launched before either is awaited
        for name in stores:
            self._launch_missing(name, started, linked=linked)
        for name in stores:
            self.wait_for(name)
            if name in started:
                self._server(name, self._record(name)).after_start()

    def _launch_missing(self, name: str, started: list[str], *, linked: bool) -> None:
        if self._process(name) is None:
            self._launch(name, linked=linked)
            started.append(name)

    def _launch(self, name: str, *, linked: bool) -> None:
        record = state.remembered_or_new(self._records().get(name))
        server = self._server(name, record)
        self._end_orphans(server)
        server.prepare()
        with _listening(server) as inherited:
            launch = processes.Launch(
                command=[*server.command(), *map(str, inherited)],
                directory=server.directory,
                log=self._log(name),
                environment=server.environment(),
                account=self._home.account if name in ("postgresql", "redis") else None,
                death_signal=server.death_signal if linked else None,
                pass_fds=inherited,
            )
            process = processes.spawn(launch)
        facts = {"pid": process.pid, "created": process.create_time()}
        linked_to = os.getpid() if linked else None
        self._remember(name, record.model_copy(update=facts | {"linked_to": linked_to}))

    def _end_orphans(self, server: Server) -> None:
        """End what is left of a server whose starter or main process was killed."""
        main_pid = pid_in(server.pid_file) if server.pid_file else None
        for process in processes.working_in(server.directory, server.program):
            if process.pid == main_pid or server.pid_file is None:
                processes.end(process, server.stop_signals)
        for process in processes.working_in(server.directory, server.program):
            processes.end(process, _ORPHAN_SIGNALS)

    def _stop(self, names: Iterable[str]) -> tuple[str, ...]:
        stopped = []
        for name in reversed(ALL_NAMES):  # clients of PostgreSQL before it
            process = self._process(name) if name in names else None
            if process:
                record = self._record(name)
                processes.end(process, self._server(name, record).stop_signals)
                forgotten = {"pid": None, "created": None, "linked_to": None}
                self._remember(name, record.model_copy(update=forgotten))
                stopped.append(name)
        return tuple(stopped)

    @functools.cached_property
    def _home(self) -> Home:
        return open_home(self.state_dir)

    def _server(self, name: str, record: ServerRecord) -> Server:
        if name == "postgresql":
            return PostgreSQL(self._home, record.port, record.password)
        if name == "redis":
            return RedisServer(self._home, record.port, record.password)
        if name in observers.NAMES:
            return observers.Observer(
                name, self.state_dir, self._ports() | {name: record.port}, self.environment()
            )
        store = self._record("postgresql")
        backend = database_url(store.port, store.password, MLFLOW_DATABASE, "postgresql+psycopg2")
        return MLflowServer(self.state_dir, record.port, backend)

    def _ports(self) -> dict[str, int]:
        return {name: record.port for name, record in self._records().items()}

    def _process(self, name: str) -> psutil.Process | None:
        record = self._records().get(name)
        if record is None or record.pid is None or record.created is None:
            return None
        return processes.find(record.pid, record.created)

    def _records(self) -> dict[str, ServerRecord]:
        return state.read_records(self.state_dir).servers

    def _record(self, name: str) -> ServerRecord:
        record = self._records().get(name)
        if record is None:
            raise LocalServersError(f"{name} was never started here: run `foreview up`")
        return record

    def _remember(self, name: str, record: ServerRecord) -> None:
        known = self._records() | {name: record}
        state.write_records(self.state_dir, state.ServerRecords(servers=known))

    def _log(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"

    def _log_tail(self, name: str) -> str:
        log = self._log(name)
        return f"{processes.log_tail(log)}\n(more in {log})"


@contextlib.contextmanager
def local_servers(state_dir: Path) -> Iterator[dict[str, str]]:
    """Run what is not running, linked to this process, and stop at exit only what was started.

    Yields:
        The variables of `Servers.environment()`; MLflow answers as well by then.
    """
    servers = Servers(state_dir)
    started = servers.start(linked=True)
    try:
        servers.wait_for("mlflow")
        yield servers.environment()
    finally:
        servers.stop(started)


@contextlib.contextmanager
def _listening(server: Server) -> Iterator[list[int]]:
    """Open the port of a server that inherits it; give the descriptors to pass on."""
    if not isinstance(server, MLflowServer):
        yield []
        return
    listening: socket.socket
    with server.listen() as listening:
        yield [listening.fileno()]
