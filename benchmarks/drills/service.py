"""What serves in a drill: the model registry, three instances of the API, the load balancer."""

import shutil
import signal
import sys
from pathlib import Path

import httpx

from benchmarks.drills.processes import Member, wait_until
from benchmarks.drills.stores import Database, ObjectStore, OnlineStore
from foreview.servers.server import QUIET
from foreview.servers.state import LOOPBACK, free_port

BALANCER = Path(__file__).parents[2] / "serving/haproxy.cfg"
NAIVE_BALANCER = Path(__file__).parent / "naive.cfg"
BUCKET = "foreview-models"


def answers(address: str) -> bool:
    """Tell whether an address answers 200."""
    try:
        return httpx.get(address, timeout=1).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


class Registry:
    """MLflow, its records in PostgreSQL and its files in S3."""

    def __init__(self, directory: Path, database: Database, files: ObjectStore) -> None:
        directory.mkdir(exist_ok=True)
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self.member = Member(
            "mlflow",
            [sys.executable, "-m", "foreview.servers.mlflow_app", f"s3://{BUCKET}"],
            directory,
            lambda: answers(f"{self.url}/health"),
            QUIET | files.environment | {"MLFLOW_BACKEND_STORE_URI": database.mlflow_url},
            inherits_port=port,
        )


class Instance:
    """One process of the API, with its own state directory and port."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.address = f"http://{LOOPBACK}:{self.port}"
        self.state = directory / f"{name}-state"
        self.state.mkdir(exist_ok=True)
        self.member = Member(
            name,
            [sys.executable, "-m", "foreview.cli", "serve", "--port", str(self.port)],
            self.state,
            lambda: answers(f"{self.address}/readyz"),
            environment | {"FOREVIEW_STATE_DIR": str(self.state)},
        )

    def upgrade(self) -> float:
        """Stop as a rollout does, by SIGTERM, and start anew; give the seconds until ready."""
        self.member.stop()
        return self.member.start()

    def hang(self) -> None:
        """Stop answering, with every connection still open."""
        self.member.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self.member.send(signal.SIGCONT)

    def forget_models(self) -> None:
        """Empty the cache of models, as a pod without a volume does."""
        shutil.rmtree(self.state / "models", ignore_errors=True)

    def metric(self, name: str) -> float:
        """Give a counter's or gauge's value; 0 where there is no such series yet."""
        text = httpx.get(f"{self.address}/metrics", timeout=5).text
        lines = [line for line in text.splitlines() if line.partition(" ")[0] == name]
        return float(lines[0].split()[-1]) if lines else 0.0

    def readiness(self) -> dict[str, object]:
        """Give what /readyz says."""
        told: dict[str, object] = httpx.get(f"{self.address}/readyz", timeout=5).json()
        return told


class Balancer:
    """haproxy in front of the instances, with our file or the naive one."""

    def __init__(self, directory: Path, instances: list[Instance], configuration: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.port, self._stats = free_port(), free_port()
        addresses = {
            f"FOREVIEW_API_{at}": f"{LOOPBACK}:{instance.port}"
            for at, instance in enumerate(instances, start=1)
        }
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        self.member = Member(
            f"haproxy-{configuration.stem}",
            [program, "-db", "-f", str(configuration)],
            directory,
            lambda: answers(f"http://{LOOPBACK}:{self._stats}/healthz"),
            addresses
            | {
                "FOREVIEW_HAPROXY_BIND": f"{LOOPBACK}:{self.port}",
                "FOREVIEW_HAPROXY_STATS": f"{LOOPBACK}:{self._stats}",
            },
        )

    def start(self) -> None:
        """Start, and wait until every instance counts."""
        self.member.start()
        wait_until(lambda: answers(f"http://{LOOPBACK}:{self.port}/livez"), "haproxy to pass on")


def environment(
    database: Database, store: OnlineStore, registry: Registry, schema: str, world: str
) -> dict[str, str]:
    """Give the settings of an instance: the same as in k8s/base/api, on loopback."""
    return {
        "FOREVIEW_DATABASE_URL": database.url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_REDIS_URL": store.url(),
        "FOREVIEW_REDIS_SENTINELS": store.sentinel_addresses,
        "FOREVIEW_REDIS_SENTINEL_SERVICE": "foreview",
        "FOREVIEW_MLFLOW_TRACKING_URI": registry.url,
        "FOREVIEW_WORLD": world,
        "FOREVIEW_REGISTRY_POLL_SECONDS": "0.5",
        "OMP_WAIT_POLICY": "passive",
    }
