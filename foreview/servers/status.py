"""What `foreview status` says about a server."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from feature_repo.clock import system_clock
from foreview.servers.state import ServerRecord


@dataclass(frozen=True)
class ServerStatus:
    """One server; what only a running one has is null when it is stopped.

    `linked_to` is the process that a server of a demo or a test run ends with.
    """

    name: str
    running: bool
    pid: int | None
    port: int | None
    uptime_seconds: float | None
    memory_bytes: int | None
    data_bytes: int
    linked_to: int | None


def describe(
    name: str, record: ServerRecord | None, process: psutil.Process | None, data: Path
) -> ServerStatus:
    """Measure a server and its data."""
    return ServerStatus(
        name=name,
        running=process is not None,
        pid=process.pid if process else None,
        port=record.port if record else None,
        uptime_seconds=_uptime_seconds(process) if process else None,
        memory_bytes=_memory_bytes(process) if process else None,
        data_bytes=_size_bytes(data),
        linked_to=record.linked_to if record and process else None,
    )


def _uptime_seconds(process: psutil.Process) -> float:
    return max(0.0, system_clock().timestamp() - process.create_time())


def _memory_bytes(process: psutil.Process) -> int:
    """Sum the memory of a server's processes, shared pages divided among them where known."""
    return sum(map(_share_bytes, [process, *process.children(recursive=True)]))


def _share_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    return int(getattr(memory, "pss", memory.rss))


def _size_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_size
        except OSError:  # a server removes files while we count
            continue
    return total
