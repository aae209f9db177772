"""An image, pushed to a registry, pinned in an overlay, and described by what it holds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from foreview.servers.state import free_port
from tests.containers import ROOT, Containers, open_containers, wait_until

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Containers:
    opened = open_containers(tmp_path_factory.mktemp("podman"))
    opened.build("serving")
    return opened


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry of the test's own, on loopback."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no registry to push to: apt install docker-registry")
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "registry.yml"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    config.write_text(yaml.safe_dump(settings))
    log = tmp_path / "registry.log"
    with log.open("w") as file:
        process = subprocess.Popen([program, "serve", str(config)], stdout=file, stderr=file)
    try:
        wait_until(lambda: answers(address), seconds=30, why_not=log.read_text)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/").is_success
    except httpx.TransportError:
        return False


def script(containers: Containers, *command: object, **variables: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=containers.environment | variables,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_published_image_is_pinned_by_the_digest_that_the_registry_has(
    containers: Containers, registry: str, tmp_path: Path
) -> None:
    publish = ROOT / "k8s" / "publish"
    told = script(containers, publish, f"{registry}/team", "serving", TLS_VERIFY="false")
    name, _, image = told.partition("=")
    reference, _, digest = image.partition("@")
    assert (name, reference) == ("foreview-serving", f"{registry}/team/foreview-serving")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    found = httpx.get(
        f"http://{registry}/v2/team/foreview-serving/manifests/{digest}", headers=accept
    )
    assert found.raise_for_status().headers["Docker-Content-Digest"] == digest

    for part in ("pin", "overlays/staging/kustomization.yaml"):
        (tmp_path / "k8s" / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / "k8s" / part, tmp_path / "k8s" / part)
    script(containers, tmp_path / "k8s" / "pin", "staging", told)
    overlay = yaml.safe_load((tmp_path / "k8s/overlays/staging/kustomization.yaml").read_text())
    assert {"name": name, "newName": reference, "digest": digest} in overlay["images"]


def test_a_bill_of_materials_names_what_the_image_holds(
    containers: Containers, tmp_path: Path
) -> None:
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script(containers, ROOT / "k8s" / "sbom", tmp_path, "serving", PATH=tools)
    bill = json.loads((tmp_path / "foreview-serving.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    held = {part["name"].lower(): part["version"] for part in bill["components"]}
    lock = (ROOT / "requirements" / "serving.txt").read_text().lower()
    assert len(held) > 40
    assert f"fastapi=={held['fastapi']}" in lock
    assert {"numba", "scipy", "feast", "mlflow"} & held.keys() == set()
