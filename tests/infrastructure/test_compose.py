"""compose.yaml, really up: stores, registry, servers behind the balancer, Airflow, Prometheus."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from feature_repo.bundle import bundle_digest
from foreview.servers.state import free_port
from tests.containers import ROOT, Containers, open_containers, wait_until
from tests.serving.bundles import copy_bundle, write_bundle
from tests.serving.conftest import NOW, Store, register, unique_id

pytestmark = [pytest.mark.trial, pytest.mark.timeout(1800)]

COMPOSE = Path(sys.executable).parent / "podman-compose"
PORTS = ("", "_POSTGRES", "_REDIS", "_MLFLOW", "_PROMETHEUS", "_ALERTMANAGER", "_AIRFLOW")


@dataclass
class Platform:
    """The stack of compose.yaml under a name of the test's own."""

    containers: Containers
    project: str
    variables: Mapping[str, str]

    def compose(self, *args: str, check: bool = True) -> str:
        command = [str(COMPOSE), "--project-name", self.project, "--file", "compose.yaml", *args]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.containers.environment | self.variables,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def address(self, port: str) -> str:
        return f"127.0.0.1:{self.variables[f'FOREVIEW{port}_PORT']}"

    def logs(self) -> str:
        names = self.containers.podman("ps", "--all", "--format={{.Names}}").split()
        own = [name for name in names if name.startswith(self.project)]
        return "\n".join(f"== {name}\n{self.containers.logs(name)[-1500:]}" for name in own)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    containers = open_containers(tmp_path_factory.mktemp("podman"))
    if shutil.which("iptables") is None:
        pytest.skip("podman makes no network here: apt install iptables")
    for name in ("serving", "jobs", "airflow", "stores"):
        containers.build(name)
    ports = {f"FOREVIEW{port}_PORT": str(free_port()) for port in PORTS}
    given = {"POSTGRES_PASSWORD": secrets.token_hex(8), "FOREVIEW_CLOCK": NOW.isoformat()}
    running = Platform(containers, f"fv{secrets.token_hex(4)}", given | ports)
    try:
        running.compose("up", "--detach")
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout=10", check=False)


@pytest.fixture(scope="module")
def video(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A video online, and a champion that forecasts it."""
    directory = tmp_path_factory.mktemp("champion")
    mlflow = f"http://{platform.address('_MLFLOW')}"
    wait_until(lambda: succeeds(f"{mlflow}/health"), seconds=400, why_not=platform.logs)
    write_bundle(directory / "trained", "synthetic")
    contract = copy_bundle(directory / "trained", directory / "bundle", "synthetic")
    tags = {"bundle_digest": bundle_digest(contract)}
    register(mlflow, directory / "bundle", "synthetic", tags)
    store, name = Store(f"redis://{platform.address('_REDIS')}/0"), unique_id()
    store.put_video(name, f"UC{name}", "synthetic")
    store.put_channel(f"UC{name}")
    yield name
    store.close()


def succeeds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.TransportError:
        return False


def test_a_forecast_is_answered_also_while_an_instance_is_killed(
    platform: Platform, video: str
) -> None:
    forecast = f"http://{platform.address('')}/v1/videos/{video}/forecast?days=1,7"
    wait_until(lambda: succeeds(forecast), seconds=300, why_not=platform.logs)
    platform.containers.podman("kill", platform.container("api2"))
    answers = [httpx.get(forecast, timeout=30) for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200}
    views = answers[0].json()["metrics"]["views"]["forecasts"]
    assert [view["horizon_days"] for view in views] == [1, 7]
    platform.compose("start", "api2")


def test_healthchecks_pass_and_setup_ended_well(platform: Platform, video: str) -> None:
    for service in ("postgresql", "redis", "api1"):
        name = platform.container(service)
        wait_until(lambda name=name: is_healthy(platform, name), seconds=120, why_not=platform.logs)
    state = "--format={{.State.Status}} {{.State.ExitCode}}"
    asked = ("inspect", state, platform.container("setup"))
    wait_until(
        lambda: platform.containers.podman(*asked) == "exited 0",
        seconds=300,
        why_not=platform.logs,
    )


def is_healthy(platform: Platform, name: str) -> bool:
    done = subprocess.run(
        ["podman", "healthcheck", "run", name],
        env=platform.containers.environment,
        capture_output=True,
        timeout=60,
    )
    return done.returncode == 0


def test_prometheus_scrapes_every_instance_and_knows_its_alertmanager(
    platform: Platform, video: str
) -> None:
    prometheus = f"http://{platform.address('_PROMETHEUS')}/api/v1"

    def asked(path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{prometheus}/{path}", params=parameters, timeout=30)
        return answer.raise_for_status().json()["data"]

    def up() -> dict[str, str]:
        found = asked("query", query="up")["result"]
        return {one["metric"]["instance"]: one["value"][1] for one in found}

    expected = {"api1:8080": "1", "api2:8080": "1", "api3:8080": "1", "metrics:9108": "1"}
    wait_until(lambda: up() == expected, seconds=300, why_not=lambda: f"{up()} {platform.logs()}")
    managers = asked("alertmanagers")["activeAlertmanagers"]
    assert [manager["url"] for manager in managers] == ["http://alertmanager:9093/api/v2/alerts"]
    assert asked("rules")["groups"]


def test_a_dag_runs_its_command_on_the_stores_of_the_stack(platform: Platform, video: str) -> None:
    address = f"http://{platform.address('_AIRFLOW')}/api/v2/monitor/health"
    wait_until(lambda: succeeds(address), seconds=400, why_not=platform.logs)
    wait_until(lambda: "outcomes" in airflow(platform, "list"), seconds=200, why_not=platform.logs)
    airflow(platform, "unpause", "-y", "outcomes")
    airflow(platform, "trigger", "outcomes", "--run-id", "asked")

    def states() -> dict[str, str]:
        printed = airflow(platform, "list-runs", "outcomes", "-o", "json")
        return {run["run_id"]: run["state"] for run in json.loads(printed[printed.find("[{") :])}

    wait_until(lambda: states()["asked"] == "success", seconds=300, why_not=platform.logs)
    password = platform.variables["POSTGRES_PASSWORD"]
    stored = f"postgresql://foreview:{password}@{platform.address('_POSTGRES')}/foreview"
    with psycopg.connect(stored) as connection:
        query = "SELECT count(*) FROM foreview.job_runs WHERE job = 'outcomes'"
        assert connection.execute(query).fetchone() != (0,)


def airflow(platform: Platform, *args: str) -> str:
    command = ("bash", "/opt/dags/airflow.sh", "dags", *args)
    return platform.containers.podman("exec", platform.container("airflow"), *command)


def test_only_loopback_is_open() -> None:
    done = subprocess.run(
        [COMPOSE, "--file", "compose.yaml", "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    services = yaml.safe_load(done.stdout)["services"].values()
    published = [port for service in services for port in service.get("ports", [])]
    assert len(published) == len(PORTS)
    assert all(port.startswith("127.0.0.1:") for port in published)
