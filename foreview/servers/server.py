"""What every private server has in common."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

# Telemetry is switched off for the servers and, through `foreview env`, for the libraries.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


# Each signal with the seconds it is given to work, the gentlest first.
StopSignals = Sequence[tuple[signal.Signals, float]]


class Server(Protocol):
    """One private server: how it is started, asked and stopped."""

    name: str
    program: str  # what its processes are called, or are told to run
    directory: Path  # where its processes work
    pid_file: Path | None  # names its main process; null when it has one only
    death_signal: signal.Signals
    stop_signals: StopSignals

    def prepare(self) -> None:
        """Make data and settings ready for a start."""

    def command(self) -> list[str]:
        """Give the command line; it holds no secret."""

    def environment(self) -> dict[str, str]:
        """Give the server's environment variables."""

    def answers(self) -> bool:
        """Tell whether the server does its work."""

    def after_start(self) -> None:
        """Do what is possible only once the server answers."""


def plain_environment() -> dict[str, str]:
    """Give the variables a server needs, so that nothing else of the user's reaches it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LANG": "C.UTF-8", "TZ": "UTC"}


def pid_in(pid_file: Path) -> int | None:
    """Read the process id on the first line of a pid file; null without a usable one."""
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
