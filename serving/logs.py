"""Structured logs: a JSON object a line on standard error, each with its request's id."""

import asyncio
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal

import orjson
from starlette.types import Scope

from feature_repo.clock import system_clock

AccessLevel = Literal["all", "errors", "off"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_FLUSH_SECONDS = 0.2
_CLIENT_ERROR = 400


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get() is not None:
            line["request_id"] = request_id.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, option=orjson.OPT_UTC_Z).decode()


def configure(level: str) -> None:
    """Send all logs of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class AccessLog:
    """A line per request, gathered for a moment so that no request waits for its writing.

    Paths are logged without their query, and no header is: an API key never reaches a log.
    """

    def __init__(self, level: AccessLevel, stream: BinaryIO | None = None) -> None:
        self._from_status = {"all": 0, "errors": _CLIENT_ERROR, "off": 1000}[level]
        self._stream = stream or sys.stderr.buffer
        self._lines: list[bytes] = []

    def wants(self, status: int) -> bool:
        """Tell whether an answer with this status is noted."""
        return status >= self._from_status

    def note(self, scope: Scope, name: str, status: int, seconds: float) -> None:
        """Note a request that was answered."""
        client = scope.get("client")
        line = {
            "time": system_clock(),
            "level": "info",
            "logger": "serving.access",
            "request_id": name,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(seconds * 1000.0, 3),
            "client": client[0] if client else None,
            "key": scope.get("api_key_name"),
        }
        self._lines.append(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        self._stream.write(b"".join(lines))
        self._stream.flush()
