"""compose.yaml, really up: stores, registry, servers behind haproxy, Airflow, Prometheus."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
import yaml
from botocore.exceptions import ClientError

from feature_repo.bundle import bundle_digest
from foreview.servers.state import free_port
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing
from tests.containers import ROOT, Containers, open_containers, wait_until
from tests.serving.bundles import copy_bundle, write_bundle
from tests.serving.conftest import NOW, Store, register, unique_id

pytestmark = [pytest.mark.trial, pytest.mark.timeout(1800)]

COMPOSE = Path(sys.executable).parent / "podman-compose"
PORTS = ("", "_POSTGRES", "_REDIS", "_S3", "_MLFLOW", "_PROMETHEUS", "_ALERTMANAGER", "_AIRFLOW")
# Prints the hash of each module that an image holds.
MODULES = """
import hashlib, json, pathlib, ingestion
root = pathlib.Path(ingestion.__file__).parents[1]
print(json.dumps({
    str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
    for package in ("feature_repo", "ingestion", "training", "observability")
    for file in (root / package).rglob("*.py")
}))
"""
END = datetime(2026, 7, 1, tzinfo=UTC)
EMULATED = {"seed": 7, "days": 20, "channels": 2}


@dataclass
class Platform:
    """The stack of compose.yaml under a name of the test's own."""

    containers: Containers
    project: str
    variables: Mapping[str, str]
    images: Mapping[str, str]

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

    @property
    def database(self) -> str:
        password = self.variables["POSTGRES_PASSWORD"]
        return f"postgresql://foreview:{password}@{self.address('_POSTGRES')}/foreview"

    def job(self, youtube: str, *args: str) -> None:
        """Run a command of ours beside the stack, on an emulator that is called so."""
        address = f"http://{youtube}:8090"
        options = [
            f"--env={name}={address}" for name in ("FOREVIEW_YOUTUBE_ENDPOINT", "FOREVIEW_CLOCK")
        ]
        self.compose("--profile", "job", "run", "--rm", "--no-deps", *options, "job", *args)

    def logs(self) -> str:
        names = self.containers.podman("ps", "--all", "--format={{.Names}}").split()
        own = [name for name in names if name.startswith(self.project)]
        return "\n".join(f"== {name}\n{self.containers.logs(name)[-1500:]}" for name in own)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    containers = open_containers(tmp_path_factory.mktemp("podman"))
    if shutil.which("iptables") is None:
        pytest.skip("podman makes no network here: apt install iptables")
    images = {name: containers.build(name) for name in ("serving", "jobs", "airflow", "stores")}
    ports = {f"FOREVIEW{port}_PORT": str(free_port()) for port in PORTS}
    given = {name: secrets.token_hex(8) for name in ("POSTGRES_PASSWORD", "S3_SECRET_KEY")}
    given |= {"FOREVIEW_CLOCK": NOW.isoformat()}
    running = Platform(containers, f"fv{secrets.token_hex(4)}", given | ports, images)
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


@pytest.mark.parametrize("image", ["jobs", "airflow"])
def test_an_image_holds_this_tree_and_not_one_that_was_built_before(
    platform: Platform, image: str
) -> None:
    python = ("run", "--rm", "--entrypoint=/opt/foreview/bin/python")
    held = json.loads(platform.containers.podman(*python, platform.images[image], "-c", MODULES))
    assert held == {name: sha256((ROOT / name).read_bytes()).hexdigest() for name in held}
    assert len(held) > 100


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
    for service in ("postgresql", "redis", "s3", "api1"):
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
    with psycopg.connect(platform.database) as connection:
        query = "SELECT count(*) FROM foreview.job_runs WHERE job = 'outcomes'"
        assert connection.execute(query).fetchone() != (0,)


def airflow(platform: Platform, *args: str) -> str:
    command = ("bash", "/opt/dags/airflow.sh", "dags", *args)
    return platform.containers.podman("exec", platform.container("airflow"), *command)


@pytest.fixture
def s3(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the stack's S3, whose address and keys the environment holds for others too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{platform.address('_S3')}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "foreview")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", platform.variables["S3_SECRET_KEY"])
    return boto3.client("s3")


def test_models_lie_in_s3_which_asks_for_its_key(platform: Platform, video: str, s3: Any) -> None:
    listed = s3.list_objects_v2(Bucket="foreview-models")["Contents"]
    assert [one["Size"] for one in listed if one["Key"].endswith("/contract.json")]
    stranger = boto3.client("s3", aws_access_key_id="foreview", aws_secret_access_key="guessed")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket="foreview-models")


def test_collected_answers_lie_in_s3_and_outlive_its_server(
    platform: Platform, video: str, s3: Any
) -> None:
    youtube = f"{platform.project}_youtube"
    world = synthetic_world(**EMULATED, end=END)
    options = [f"--{name}={value}" for name, value in EMULATED.items()]
    serve = ["emulate", "--host=0.0.0.0", f"--end={END.isoformat()}", *options]
    try:
        detached = ("--detach", "--no-deps", "--name", youtube)
        platform.compose("--profile", "job", "run", *detached, "job", *serve)
        logs = platform.containers.logs
        wait_until(lambda: "answers at" in logs(youtube), seconds=100, why_not=platform.logs)
        platform.job(youtube, "targets", "add", world.channels.each[0].channel_id)
        platform.job(youtube, "collect", "--once")
    finally:
        platform.containers.podman("rm", "--force", "--time=1", youtube, check=False)

    landing = Landing("s3://foreview-landing/raw")
    landed = set(landing.refs())
    with psycopg.connect(platform.database) as connection:
        known = connection.execute("SELECT raw_ref FROM foreview.ingested_responses").fetchall()
    assert landed == {ref for (ref,) in known}
    assert landed
    bodies = {ref: landing.get(ref).body for ref in landed}
    assert any(json.loads(body)["kind"] == "youtube#videoListResponse" for body in bodies.values())

    platform.containers.podman("kill", platform.container("s3"))
    platform.compose("start", "s3")
    address = f"http://{platform.address('_S3')}/healthz"
    wait_until(lambda: succeeds(address), seconds=60, why_not=platform.logs)
    assert {ref: Landing(landing.url).get(ref).body for ref in landed} == bodies


def test_only_loopback_is_open() -> None:
    done = subprocess.run(
        [COMPOSE, "--file", "compose.yaml", "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "x", "S3_SECRET_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    services = yaml.safe_load(done.stdout)["services"].values()
    published = [port for service in services for port in service.get("ports", [])]
    assert len(published) == len(PORTS)
    assert all(port.startswith("127.0.0.1:") for port in published)
