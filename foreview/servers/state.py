"""What is remembered between commands: ports, passwords and processes, in `servers.json`."""

import contextlib
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from foreview.errors import LocalServersError

FILE_NAME = "servers.json"
LOCK_NAME = "servers.lock"
LOOPBACK = "127.0.0.1"


class ServerRecord(BaseModel):
    """One server as last seen: a process id counts only together with its creation time.

    `linked_to` is the process the server dies with; null for one started by `foreview up`.
    """

    model_config = ConfigDict(frozen=True)

    port: int
    password: str
    pid: int | None = None
    created: float | None = None
    linked_to: int | None = None


class ServerRecords(BaseModel):
    """The content of `servers.json`, by server name."""

    servers: dict[str, ServerRecord] = {}


def read_records(state_dir: Path) -> ServerRecords:
    """Read what is known about the servers; nothing where they never ran."""
    path = state_dir / FILE_NAME
    try:
        return ServerRecords.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return ServerRecords()
    except PermissionError as error:
        raise LocalServersError(f"{path} belongs to another user: run as that user") from error
    except ValidationError as error:
        raise LocalServersError(
            f"{path} is damaged, and the passwords in it are lost: put back a copy, or start "
            "anew with 'foreview down --delete-data'"
        ) from error


def write_records(state_dir: Path, records: ServerRecords) -> None:
    """Replace `servers.json` in one step, readable by its owner only."""
    draft = state_dir / f"{FILE_NAME}.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(records.model_dump_json(indent=2))
    draft.replace(state_dir / FILE_NAME)


def remembered_or_new(record: ServerRecord | None) -> ServerRecord:
    """Give the server its old password, and its old port if nobody took it meanwhile."""
    if record is None:
        return ServerRecord(port=free_port(), password=secrets.token_hex(24))
    port = record.port if is_free(record.port) else free_port()
    return ServerRecord(port=port, password=record.password)


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def locked(state_dir: Path, patience_seconds: float = 120) -> Iterator[None]:
    """Hold the state directory for one command that starts or stops servers."""
    give_up = time.monotonic() + patience_seconds
    with (state_dir / LOCK_NAME).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > give_up:
                    raise LocalServersError(
                        f"another command is starting or stopping the servers of {state_dir}"
                    ) from error
            time.sleep(0.05)
        yield
