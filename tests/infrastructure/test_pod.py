"""The API's pod, as an overlay renders it, played by podman: it answers a forecast."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from foreview.servers.state import free_port
from serving.settings import ServingSettings
from tests.containers import Containers, open_containers, wait_until
from tests.infrastructure.manifests import (
    KUBECTL,
    ROOT,
    Manifest,
    containers,
    named,
    of_kind,
    pod_spec,
)
from tests.serving.conftest import (  # noqa: F401  (fixtures)
    NOW,
    champion,
    log_schema,
    settings,
    store,
    trained,
    video,
    world,
)

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Containers:
    return open_containers(tmp_path_factory.mktemp("podman"))


def environment_of(settings: ServingSettings, port: int, metrics_port: int) -> dict[str, str]:  # noqa: F811
    """What differs between the cluster that the overlay describes and this machine."""
    return {
        "FOREVIEW_API_HOST": "127.0.0.1",
        "FOREVIEW_API_PORT": str(port),
        "FOREVIEW_API_METRICS_PORT": str(metrics_port),
        "FOREVIEW_DATABASE_SCHEMA": settings.database_schema,
        "FOREVIEW_MLFLOW_TRACKING_URI": settings.required_mlflow_tracking_uri,
        "FOREVIEW_REDIS_SENTINELS": "",
        "FOREVIEW_WORLD": settings.world or "",
        "FOREVIEW_CLOCK": NOW.isoformat(),
    }


def rendered_beside(overlay: str, directory: Path, literals: dict[str, str]) -> list[Manifest]:
    """Render an overlay of one's own on top of one of ours: other addresses, nothing else."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(ROOT / "k8s" / "overlays" / overlay, directory)],
        "namespace": f"foreview-{overlay}",
        # The pod shares the machine's network, where podman publishes no ports.
        "patches": [
            {
                "target": {"kind": "Deployment", "name": "foreview-api"},
                "patch": "- {op: remove, path: /spec/template/spec/containers/0/ports}",
            }
        ],
        "configMapGenerator": [
            {
                "name": "foreview-api",
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in literals.items()],
            }
        ],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run(
        [KUBECTL, "kustomize", str(directory)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [m for m in yaml.safe_load_all(done.stdout) if m]


def secrets_of(settings: ServingSettings) -> dict[str, dict[str, str]]:  # noqa: F811
    """What External Secrets and the database's operator would have made."""
    return {
        "foreview-postgresql-app": {"uri": settings.required_database_url},
        "foreview-redis": {"url": settings.required_redis_url},
    }


@contextmanager
def played(
    podman: Containers,
    directory: Path,
    manifests: list[Manifest],
    secrets: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """Run a deployment, first, with its ConfigMap on this machine's network; give the container."""
    for name, data in secrets.items():
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        file = directory / f"{name}.json"
        file.write_text(json.dumps(encoded))
        podman.podman("secret", "create", name, str(file))
    volumes = [volume["name"] for volume in pod_spec(manifests[0])["volumes"]]
    taken = set(podman.podman("volume", "ls", "--format={{.Name}}").split()) & set(volumes)
    assert not taken, f"volumes of these names exist, and the pod's would be theirs: {taken}"
    pod, config = directory / "pod.yaml", directory / "config.yaml"
    pod.write_text(yaml.safe_dump_all(m for m in manifests if m["kind"] != "ConfigMap"))
    config.write_text(yaml.safe_dump_all(of_kind(manifests, "ConfigMap")))
    try:
        told = podman.podman("kube", "play", "--network=host", f"--configmap={config}", str(pod))
        container = told.split()[-1]
        yield container
        # As Kubernetes ends it: asked, with the time its pod is given. `kube down` alone may kill.
        seconds = pod_spec(manifests[0])["terminationGracePeriodSeconds"]
        podman.podman("stop", f"--time={seconds}", container)
    finally:
        podman.podman("kube", "down", str(pod), check=False)
        podman.podman("secret", "rm", *secrets, check=False)


def test_the_api_s_pod_of_an_overlay_answers_a_forecast(
    podman: Containers,
    tmp_path: Path,
    settings: ServingSettings,  # noqa: F811
    champion: str,  # noqa: F811
    video: str,  # noqa: F811
) -> None:
    podman.build("serving")
    port = free_port()
    literals = environment_of(settings, port, free_port())
    rendered = rendered_beside("dev", tmp_path, literals)
    deployment = named(rendered, "Deployment", "foreview-api")
    container = next(containers(deployment))
    config = named(rendered, "ConfigMap", container["envFrom"][0]["configMapRef"]["name"])

    secrets = secrets_of(settings)
    with (
        played(podman, tmp_path, [deployment, config], secrets) as name,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as api,
    ):
        probe = container["readinessProbe"]["httpGet"]["path"]
        wait_until(lambda: answers(api, probe), seconds=120, why_not=lambda: podman.logs(name))
        answer = api.get(f"/v1/videos/{video}/forecast", params={"days": "1,7"})
        [facts] = json.loads(podman.podman("container", "inspect", name))

    views = answer.raise_for_status().json()["metrics"]["views"]["forecasts"]
    assert [view["horizon_days"] for view in views] == [1, 7]
    assert all(view["p10"] <= view["p50"] <= view["p90"] for view in views)
    assert facts["ImageName"] == container["image"]
    assert facts["Config"]["User"] == "10001:10001"
    assert facts["HostConfig"]["ReadonlyRootfs"]
    assert facts["HostConfig"]["Memory"] == 768 * 1024**2
    assert "no-new-privileges" in facts["HostConfig"]["SecurityOpt"]
    assert not facts["EffectiveCaps"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {mount["Destination"] for mount in facts["Mounts"]} == mounts
    # The pod was asked to end, and wrote its log before it did.
    with psycopg.connect(settings.required_database_url) as connection:
        query = f"SELECT model_digest FROM {settings.database_schema}.forecast_log"
        query += " WHERE video_id = %s"
        assert connection.execute(query.encode(), [video]).fetchall() == [(champion,)]


def answers(api: httpx.Client, path: str) -> bool:
    try:
        return api.get(path).is_success
    except httpx.TransportError:
        return False
