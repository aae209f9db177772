"""The serving image: small, tight, and answering forecasts."""

import json
from pathlib import Path

import httpx
import psycopg
import pytest

from foreview.servers.state import free_port
from serving.settings import ServingSettings
from tests.containers import Containers, open_containers, wait_until
from tests.serving.conftest import NOW

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]

MOST_BYTES = 450_000_000


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Containers:
    return open_containers(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="module")
def image(containers: Containers) -> str:
    return containers.build("serving")


def test_the_image_is_small_and_runs_as_nobody_in_particular(
    containers: Containers, image: str
) -> None:
    [facts] = json.loads(containers.podman("image", "inspect", image))
    assert facts["Size"] < MOST_BYTES
    assert facts["Config"]["User"] == "10001:10001"
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "@sha256:" in labels["org.opencontainers.image.base.name"]


def test_the_image_holds_what_the_lock_says_and_nothing_that_builds(
    containers: Containers, image: str
) -> None:
    listing = (
        "import importlib.metadata as m, json, shutil;"
        "found = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()};"
        "tools = [p for p in ('pip', 'uv', 'gcc', 'make', 'apt') if shutil.which(p)];"
        "print(json.dumps([found, tools]))"
    )
    python = ["--entrypoint=/opt/foreview/bin/python"]
    found, tools = json.loads(containers.podman("run", "--rm", *python, image, "-c", listing))
    lock = (Path(__file__).parents[2] / "requirements" / "serving.txt").read_text()
    assert tools == []
    for name, version in found.items():
        if name != "foreview":
            assert f"{name}=={version}" in lock.lower()


def test_a_container_without_any_rights_answers_and_logs_a_forecast(
    containers: Containers, image: str, settings: ServingSettings, champion: str, video: str
) -> None:
    port = free_port()
    with (
        containers.running(
            image,
            ["serve", "--host", "127.0.0.1", "--port", str(port)],
            environment(settings),
            "400m",
        ) as name,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as api,
    ):
        wait_until(
            lambda: is_ready(api),
            seconds=60,
            why_not=lambda: containers.logs(name) + api.get("/readyz").text,
        )
        answer = api.get(f"/v1/videos/{video}/forecast", params={"days": "1,7"})
        explained = api.get(f"/v1/videos/{video}/explanation", params={"days": "7"})
        model = api.get("/v1/model")
        with pytest.raises(AssertionError, match="Read-only file system"):
            containers.podman("exec", name, "/bin/sh", "-c", "echo x > /opt/foreview/x")
    # Kernels that were compiled with the image; they answer only where onnxruntime agrees.
    assert model.raise_for_status().json()["engine"] == "trees"
    assert explained.raise_for_status().json()["terms"]
    views = answer.raise_for_status().json()["metrics"]["views"]["forecasts"]
    assert [view["horizon_days"] for view in views] == [1, 7]
    assert all(view["p10"] <= view["p50"] <= view["p90"] for view in views)
    with psycopg.connect(settings.required_database_url) as connection:
        query = f"SELECT model_digest FROM {settings.database_schema}.forecast_log"
        query += " WHERE video_id = %s"
        # The log is written behind the answer's back, and flushed when the container stops.
        assert connection.execute(query.encode(), [video]).fetchall() == [(champion,)]


def environment(settings: ServingSettings) -> dict[str, str]:
    return {
        "FOREVIEW_DATABASE_URL": settings.required_database_url,
        "FOREVIEW_DATABASE_SCHEMA": settings.database_schema,
        "FOREVIEW_REDIS_URL": settings.required_redis_url,
        "FOREVIEW_MLFLOW_TRACKING_URI": settings.required_mlflow_tracking_uri,
        "FOREVIEW_WORLD": settings.world or "",
        "FOREVIEW_CLOCK": NOW.isoformat(),
        "FOREVIEW_API_KEYS": "off",
    }


def is_ready(api: httpx.Client) -> bool:
    try:
        return api.get("/readyz").is_success
    except httpx.TransportError:
        return False
