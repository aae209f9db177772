"""The model being served: the registry's champion, followed without a restart."""

import asyncio
import ctypes
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from feature_repo.bundle import BundleError
from serving.errors import ModelUnavailable, RegistryError, RegistryUnreachable
from serving.metrics import ServingMetrics
from serving.registry import MlflowRegistry, ModelCache, ModelVersion, model_name

REAL, SYNTHETIC = "real", "synthetic"

_log = logging.getLogger(__name__)


class Model(Protocol):
    """What a loaded model tells of itself."""

    version: str
    digest: str
    world: str


M = TypeVar("M", bound=Model)


class Champion(Generic[M]):
    """Holds the model being served and replaces it, whole, when the registry names another.

    A request takes `model()` once and uses it throughout. A champion that is corrupt or not what
    its tags say is refused: the old model stays, and `problem` says why.
    """

    def __init__(
        self,
        registry: MlflowRegistry,
        cache: ModelCache,
        metrics: ServingMetrics,
        world: str | None,
        poll_seconds: float,
        load: Callable[[Path, str], M],
        situation: str = "published",
    ) -> None:
        worlds = (world,) if world else (REAL, SYNTHETIC)
        self.names = tuple(model_name(world, situation) for world in worlds)
        self.directory: Path | None = None
        self.current: M | None = None
        self._load = load
        self._is_main = situation == "published"
        self.problem: str | None = None
        self.is_confirmed = False
        self._registry = registry
        self._cache = cache
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._refused: ModelVersion | None = None
        self._served: ModelVersion | None = None
        self._task: asyncio.Task[None] | None = None

    def model(self) -> M:
        """Give the model being served.

        Raises:
            ModelUnavailable: There is none yet.
        """
        if self.current is None:
            raise ModelUnavailable(
                f"{self.problem or 'no model was looked for yet'}. Train and register one with "
                "`foreview train`; it is picked up within seconds"
            )
        return self.current

    async def start(self) -> None:
        """Load the champion, or the newest cached model, and go on looking in the background."""
        await self.refresh()
        if self.current is None:
            await self._load_cached()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Ask the registry once; serve what it names, unless that cannot be served."""
        try:
            version = await self._named()
        except (RegistryError, RegistryUnreachable) as error:
            self._metrics.registry_up.set(0)
            self._tell(str(error))
            return
        self._metrics.registry_up.set(1)
        if version is None:
            missing = f"no champion is registered as {' nor '.join(self.names)}"
            # Videos are forecast without a model of drafts: that it is not there yet is no fault.
            optional = "drafts cannot be forecast yet, videos can: " if not self._is_main else ""
            self._tell(optional + missing)
        elif version == self._served:
            self.is_confirmed, self.problem = True, None
        elif version != self._refused:
            await self._serve(version)

    async def _named(self) -> ModelVersion | None:
        for name in self.names:
            version = await self._registry.champion(name)
            if version is not None:
                return version
        return None

    async def _serve(self, version: ModelVersion) -> None:
        try:
            directory = await self._cache.fetch(self._registry, version)
            model = await asyncio.to_thread(self._loaded, directory, version.version)
        except BundleError as error:
            self._refused = version
            self._metrics.model_refused.inc()
            self._tell(f"{version.name} version {version.version} was refused: {error}")
        except (RegistryError, RegistryUnreachable, OSError) as error:
            self._tell(f"{version.name} version {version.version} could not be fetched: {error}")
        else:
            self._swap(model, version, directory, is_confirmed=True)
            self.problem = None
            self._note_served(version, directory)

    async def _load_cached(self) -> None:
        found = self._cache.newest(self.names)
        if found is None:
            return
        directory, version = found
        try:
            model = await asyncio.to_thread(self._loaded, directory, version.version)
        except BundleError as error:
            self._tell(f"the cached model {directory.name} was refused: {error}")
        else:
            self._swap(model, version, directory, is_confirmed=False)

    def _loaded(self, directory: Path, version: str) -> M:
        model = self._load(directory, version)
        _return_memory()
        return model

    def _swap(
        self, model: M, version: ModelVersion, directory: Path, *, is_confirmed: bool
    ) -> None:
        self.current, self.is_confirmed, self.directory = model, is_confirmed, directory
        self._served = version if is_confirmed else None
        if self._is_main:
            self._metrics.model_info.labels = (model.version, model.world)
        _log.info("serving %s version %s (%s)", version.name, version.version, model.digest[:12])

    def _note_served(self, version: ModelVersion, directory: Path) -> None:
        # Only a start without a registry reads the note: a full disk is no reason not to serve.
        try:
            self._cache.mark_served(directory, version)
        except OSError as error:
            _log.warning(
                "%s version %s is served, but the cache cannot note it: %s",
                version.name, version.version, error,
            )  # fmt: skip

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self.refresh()


def _return_memory() -> None:
    """Give back what is free: loading takes several times what stays, and glibc holds on to it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # not every C library has it
        trim(0)
