"""Every overlay renders, would be accepted by Kubernetes, and keeps the rules; bad ones do not."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.infrastructure import policies, schemas
from tests.infrastructure.manifests import (
    OVERLAYS,
    ROOT,
    Manifest,
    label,
    named,
    of_kind,
    overlay,
    pod_labels,
    pod_spec,
    reaches,
    rendered,
    selects,
    workloads,
)
from tests.infrastructure.policies import Policy

Break = Callable[[list[Manifest]], None]


def api(manifests: list[Manifest]) -> Manifest:
    """Give the API's deployment."""
    return named(manifests, "Deployment", "foreview-api")


def container(manifests: list[Manifest]) -> Manifest:
    """Give the API's container."""
    return pod_spec(api(manifests))["containers"][0]


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("version", [schemas.OLDEST, schemas.NEWEST])
def test_kubernetes_would_accept_an_overlay(name: str, version: str):
    manifests = overlay(name)
    assert len(manifests) > 30
    assert [problem for m in manifests for problem in schemas.violations(m, version)] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_keeps_every_rule(name: str):
    rules = policies.EVERYWHERE if name == "dev" else policies.RELEASED
    manifests = overlay(name)
    assert [problem for rule in rules for problem in rule(manifests)] == []


def test_an_overlay_has_one_namespace_and_base_names_none():
    for name in OVERLAYS:
        spaces = {m["metadata"]["namespace"] for m in overlay(name) if m["kind"] != "Namespace"}
        assert spaces == {f"foreview-{name}"}
        (namespace,) = of_kind(overlay(name), "Namespace")
        assert namespace["metadata"]["name"] == f"foreview-{name}"
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_staging_and_production_differ_in_sizes_and_names_only():
    kinds = [sorted((m["kind"], m["metadata"]["name"].rsplit("-", 1)[0]) for m in overlay(name))
             for name in ("staging", "production")]  # fmt: skip
    assert kinds[0] == kinds[1]


def test_a_restore_renders_and_names_the_moment():
    (cluster,) = [m for m in yaml.safe_load_all(rendered("restore")) if m]
    assert list(schemas.violations(cluster, schemas.NEWEST)) == []
    source = cluster["spec"]["externalClusters"][0]["plugin"]["parameters"]
    (store,) = of_kind(overlay("production"), "ObjectStore")
    assert source["barmanObjectName"] == store["metadata"]["name"]
    assert cluster["spec"]["bootstrap"]["recovery"]["recoveryTarget"]["targetTime"]
    assert list(policies.is_pinned([cluster])) == []


def test_a_restored_database_may_reach_and_be_reached_as_the_first_one_may():
    manifests = overlay("production")
    (cluster,) = [m for m in yaml.safe_load_all(rendered("restore")) if m]
    names = ("foreview-postgresql", cluster["metadata"]["name"])
    first, restored = ({"cnpg.io/cluster": name} for name in names)
    policies_of, clients_of = [], []
    for pod in (first, restored):
        own = [m["spec"]["podSelector"] for m in of_kind(manifests, "NetworkPolicy")]
        policies_of.append([selector for selector in own if selector and selects(selector, pod)])
        clients = [w for w in workloads(manifests) if reaches(manifests, pod_labels(w), pod, 5432)]
        clients_of.append([label(client) for client in clients])
    assert policies_of[0] == policies_of[1] != []
    assert clients_of[0] == clients_of[1]
    assert "Deployment/foreview-api" in clients_of[1]


def set_in(path: str, value: object) -> Break:
    """Break the API's deployment: set a dotted path of its container, or delete it with None."""

    def do(manifests: list[Manifest]) -> None:
        at: Manifest = container(manifests)
        *parents, last = path.split(".")
        for key in parents:
            at = at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value

    return do


def set_in_pod(key: str, value: object) -> Break:
    def do(manifests: list[Manifest]) -> None:
        pod_spec(api(manifests))[key] = value

    return do


def without(kind: str, name: str) -> Break:
    def do(manifests: list[Manifest]) -> None:
        manifests.remove(named(manifests, kind, name))

    return do


def add(manifest: Manifest) -> Break:
    return lambda manifests: manifests.append(manifest)


def budget(**spec: object) -> Break:
    def do(manifests: list[Manifest]) -> None:
        named(manifests, "PodDisruptionBudget", "foreview-api")["spec"].update(spec)

    return do


def strategy(max_unavailable: object) -> Break:
    def do(manifests: list[Manifest]) -> None:
        api(manifests)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = max_unavailable

    return do


def autoscaler(manifests: list[Manifest]) -> None:
    api(manifests)["spec"]["replicas"] = 3


