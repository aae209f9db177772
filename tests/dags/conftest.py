"""Airflow in its own environment, driven from ours, against private servers and the emulator."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from foreview.local import Servers
from foreview.servers.state import free_port
from ingestion import warehouse
from ingestion.collecting import open_client
from ingestion.collector import Collector
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "dags" / "airflow.sh"
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "python"
DRIVER = Path(__file__).parent / "driver.py"
END = datetime(2026, 7, 1, tzinfo=UTC)  # no change of what a view is within the record


@dataclass
class Airflow:
    """An Airflow of the test's own, with what its tasks find in their environment."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        own = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "FOREVIEW_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
            "OMP_WAIT_POLICY": "passive",
        }
        return kept | own | self.settings | changes

    def drive(self, *args: str, **changes: str) -> Any:
        """Run the driver and give what it found."""
        with self.driving(*args, **changes) as process:
            return self.result(process)

    def driving(self, *args: str, **changes: str) -> subprocess.Popen[str]:
        with (self.home / "driver.log").open("a") as log:
            return subprocess.Popen(
                [AIRFLOW, DRIVER, *args],
                env=self.environment(**changes),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.home,
            )

    def result(self, process: subprocess.Popen[str]) -> Any:
        printed, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, (self.home / "driver.log").read_text()[-4000:]
        return json.loads(printed)

    def test(self, dag_id: str, conf: dict[str, Any] | None = None, **changes: str) -> Any:
        return self.drive("test", dag_id, json.dumps(conf or {}), **changes)


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated Airflow with its pools."""
    if not AIRFLOW.exists():
        pytest.skip("Airflow is not installed: run `make airflow-install`")
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [SCRIPT, "prepare"],
        env=Airflow(home).environment(),
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
    return home


@dataclass
class Running:
    """A synthetic YouTube, a warehouse of its own that collects it, and Airflow beside them."""

    emulator: RunningEmulator
    collector: Collector
    engine: Any
    landing: Path
    airflow: Airflow


OpenWorld = Callable[..., Any]


@pytest.fixture(scope="module")
def open_world(
    servers: Servers, mlflow_uri: str, airflow_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenWorld]:
    """A way to make worlds that share servers and nothing else."""
    with ExitStack() as stack:

        def opened(schema: str, redis_number: int, *, days: int, channels: int) -> Running:
            given = servers.environment()
            address = given["FOREVIEW_REDIS_URL"].removesuffix("/0")
            state = tmp_path_factory.mktemp(schema)
            engine = warehouse.open_warehouse(given["FOREVIEW_DATABASE_URL"], schema)
            stack.callback(engine.dispose)
            warehouse.migrate(given["FOREVIEW_DATABASE_URL"], schema)
            world = synthetic_world(11, days=days, channels=channels, end=END)
            emulator = stack.enter_context(running_emulator(world))
            client = stack.enter_context(
                open_client(
                    engine,
                    clock=emulator.now,
                    world="synthetic",
                    api_key=None,
                    endpoint=emulator.address,
                )
            )
            landing = Landing(str(state / "landing"))
            collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
            collector.add(channel.channel_id for channel in world.channels.each)
            settings = given | {
                "FOREVIEW_STATE_DIR": str(state),
                "FOREVIEW_DATABASE_SCHEMA": schema,
                "FOREVIEW_REDIS_URL": f"{address}/{redis_number}",
                "FOREVIEW_YOUTUBE_ENDPOINT": emulator.address,
                "FOREVIEW_CLOCK": emulator.address,
                "FOREVIEW_PARAMS": str(small_params(state)),
            }
            return Running(
                emulator, collector, engine, state / "landing", Airflow(airflow_home, settings)
            )

        yield opened


def small_params(directory: Path) -> Path:
    """Write parameters with which a training takes seconds."""
    params = yaml.safe_load((ROOT / "training" / "params.yaml").read_text())
    few = {"n_estimators": 30, "learning_rate": 0.2, "num_leaves": 15, "colsample_bytree": 0.8}
    params["lightgbm"] |= few
    params["draft"] |= few
    params["robustness"]["windows_days"] = []
    params["robustness"]["trees"] |= {"n_estimators": 10}
    params["intervals"]["min_labels"] = 100
    file = directory / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    return file


@dataclass
class Scheduler:
    """A running Airflow, spoken to by its REST API."""

    address: str

    def unpause(self, *dag_ids: str) -> None:
        """Switch DAGs on once they are parsed; one with a timetable starts its last interval's."""
        wait_for(lambda: set(dag_ids) <= self._dags(), seconds=240)
        with self._api() as api:
            for dag_id in dag_ids:
                changed = api.patch(f"/dags/{dag_id}", json={"is_paused": False})
                changed.raise_for_status()

    def runs(self, dag_id: str) -> list[tuple[str, str]]:
        """Give what started each run of a DAG, and its state; oldest first."""
        with self._api() as api:
            asked = {"order_by": "run_after"}
            found = api.get(f"/dags/{dag_id}/dagRuns", params=asked).raise_for_status().json()
        return [(run["run_type"], run["state"]) for run in found["dag_runs"]]

    def _dags(self) -> set[str]:
        try:
            with self._api() as api:
                found = api.get("/dags").raise_for_status().json()
        except httpx.TransportError:
            return set()
        return {dag["dag_id"] for dag in found["dags"]}

    @contextmanager
    def _api(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=f"{self.address}/api/v2", timeout=60) as api:
            token = api.get(f"{self.address}/auth/token").raise_for_status().json()["access_token"]
            api.headers["Authorization"] = f"Bearer {token}"
            yield api


@contextmanager
def running_scheduler(airflow: Airflow, **changes: str) -> Iterator[Scheduler]:
    """Airflow as `make airflow` runs it: scheduler, DAG processor and web server."""
    port = str(free_port())
    own = {"AIRFLOW__API__PORT": port, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
    environment = airflow.environment(**own, **changes)
    with (airflow.home / "up.log").open("w") as log:
        process = subprocess.Popen([SCRIPT, "up"], env=environment, stdout=log, stderr=log)
    try:
        yield Scheduler(f"http://127.0.0.1:{port}")
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=240)
        _, alive = psutil.wait_procs(children, timeout=20)
        for child in alive:
            child.kill()
    assert alive == [], "Airflow left processes behind"


def wait_for(
    holds: Callable[[], bool], *, seconds: float, found: Callable[[], object] = str
) -> None:
    """Ask again until it holds; where it never does, say what was found instead."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, found()
        time.sleep(1)


@pytest.fixture(scope="session")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Alertmanager that tells nobody."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("Alertmanager is not installed: apt install prometheus-alertmanager")
    directory, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    config = directory / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    address = f"127.0.0.1:{port}"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.path={directory}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_listening(port)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_until_listening(port: int, seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < give_up, f"nothing listens on port {port}"
            time.sleep(0.1)
