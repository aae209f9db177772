"""Checks manifests against Kubernetes' schemas, and custom kinds against the keys we know."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.infrastructure.manifests import Manifest, label

# The oldest and newest Kubernetes that k8s/ supports.
OLDEST, NEWEST = "1.34", "1.37"

_CRDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "crds.yaml").read_text())


def is_custom(manifest: Manifest) -> bool:
    """Tell whether a kind is an operator's."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return ("." in group and not group.endswith(".k8s.io")) or group.startswith("gateway.")


def violations(manifest: Manifest, version: str) -> Iterator[str]:
    """Give what a Kubernetes of this version would refuse."""
    if is_custom(manifest):
        yield from _custom_violations(manifest)
        return
    try:
        # Strict: a key that the schema does not name is an error. An unknown kind raises too.
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{label(manifest)} {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{label(manifest)}: Kubernetes {version} has no {manifest['apiVersion']}"


def _custom_violations(manifest: Manifest) -> Iterator[str]:
    allowed = _CRDS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if allowed is None:
        yield f"{label(manifest)}: {manifest['apiVersion']} has no {manifest['kind']} that we know"
        return
    yield from _unknown_keys(f"{label(manifest)} spec", manifest["spec"], allowed)


def _unknown_keys(where: str, found: Any, allowed: Any) -> Iterator[str]:
    if allowed == "any":
        return
    if isinstance(allowed, dict):
        if not isinstance(found, dict):
            yield f"{where} holds keys, not {found!r}"
            return
        for key, value in found.items():
            if key in allowed:
                yield from _unknown_keys(f"{where}.{key}", value, allowed[key])
            else:
                yield f"{where}.{key} is unknown"
    elif isinstance(allowed[0], dict):
        if not isinstance(found, list):
            yield f"{where} is a list"
            return
        for at, entry in enumerate(found):
            yield from _unknown_keys(f"{where}[{at}]", entry, allowed[0])
    elif found not in allowed:
        yield f"{where} is {found!r}, not one of {', '.join(allowed)}"
