"""Rules that every manifest keeps: each gives what breaks it, in words."""

import re
from collections.abc import Callable, Iterator

from tests.infrastructure.manifests import (
    Manifest,
    containers,
    label,
    of_kind,
    pod_labels,
    pod_spec,
    selects,
    workloads,
)

Policy = Callable[[list[Manifest]], Iterator[str]]

# What uvicorn finishes and the forecast log flushes after SIGTERM, at most.
APPLICATION_DRAIN_SECONDS = 14
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}$")
_SECRET_NAME = re.compile(
    r"PASSWORD|SECRET|TOKEN|API_KEY$|ACCESS_KEY|DATABASE_URL|REDIS_URL|STORE_URI"
)


def runs_unprivileged(manifests: list[Manifest]) -> Iterator[str]:
    """Pod security `restricted`, and a root file system nobody writes to."""
    for workload in workloads(manifests):
        spec, where = pod_spec(workload), label(workload)
        pod = spec.get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            yield f"{where} may run as root"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where} has no seccomp profile"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{where} uses {key}"
        if any("hostPath" in volume for volume in spec.get("volumes", [])):
            yield f"{where} mounts the host"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where} holds a token of the cluster"
        for container in containers(workload):
            yield from _unprivileged(f"{where} {container['name']}", container)


def _unprivileged(where: str, container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{where} may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
        yield f"{where} keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{where} can write its root file system"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{where} runs as root"


def is_bounded(manifests: list[Manifest]) -> Iterator[str]:
    """Requests and limits of CPU, memory and disk; volumes in memory or on disk have a size."""
    for workload in workloads(manifests):
        for container in containers(workload):
            given = container.get("resources", {})
            for kind in ("requests", "limits"):
                for resource in ("cpu", "memory", "ephemeral-storage"):
                    if resource not in given.get(kind, {}):
                        yield f"{label(workload)} {container['name']} has no {resource} in {kind}"
        for volume in pod_spec(workload).get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{label(workload)} volume {volume['name']} has no sizeLimit"


def is_probed(manifests: list[Manifest]) -> Iterator[str]:
    """Three probes; what restarts a container asks nothing of other servers."""
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        for container in pod_spec(workload)["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{label(workload)} {container['name']} has no {probe}"
            for probe in ("startupProbe", "livenessProbe"):
                if container.get(probe, {}).get("httpGet", {}).get("path") == "/readyz":
                    yield f"{label(workload)} restarts when a store is away: {probe} asks /readyz"


def drains(manifests: list[Manifest]) -> Iterator[str]:
    """A pod waits before it stops, has the time to finish, and is replaced before it goes."""
    for workload in of_kind(manifests, "Deployment"):
        where, spec = label(workload), pod_spec(workload)
        rolling = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0:
            yield f"{where} stops an instance before the next is ready"
        for container in spec["containers"]:
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
            seconds = sleep.get("seconds", 0)
            if seconds < 1:
                yield f"{where} {container['name']} closes while it is still sent requests"
            if spec.get("terminationGracePeriodSeconds", 30) < seconds + APPLICATION_DRAIN_SECONDS:
                yield f"{where} is killed while it drains"


def is_spread(manifests: list[Manifest]) -> Iterator[str]:
    """Replicas do not share one machine, and a node's drain takes one at a time."""
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for budget in budgets:
        selector = budget["spec"].get("selector", {})
        chosen = [w for w in workloads(manifests) if selects(selector, pod_labels(w))]
        if len(chosen) != 1 or not selector.get("matchLabels"):
            yield f"{label(budget)} chooses {len(chosen)} workloads"
        if budget["spec"].get("maxUnavailable") in (0, "0%"):
            yield f"{label(budget)} lets no node be drained"
    for workload in of_kind(manifests, "Deployment"):
        labels = pod_labels(workload)
        if not any(selects(budget["spec"].get("selector", {}), labels) for budget in budgets):
            yield f"{label(workload)} has no PodDisruptionBudget"
        spread = pod_spec(workload).get("topologySpreadConstraints", [])
        if not any(selects(constraint["labelSelector"], labels) for constraint in spread):
            yield f"{label(workload)} is not spread over machines"


def is_pinned(manifests: list[Manifest]) -> Iterator[str]:
    """Images by digest: what was tested is what runs, whatever becomes of a tag."""
    for workload in workloads(manifests):
        for container in containers(workload):
            if not _DIGEST.match(container["image"]):
                yield f"{label(workload)} runs {container['image']}, which has no digest"
    for cluster in of_kind(manifests, "Cluster"):
        if not _DIGEST.match(cluster["spec"]["imageName"]):
            yield f"{label(cluster)} runs {cluster['spec']['imageName']}, which has no digest"


def has_no_latest(manifests: list[Manifest]) -> Iterator[str]:
    """No image without a version."""
    for workload in workloads(manifests):
        for container in containers(workload):
            name = container["image"].rsplit("/", 1)[-1]
            if ":" not in name or name.endswith(":latest"):
                yield f"{label(workload)} runs {container['image']}, which has no version"


def denies_by_default(manifests: list[Manifest]) -> Iterator[str]:
    """Nothing may talk unless a policy says so, and every workload has one."""
    policies = of_kind(manifests, "NetworkPolicy")
    denials = [
        policy
        for policy in policies
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"].get("policyTypes", [])) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    ]
    if not denials:
        yield "nothing denies by default"
    for policy in policies:
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                if not rule.get(peers) or not rule.get("ports"):
                    yield f"{label(policy)} allows all {direction} of somebody"
    for workload in workloads(manifests):
        own = [p["spec"]["podSelector"] for p in policies if p["spec"]["podSelector"]]
        if not any(selects(selector, pod_labels(workload)) for selector in own):
            yield f"{label(workload)} has no network policy"


def keeps_secrets_out(manifests: list[Manifest]) -> Iterator[str]:
    """Secrets by reference: none is written in a manifest or in a ConfigMap."""
    for secret in of_kind(manifests, "Secret"):
        yield f"{label(secret)} is in the repository"
    for workload in workloads(manifests):
        for container in containers(workload):
            for variable in container.get("env", []):
                if "value" in variable and _SECRET_NAME.search(variable["name"]):
                    yield f"{label(workload)} writes {variable['name']} out"
    for config in of_kind(manifests, "ConfigMap"):
        for name in config.get("data", {}):
            if _SECRET_NAME.search(name):
                yield f"{label(config)} writes {name} out"


def scales_alone(manifests: list[Manifest]) -> Iterator[str]:
    """What an autoscaler scales states no number of its own, and never falls below two."""
    for autoscaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = autoscaler["spec"]["scaleTargetRef"]["name"]
        chosen = [w for w in of_kind(manifests, "Deployment") if w["metadata"]["name"] == target]
        if len(chosen) != 1:
            yield f"{label(autoscaler)} scales {target}, which is not there"
        elif "replicas" in chosen[0]["spec"]:
            yield f"{label(chosen[0])} resets what {label(autoscaler)} decided"
        if autoscaler["spec"].get("minReplicas", 1) < 2:
            yield f"{label(autoscaler)} may leave a single instance"
        if not autoscaler["spec"].get("behavior", {}).get("scaleDown"):
            yield f"{label(autoscaler)} scales down as fast as up"


EVERYWHERE: tuple[Policy, ...] = (
    runs_unprivileged,
    is_bounded,
    is_probed,
    drains,
    is_spread,
    has_no_latest,
    denies_by_default,
    keeps_secrets_out,
    scales_alone,
)
RELEASED: tuple[Policy, ...] = (*EVERYWHERE, is_pinned)
