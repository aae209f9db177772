"""Real Prometheus and Alertmanager over the running platform, by its own settings and rules."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import start_http_server

from foreview.exporting import platform_registry
from foreview.servers.state import free_port
from observability import boards, checks, pipeline
from observability.champion import ModelRegistry
from observability.settings import ObservabilitySettings
from serving.app import run_in_thread
from tests.observability.live import alertmanager, firing, prometheus, series, until, webhook
from tests.observability.platform import Platform

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def exporter(healthy_platform: Platform) -> Iterator[str]:
    """The address of `foreview metrics` over the platform, after every check was made once."""
    platform = healthy_platform
    pipeline.outcomes(platform.url, platform.schema, platform.clock)
    with ModelRegistry(platform.environment["FOREVIEW_MLFLOW_TRACKING_URI"]) as models:
        sources = checks.Sources(platform.url, platform.schema, models, platform.clock)
        checks.check_drift(sources, "synthetic", days=9)
        checks.check_skew(sources, platform.store, "synthetic", hours=24 * 9)
    settings = ObservabilitySettings(
        database_url=platform.url,
        database_schema=platform.schema,
        redis_url=platform.environment["FOREVIEW_REDIS_URL"],
    )
    registry = platform_registry(settings, platform.clock)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def without_series(prom: httpx.Client, asked: list[str]) -> list[str]:
    return [expression for expression in asked if not series(prom, expression)]


def test_every_board_expression_returns_series_on_a_live_run(
    healthy_platform: Platform, exporter: str, tmp_path: Path
) -> None:
    asked = boards.expressions()
    with (
        run_in_thread(healthy_platform.serving_settings(), healthy_platform.clock) as server,
        httpx.Client(base_url=server.address, timeout=30) as api,
        prometheus(
            tmp_path / "prometheus", [server.address.removeprefix("http://")], exporter, []
        ) as prom,
    ):
        until(lambda: api.get("/readyz").is_success, "model")
        lifetime = healthy_platform.world.end - healthy_platform.world.start
        video_ids = healthy_platform.videos(lifetime)

        def all_answer() -> bool:
            api.post("/v1/forecasts", json={"video_ids": video_ids[:20], "days": [1]})
            return not without_series(prom, asked)

        try:
            until(all_answer, "series for every expression")
        except AssertionError:
            pytest.fail(f"no series for {without_series(prom, asked)}")
        assert without_series(prom, ["sum(rate(forecast_totals[5m]))"])  # misspelt: red
        assert firing(prom) <= {"Watchdog"} | SLOW_MACHINE


# A machine that tests share may really be slow.
SLOW_MACHINE = {"ForecastLatencyBurnsFast"}

_INSTANCE = """
import sys
from datetime import datetime
from serving.app import run_in_thread
from serving.settings import ServingSettings
import time
now = datetime.fromisoformat(sys.argv[1])
with run_in_thread(ServingSettings(), lambda: now, port=int(sys.argv[2])):
    time.sleep(600)
"""


def test_an_instance_that_is_killed_pages_at_a_webhook_within_seconds(
    healthy_platform: Platform, exporter: str, tmp_path: Path
) -> None:
    platform, port = healthy_platform, free_port()
    environment = os.environ | platform.environment | {"FOREVIEW_WORLD": "synthetic"}
    environment["FOREVIEW_STATE_DIR"] = str(platform.state_dir)
    now = platform.clock().isoformat()
    instance = subprocess.Popen(
        [sys.executable, "-c", _INSTANCE, now, str(port)], env=environment, start_new_session=True
    )
    address = f"127.0.0.1:{port}"
    try:
        with (
            webhook() as hook,
            alertmanager(tmp_path / "alertmanager", hook.address) as manager,
            prometheus(tmp_path / "prometheus", [address], exporter, [manager]) as prom,
        ):
            up = 'up{job="foreview-serving"} == 1'
            until(lambda: series(prom, up), "instance that is up")
            until(lambda: "Watchdog" in hook.names("/watchdog"), "watchdog at the webhook")
            assert not hook.names("/pages")
            killed = time.monotonic()
            instance.send_signal(signal.SIGKILL)
            until(lambda: hook.names("/pages"), "page")
            assert hook.names("/pages") == {"ForecastInstanceDown"}
            assert time.monotonic() - killed < 45  # ten of them the alert's own patience
    finally:
        instance.kill()
        instance.wait()
