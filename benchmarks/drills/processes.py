"""One process of a drill: started, asked whether it answers, hung, killed and started again."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from foreview.servers import processes
from foreview.servers.processes import Account, Launch
from foreview.servers.state import LOOPBACK

_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.02


class DrillFailed(Exception):
    """Something did not come up, or did not become true in time."""


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = _PATIENCE_SECONDS) -> float:
    """Wait for a condition; give the seconds it took.

    Raises:
        DrillFailed: It did not become true.
    """
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > seconds:
            raise DrillFailed(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - begun


class Member:
    """A server process that is started as often as a drill wants; it dies with the drill."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        answers: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
        inherits_port: int | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | dict(
            environment or {}
        )
        self.directory = directory
        self._answers = answers
        self._account = account
        self._inherits_port = inherits_port
        self.process: psutil.Process | None = None

    def launch(self) -> None:
        """Start the process and do not wait."""
        with contextlib.ExitStack() as stack:
            passed: list[int] = []
            if self._inherits_port is not None:
                listener = socket.create_server((LOOPBACK, self._inherits_port), backlog=128)
                passed = [stack.enter_context(listener).fileno()]
            launch = Launch(
                command=[*self.command, *map(str, passed)],
                directory=self.directory,
                log=self.directory.parent / f"{self.name}.log",
                environment=self.environment,
                account=self._account,
                death_signal=signal.SIGKILL,
                pass_fds=passed,
            )
            self.process = processes.spawn(launch)

    def start(self) -> float:
        """Start the process; give the seconds until it answers."""
        self.launch()
        return self.wait()

    def wait(self) -> float:
        """Wait until it answers; give the seconds.

        Raises:
            DrillFailed: It ended, or does not answer.
        """
        try:
            return wait_until(lambda: self.answers() or not self.is_running(), self.name)
        finally:
            if not self.is_running():
                log = self.directory.parent / f"{self.name}.log"
                raise DrillFailed(f"{self.name} ended:\n{processes.log_tail(log)}")

    def answers(self) -> bool:
        """Tell whether it answers now."""
        return self._answers()

    def is_running(self) -> bool:
        """Tell whether the process is there."""
        process = self.process
        return (
            process is not None and processes.find(process.pid, process.create_time()) is not None
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process without a word, as a lost machine does."""
        if self.process is not None and self.is_running():
            processes.end(self.process, ((signal.SIGKILL, 10.0),))

    def stop(self) -> None:
        """Ask the process to end, and wait until it did."""
        if self.process is not None and self.is_running():
            processes.end(self.process, ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)))
