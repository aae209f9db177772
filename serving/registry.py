"""The model registry, MLflow's, by its REST API; and the local cache of what came from it."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from httpx import codes
from pydantic import BaseModel, ValidationError

from feature_repo.bundle import (
    CARD_FILE,
    CONTRACT_FILE,
    DIGESTED_FILES,
    NATIVE_DIRECTORY,
    BundleError,
    Contract,
    bundle_digest,
    read_contract,
)
from feature_repo.targets import METRICS
from serving.errors import RegistryError, RegistryUnreachable

CHAMPION = "champion"

_NATIVE_FILES = tuple(f"{NATIVE_DIRECTORY}/{metric}.txt" for metric in METRICS)
_OPTIONAL_FILES = (CARD_FILE, *_NATIVE_FILES)
_FILES = (CONTRACT_FILE, *DIGESTED_FILES, *_OPTIONAL_FILES)
_VERSION_FILE = "version.json"
# Of each model: the one that is served, and those that a rollback is likely to name.
_KEPT_VERSIONS = 3
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

_log = logging.getLogger(__name__)


def model_name(world: str, situation: str = "published") -> str:
    """Name the registered model that forecasts videos of a situation and world."""
    return f"foreview-{situation}-{world}"


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, with the tags that training gave it.

    Versions never change, their tags may: two are the same by name and number.
    """

    name: str
    version: str
    source: str = field(default="", compare=False)
    tags: dict[str, str] = field(default_factory=dict, compare=False)


class _Tag(BaseModel):
    key: str
    value: str = ""


class _Described(BaseModel):
    """A version as MLflow describes it, or whatever else answers in its place."""

    name: str
    version: str
    source: str
    tags: list[_Tag] = []

    def version_told(self) -> ModelVersion:
        tags = {tag.key: tag.value for tag in self.tags}
        return ModelVersion(self.name, self.version, self.source, tags)


class MlflowRegistry:
    """An MLflow tracking server, asked for model versions and their files.

    Files come through the server, which reads them where they are (`mlflow-artifacts:/`,
    `models:/`, `s3://`), so that this process needs no store's credentials.
    """

    def __init__(self, tracking_uri: str, timeout_seconds: float = 2.0) -> None:
        self.address = tracking_uri.rstrip("/")
        self._client = httpx.AsyncClient(base_url=self.address, timeout=timeout_seconds)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def champion(self, name: str) -> ModelVersion | None:
        """Give the version that the alias `champion` of a model names; None where there is none.

        Raises:
            RegistryUnreachable: The server does not answer.
            RegistryError: It answers with something else.
        """
        route = "/api/2.0/mlflow/registered-models/alias"
        return await self._version(route, {"name": name, "alias": CHAMPION})

    async def version(self, name: str, version: str) -> ModelVersion | None:
        """Give a version by its number; None where there is none. Raises as `champion` does."""
        route = "/api/2.0/mlflow/model-versions/get"
        return await self._version(route, {"name": name, "version": version})

    async def download(self, version: ModelVersion, directory: Path) -> None:
        """Write the files of a version's bundle into a directory.

        Raises:
            RegistryUnreachable: The server does not answer.
            RegistryError: A file is missing, or cannot be had now.
        """
        for file in _FILES:
            answer = await self._get(*_artifact_query(version, file))
            if answer.is_success:
                (directory / file).parent.mkdir(exist_ok=True)
                (directory / file).write_bytes(answer.content)
            # What is taken for missing now is missing for good: the bundle is kept as it came.
            elif file not in _OPTIONAL_FILES or answer.status_code != codes.NOT_FOUND:
                raise RegistryError(
                    f"{version.name} version {version.version} gives no {file}: "
                    f"{answer.status_code} from {self.address}"
                )

    async def _version(self, route: str, query: dict[str, str]) -> ModelVersion | None:
        answer = await self._get(route, query)
        content = _json_object(answer)
        found = content.get("model_version")
        if answer.is_success and found is not None:
            with contextlib.suppress(ValidationError):
                return _Described.model_validate(found).version_told()
        if content.get("error_code") in _NOT_FOUND:
            return None
        raise RegistryError(
            f"{self.address} (FOREVIEW_MLFLOW_TRACKING_URI) answered {answer.status_code} when "
            f"asked for {query}: is it an MLflow server?"
        )

    async def _get(self, route: str, query: dict[str, str]) -> httpx.Response:
        try:
            return await self._client.get(route, params=query)
        except httpx.HTTPError as error:
            raise RegistryUnreachable(
                f"the model registry at {self.address} (FOREVIEW_MLFLOW_TRACKING_URI) does not "
                f"answer: {type(error).__name__}"
            ) from error


