"""Overlays before other people's eyes: operators' published schemas, and checkov's rules."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.infrastructure.manifests import OVERLAYS, ROOT, Manifest, named, overlay, rendered
from tests.infrastructure.schemas import is_custom

pytestmark = pytest.mark.full

MODELS = Path(__file__).parent / "models"
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
# CloudNativePG's, its plugin's and the Redis operator's schemas are in no package: crds.yaml.
WITHOUT_SCHEMA = {"postgresql.cnpg.io", "barmancloud.cnpg.io", "redis.redis.opstreelabs.in"}
# Secrets as files: the settings of all our programs are variables, and one of a container that no
# other user shares is read by nobody else.
ACCEPTED = {"CKV_K8S_35"}


def problems_by_models(manifests: list[Manifest]) -> tuple[set[str], list[str]]:
    """Give what was checked against a published schema, and what is wrong."""
    node = shutil.which("node")
    if node is None or not (MODELS / "node_modules").is_dir():
        pytest.skip(
            "operators' schemas are not installed: run `make checkers` (needs node and npm)"
        )
    done = subprocess.run(
        [node, str(MODELS / "check.js")],
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=MODELS,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return set(found["checked"]), found["problems"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_operators_would_accept_an_overlay(name: str) -> None:
    manifests = overlay(name)
    checked, problems = problems_by_models(manifests)
    assert problems == []
    expected = {
        f"{m['kind']}/{m['metadata']['name']}"
        for m in manifests
        if is_custom(m) and m["apiVersion"].rpartition("/")[0] not in WITHOUT_SCHEMA
    }
    assert checked == expected
    assert len(checked) >= 9


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Gateway", "foreview", "listeners.0.port", "https"),
        ("HTTPRoute", "foreview", "rules.0.backendRefs.0.port", 0),
        ("SecretStore", "foreview", "provider.aws.service", "SecretsManger"),
        ("ExternalSecret", "foreview-s3", "data.0.remoteRef", "foreview/s3"),
        ("Issuer", "foreview", "acme.privateKeySecretRef", None),
        ("ServiceMonitor", "foreview-api", "endpoints.0.interval", "15 seconds"),
        ("PrometheusRule", "foreview-platform", "groups.0.name", ""),
    ],
)
def test_operators_would_refuse_a_broken_one(
    kind: str, name: str, path: str, value: object
) -> None:
    manifests = overlay("production")
    *parents, last = path.split(".")
    at = named(manifests, kind, name)["spec"]
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    _, problems = problems_by_models(manifests)
    assert [problem for problem in problems if problem.startswith(f"{kind}/{name} ")], problems


def failed_checks(directory: Path, text: str) -> tuple[int, set[tuple[str, str]]]:
    """Give how many of checkov's checks passed, and those that did not with their resource."""
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed: run `make checkers`")
    file = directory / "manifests.yaml"
    file.write_text(text)
    command = ["--framework", "kubernetes", "--skip-download", "--output", "json", "-f", str(file)]
    done = subprocess.run(
        [CHECKOV, *command],
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)
    failed = {(c["check_id"], c["resource"]) for c in found["results"]["failed_checks"]}
    return found["summary"]["passed"], failed


@pytest.mark.parametrize("name", ["production"])
def test_checkov_finds_nothing_that_was_not_accepted(name: str, tmp_path: Path) -> None:
    passed, failed = failed_checks(tmp_path, rendered(f"overlays/{name}"))
    assert {check for check, _ in failed} == ACCEPTED
    assert passed > 300


def test_checkov_finds_what_an_attacker_could_use(tmp_path: Path) -> None:
    manifests = overlay("production")
    api = named(manifests, "Deployment", "foreview-api")
    container = api["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"] = {"privileged": True}
    container["image"] = "foreview-serving:latest"
    _, failed = failed_checks(tmp_path, yaml.safe_dump_all(manifests))
    api_failed = {check for check, resource in failed if resource.endswith("foreview-api")}
    assert {"CKV_K8S_16", "CKV_K8S_14", "CKV_K8S_20"} <= api_failed