def allow_all(manifests: list[Manifest]) -> None:
    named(manifests, "NetworkPolicy", "foreview-api")["spec"]["egress"] = [{}]


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}}
LITERAL = [{"name": "FOREVIEW_DATABASE_URL", "value": "postgresql://foreview:hunter2@db/foreview"}]
BAD: list[tuple[Policy, str, Break]] = [
    (policies.runs_unprivileged, "as root", set_in_pod("securityContext", {})),
    (policies.runs_unprivileged, "runs as root", set_in("securityContext.runAsUser", 0)),
    (policies.runs_unprivileged, "gain", set_in("securityContext.allowPrivilegeEscalation", True)),
    (policies.runs_unprivileged, "capabilities", set_in("securityContext.capabilities", {})),
    (policies.runs_unprivileged, "write", set_in("securityContext.readOnlyRootFilesystem", None)),
    (policies.runs_unprivileged, "hostNetwork", set_in_pod("hostNetwork", True)),
    (policies.runs_unprivileged, "mounts the host", set_in_pod("volumes", [{"hostPath": {}}])),
    (policies.runs_unprivileged, "token", set_in_pod("automountServiceAccountToken", True)),
    (policies.is_bounded, "no memory in limits", set_in("resources.limits.memory", None)),
    (policies.is_bounded, "no cpu in requests", set_in("resources.requests", {})),
    (policies.is_bounded, "sizeLimit", set_in_pod("volumes", [{"name": "x", "emptyDir": {}}])),
    (policies.is_probed, "no readinessProbe", set_in("readinessProbe", None)),
    (policies.is_probed, "no startupProbe", set_in("startupProbe", None)),
    (policies.is_probed, "store is away", set_in("livenessProbe.httpGet.path", "/readyz")),
    (policies.drains, "still sent requests", set_in("lifecycle", {})),
    (policies.drains, "killed", set_in_pod("terminationGracePeriodSeconds", 10)),
    (policies.drains, "before the next", strategy("25%")),
    (policies.is_spread, "no PodDisruptionBudget", without("PodDisruptionBudget", "foreview-api")),
    (policies.is_spread, "chooses", budget(selector={})),
    (policies.is_spread, "no node", budget(maxUnavailable=0)),
    (policies.is_spread, "not spread", set_in_pod("topologySpreadConstraints", [])),
    (policies.is_pinned, "no digest", set_in("image", "ghcr.io/foreview/foreview-serving:1.0")),
    (policies.has_no_latest, "no version", set_in("image", "foreview-serving:latest")),
    (policies.has_no_latest, "no version", set_in("image", "ghcr.io:443/foreview-serving")),
    (policies.denies_by_default, "by default", without("NetworkPolicy", "default-deny")),
    (policies.denies_by_default, "no network policy", without("NetworkPolicy", "foreview-api")),
    (policies.denies_by_default, "allows all egress", allow_all),
    (policies.keeps_secrets_out, "in the repository", add(SECRET)),
    (policies.keeps_secrets_out, "FOREVIEW_DATABASE_URL", set_in("env", LITERAL)),
    (policies.scales_alone, "resets", autoscaler),
    (policies.scales_alone, "not there", without("Deployment", "foreview-api")),
]


@pytest.mark.parametrize(("rule", "words", "spoil"), BAD)
def test_a_rule_catches_what_breaks_it(rule: Policy, words: str, spoil: Break):
    manifests = overlay("production")
    spoil(manifests)
    problems = list(rule(manifests))
    assert any(words in problem for problem in problems), problems


def test_every_rule_has_a_manifest_that_it_catches():
    assert {rule for rule, _, _ in BAD} == set(policies.RELEASED)


def unknown_kind(manifests: list[Manifest]) -> None:
    api(manifests)["kind"] = "Deploiment"


def unknown_custom_key(manifests: list[Manifest]) -> None:
    named(manifests, "Cluster", "foreview-postgresql")["spec"]["instanses"] = 3


def unknown_custom_value(manifests: list[Manifest]) -> None:
    named(manifests, "ScheduledBackup", "foreview-postgresql")["spec"]["method"] = "pluggin"


def unknown_custom_kind(manifests: list[Manifest]) -> None:
    named(manifests, "Cluster", "foreview-postgresql")["apiVersion"] = "postgresql.cnpg.io/v2"


@pytest.mark.parametrize(
    ("words", "spoil"),
    [
        ("readynessProbe", set_in("readynessProbe", {"httpGet": {"path": "/readyz", "port": 1}})),
        ("not of type 'array'", set_in("args", "serve")),
        ("has no apps/v1", unknown_kind),
        ("instanses is unknown", unknown_custom_key),
        ("pluggin", unknown_custom_value),
        ("has no Cluster", unknown_custom_kind),
    ],
)
def test_the_schemas_catch_what_kubernetes_would_refuse(words: str, spoil: Break):
    manifests = overlay("production")
    spoil(manifests)
    spoilt = [m for m in manifests if m not in overlay("production")]
    problems = [p for m in spoilt for p in schemas.violations(m, schemas.NEWEST)]
    assert any(words in problem for problem in problems), problems


def test_a_release_is_pinned_by_its_digests(tmp_path: Path):
    for name in ("pin", "overlays/staging/kustomization.yaml"):
        target = tmp_path / "k8s" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / "k8s" / name).read_bytes())
    digest = f"sha256:{'ab' * 32}"
    script = ["bash", str(tmp_path / "k8s/pin"), "staging"]
    release = f"foreview-serving=registry.example.com:5000/foreview-serving@{digest}"
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run([*script, release], check=True, env=environment)
    told = yaml.safe_load((tmp_path / "k8s/overlays/staging/kustomization.yaml").read_text())
    images = {image["name"]: image for image in told["images"]}
    assert images["foreview-serving"]["newName"] == "registry.example.com:5000/foreview-serving"
    assert images["foreview-serving"]["digest"] == digest
    assert re.fullmatch("sha256:0{64}", images["foreview-jobs"]["digest"])
    # The last is a ConfigMap's name in that overlay.
    names = ("foreview-nothing", "foreview-mlflow")
    for wrong in ("foreview-serving=x:latest", *(f"{name}=x@{digest}" for name in names)):
        refused = subprocess.run(
            [*script, wrong], capture_output=True, env=environment, check=False
        )
        assert refused.returncode == 2
        assert b"pin: " in refused.stderr
