"""What commands print for people."""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from foreview.diagnosis import Finding
from foreview.servers.status import ServerStatus

_MEGABYTE = 1024**2
_WIDTH_OF_FILES = 160


def print_status(servers: Sequence[ServerStatus]) -> None:
    """Print a line for each server."""
    table = Table("server", "state", "pid", "port", "up", "memory MB", "data MB")
    for server in servers:
        table.add_row(
            server.name,
            _state(server),
            str(server.pid or "–"),
            str(server.port or "–"),
            "–" if server.uptime_seconds is None else _duration(server.uptime_seconds),
            "–" if server.memory_bytes is None else f"{server.memory_bytes / _MEGABYTE:.0f}",
            f"{server.data_bytes / _MEGABYTE:.0f}",
        )
    Console().print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each check, and how to mend what fails."""
    table = Table("", "check", "found", "how to mend it")
    for finding in findings:
        sign = "✓" if finding.ok else ("✗" if finding.needed else "–")
        table.add_row(sign, finding.check, finding.found, "" if finding.ok else finding.remedy)
    Console().print(table)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows, in a table for those that follow each other with the same columns."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    for columns, alike in groupby(rows, tuple):
        table = Table(*columns, title=title)
        for row in alike:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)


def _state(server: ServerStatus) -> str:
    if not server.running:
        return "stopped"
    return f"running, ends with process {server.linked_to}" if server.linked_to else "running"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
