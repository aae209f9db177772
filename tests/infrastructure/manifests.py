"""Renders overlays, and walks what comes out."""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "staging", "production")
KUBECTL = Path(sys.executable).parent / "kubectl"


@functools.cache
def rendered(directory: str) -> str:
    """Render a directory below k8s/ as kubectl would apply it; nothing is asked of a cluster."""
    command = [KUBECTL, "kustomize", str(ROOT / "k8s" / directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def overlay(name: str) -> list[Manifest]:
    """Give an overlay's manifests, freshly parsed: a test may break its own."""
    return [m for m in yaml.load_all(rendered(f"overlays/{name}"), yaml.CSafeLoader) if m]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Give the manifests of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Give the one manifest of a kind and name."""
    (found,) = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def label(manifest: Manifest) -> str:
    """Name a manifest in a message."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_spec(workload: Manifest) -> Manifest:
    """Give the pod of a workload."""
    return workload["spec"]["template"]["spec"]


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    """Give what runs pods of ours."""
    return of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job")


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Give every container of a workload, also those that run first."""
    spec = pod_spec(workload)
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def pod_labels(workload: Manifest) -> dict[str, str]:
    """Give the labels of a workload's pods."""
    return workload["spec"]["template"]["metadata"]["labels"]


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Tell whether a label selector of matchLabels, or of values to be In, picks such pods."""
    if "matchExpressions" in selector:
        return all(labels.get(one["key"]) in one["values"] for one in selector["matchExpressions"])
    return selector.get("matchLabels", selector).items() <= labels.items()


def reaches(
    manifests: list[Manifest], source: dict[str, str], target: dict[str, str], port: int
) -> bool:
    """Tell whether the network policies let pods with some labels reach those with others."""
    policies = of_kind(manifests, "NetworkPolicy")

    def allows(direction: str, peers: str, pod: dict[str, str], other: dict[str, str]) -> bool:
        rules = [
            rule
            for policy in policies
            if selects(policy["spec"]["podSelector"], pod)
            for rule in policy["spec"].get(direction, [])
        ]
        return any(
            port in {allowed["port"] for allowed in rule["ports"]}
            and any(
                set(p) == {"podSelector"} and selects(p["podSelector"], other) for p in rule[peers]
            )
            for rule in rules
        )

    return allows("egress", "to", source, target) and allows("ingress", "from", target, source)
