"""Real Prometheus and Alertmanager, and a webhook that hears what they say."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx

from foreview.servers.observers import alertmanager_settings, prometheus_settings
from foreview.servers.state import free_port
from tests.observability.promtool import require

PATIENCE_SECONDS = 60


def until(found: Callable[[], Any], what: str, patience: float = PATIENCE_SECONDS) -> Any:
    """Ask again until something is found."""
    give_up = time.monotonic() + patience
    while not (result := found()):
        assert time.monotonic() < give_up, f"no {what} within {patience} s"
        time.sleep(0.1)
    return result


class Webhook:
    """Hears alerts: (receiver's path, status, alert name, when)."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.heard: list[tuple[str, str, str, float]] = []

    def hear(self, path: str, body: dict[str, Any]) -> None:
        for alert in body["alerts"]:
            name = alert["labels"]["alertname"]
            self.heard.append((path, alert["status"], name, time.monotonic()))

    def names(self, path: str) -> set[str]:
        return {name for at, status, name, _ in self.heard if at == path and status == "firing"}


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            hook.hear(self.path, json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hook
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def running(command: list[str], directory: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; its output is kept in the directory."""
    directory.mkdir(exist_ok=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or _answers(ready), f"answer at {ready}")
        assert process.poll() is None, (directory / "log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(
    directory: Path, api: list[str], exporter: str, managers: list[str], interval: str = "1s"
) -> Iterator[httpx.Client]:
    """Run Prometheus with the platform's own settings and rules; gives a client of its API."""
    program, port = require("prometheus"), free_port()
    directory.mkdir(exist_ok=True)
    settings = prometheus_settings(api, exporter, managers, interval=interval)
    (directory / "prometheus.yml").write_text(settings.replace("interval: 15s", "interval: 10s"))
    address = f"127.0.0.1:{port}"
    command = [
        program, f"--config.file={directory}/prometheus.yml", f"--web.listen-address={address}",
        f"--storage.tsdb.path={directory}/data",
    ]  # fmt: skip
    url = f"http://{address}"
    with (
        running(command, directory, f"{url}/-/ready"),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


@contextmanager
def alertmanager(directory: Path, alerts_url: str) -> Iterator[str]:
    """Run Alertmanager with the platform's own settings; gives its `host:port`."""
    program, address = require("prometheus-alertmanager"), f"127.0.0.1:{free_port()}"
    directory.mkdir(exist_ok=True)
    (directory / "alertmanager.yml").write_text(alertmanager_settings(alerts_url))
    command = [
        program, f"--config.file={directory}/alertmanager.yml", "--cluster.listen-address=",
        f"--web.listen-address={address}", f"--storage.path={directory}/data",
    ]  # fmt: skip
    with running(command, directory, f"http://{address}/-/ready"):
        yield address


def series(client: httpx.Client, expression: str) -> list[Any]:
    """Ask an instant query; a query that Prometheus refuses fails."""
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
    found: list[Any] = answer["data"]["result"]
    return found


def firing(client: httpx.Client) -> set[str]:
    """Name the alerts that fire now."""
    alerts = series(client, 'ALERTS{alertstate="firing"}')
    return {alert["metric"]["alertname"] for alert in alerts}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