class ModelCache:
    """Verified bundles on disk, a directory per digest, each with the version it came from.

    Of each model the few that were served last are kept: a server's disk is no archive.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, digest: str) -> Path | None:
        """Give the directory of a bundle, or None."""
        path = self._directory / digest
        return path if (path / CONTRACT_FILE).is_file() else None

    def newest(self, names: tuple[str, ...]) -> tuple[Path, ModelVersion] | None:
        """Give the bundle last served of the first of these models that has one."""
        for name in names:
            cached = self._served(name)
            if cached:
                return cached[0]
        return None

    def mark_served(self, directory: Path, version: ModelVersion) -> None:
        """Note which version a cached bundle was last served as, and let go of old ones."""
        content = orjson.dumps({"name": version.name, "version": version.version})
        descriptor, temporary = tempfile.mkstemp(dir=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(directory / _VERSION_FILE)
        for old, _ in self._served(version.name)[_KEPT_VERSIONS:]:
            shutil.rmtree(old, ignore_errors=True)  # another server may be at it

    async def fetch(self, registry: MlflowRegistry, version: ModelVersion) -> Path:
        """Give a version's bundle, from disk if it is there, else from the registry, verified.

        Raises:
            BundleError: The bundle is corrupt, or not the one its tags describe.
            RegistryUnreachable: The registry does not answer.
            RegistryError: The registry lacks a file.
        """
        known = self.path(version.tags.get("bundle_digest", "-"))
        if known is not None and _is_intact(known):
            return known
        self._directory.mkdir(parents=True, exist_ok=True)
        arriving = Path(tempfile.mkdtemp(prefix=".arriving-", dir=self._directory))
        try:
            await registry.download(version, arriving)
            contract = read_contract(arriving)
            _check_tags(version, contract)
            return self._keep(arriving, bundle_digest(contract))
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _keep(self, arriving: Path, digest: str) -> Path:
        kept = self._directory / digest
        if kept.is_dir() and not _is_intact(kept):
            shutil.rmtree(kept)
        if not kept.is_dir():
            arriving.chmod(0o755)
            arriving.rename(kept)
        return kept

    def _served(self, name: str) -> list[tuple[Path, ModelVersion]]:
        """List the bundles of a model that were served, the last one first."""
        cached = [entry for entry in self._entries() if entry[1].name == name]
        cached.sort(key=lambda entry: (entry[0] / _VERSION_FILE).stat().st_mtime, reverse=True)
        return cached

    def _entries(self) -> Iterator[tuple[Path, ModelVersion]]:
        for file in self._directory.glob(f"*/{_VERSION_FILE}"):
            try:
                noted: dict[str, Any] = orjson.loads(file.read_bytes())
                version = ModelVersion(noted["name"], noted["version"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                # A note that a crash cut short; without it the bundle is only not the last served.
                _log.warning("%s is not read: %s", file, error)
            else:
                yield file.parent, version


def _check_tags(version: ModelVersion, contract: Contract) -> None:
    """Refuse a bundle that is not the one its registered version was tagged as."""
    actual = {
        "bundle_digest": bundle_digest(contract),
        "schema_hash": contract.schema_hash,
        "feature_service": contract.feature_service,
        "world": contract.world,
    }
    for tag, value in actual.items():
        if version.tags.get(tag, value) != value:
            raise BundleError(
                f"{version.name} version {version.version} is tagged {tag}={version.tags[tag]}, "
                f"its bundle says {value}"
            )
    if version.name != model_name(contract.world, contract.situation):
        raise BundleError(f"{version.name} holds a model of the world {contract.world}")


def _artifact_query(version: ModelVersion, file: str) -> tuple[str, dict[str, str]]:
    """Give the route and query of a file; a source `runs:/` the server resolves only by run."""
    if version.source.startswith("runs:/"):
        run_id, _, path = version.source.removeprefix("runs:/").partition("/")
        return "/get-artifact", {"run_uuid": run_id, "path": f"{path}/{file}".lstrip("/")}
    query = {"name": version.name, "version": version.version, "path": file}
    return "/model-versions/get-artifact", query


def _is_intact(directory: Path) -> bool:
    try:
        read_contract(directory)
    except BundleError:
        return False
    return True


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
