"""Starting, recognising and ending the processes of private servers."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from foreview.errors import LocalServersError

# Handles of children live as long as this process: dropping one early warns and leaves a zombie.
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
# Boot time, from which creation times are computed, may be corrected by a second.
_CLOCK_CORRECTION_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Account:
    """The user and group a server runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Launch:
    """How a server is started.

    Attributes:
        death_signal: Sent to the server when this process dies, however it dies; null for a
            server that outlives it.
        account: Whom to run as; null for the user who asks.
    """

    command: Sequence[str]
    directory: Path
    log: Path
    environment: dict[str, str]
    account: Account | None = None
    death_signal: signal.Signals | None = None
    pass_fds: Sequence[int] = ()


def spawn(launch: Launch) -> psutil.Process:
    """Start a server in a session of its own, so that Ctrl-C reaches us and not it."""
    account = launch.account
    with launch.log.open("ab") as log:
        child = subprocess.Popen(
            launch.command,
            cwd=launch.directory,
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=launch.pass_fds,
            preexec_fn=_die_with_parent(launch.death_signal),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    _CHILDREN[child.pid] = child
    return psutil.Process(child.pid)


def find(pid: int, created: float) -> psutil.Process | None:
    """Give the process we once started, or null when it is gone or its pid is another's now."""
    try:
        process = psutil.Process(pid)
        age_differs = abs(process.create_time() - created) > _CLOCK_CORRECTION_SECONDS
    except psutil.NoSuchProcess:
        return None
    return None if age_differs or _has_ended(process) else process


def working_in(directory: Path, program: str) -> list[psutil.Process]:
    """Give the processes of a program that work in one of our directories, oldest first.

    Such are left when the command that started a server, or the server's main process, was
    killed. Whatever else a user runs in that directory is not among them.
    """
    found = [process for process in psutil.process_iter() if _is(process, directory, program)]
    return sorted(found, key=lambda process: process.create_time())


def _is(process: psutil.Process, directory: Path, program: str) -> bool:
    try:
        if process.cwd() != str(directory.resolve()):
            return False
        return process.name() == program or program in process.cmdline()
    except psutil.Error:
        return False


def end(process: psutil.Process, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """Ask a process to end, with ever stronger signals.

    Args:
        process: A process that `find` recognised as ours.
        signals: Each signal with the seconds it is given to work.

    Raises:
        LocalServersError: It outlived them all.
    """
    for number, patience_seconds in signals:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        give_up = time.monotonic() + patience_seconds
        while time.monotonic() < give_up:
            if _has_ended(process):
                return
            time.sleep(0.01)
    raise LocalServersError(f"process {process.pid} does not end: kill it by hand")


def _has_ended(process: psutil.Process) -> bool:
    """Tell whether a process did its last work; a zombie did, whenever its parent notices."""
    try:
        ended = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        ended = True
    if ended and process.pid in _CHILDREN:
        _CHILDREN.pop(process.pid).wait()
    return ended


def log_tail(log: Path, lines: int = 8) -> str:
    """Give the last lines a server wrote, for an error message."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _die_with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if number is None or not sys.platform.startswith("linux"):
        return None
    # The kernel sends the signal when the *thread* that forked ends.
    if threading.current_thread() is not threading.main_thread():
        raise LocalServersError("start linked servers from the main thread: they end with it")
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)

    return set_death_signal
