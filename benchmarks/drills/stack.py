"""The platform of a drill: every store, the registry, three instances and both load balancers."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.drills import service
from benchmarks.drills.mounts import small_disks
from benchmarks.drills.processes import Member
from benchmarks.drills.service import Balancer, Instance, Registry
from benchmarks.drills.stores import Database, ObjectStore, OnlineStore
from feature_repo.bundle import bundle_digest
from foreview.servers.home import link_to_home, open_home
from ingestion.warehouse import migrate
from tests.serving.bundles import copy_bundle, write_bundle
from tests.serving.conftest import NOW, Store, register, unique_id

SCHEMA = "drill"
WORLD = "drill"
_VIDEOS = 60


@dataclass
class Stack:
    """All that runs, and where clients ask."""

    directory: Path
    database: Database
    online: OnlineStore
    files: ObjectStore
    registry: Registry
    instances: list[Instance]
    balancer: Balancer
    naive: Balancer
    paths: list[str]
    versions: int = 1
    has_small_disks: bool = False

    def register_model(self, seed: int, spoil: Callable[[Path], None] | None = None) -> str:
        """Register another champion, spoilt after its digests were taken; give its digest."""
        self.versions += 1
        directory = self.directory / f"bundle-{self.versions}"
        contract = copy_bundle(self.directory / "trained", directory, WORLD, seed=seed)
        if spoil is not None:
            spoil(directory)
        digest = bundle_digest(contract)
        register(self.registry.url, directory, WORLD, {"bundle_digest": digest})
        return digest

    def restart_with(self, **settings: str) -> None:
        """Restart every instance with some settings changed; none changes them back."""
        for instance in self.instances:
            instance.member.stop()
            instance.member.environment = (
                self.settings
                | settings
                | {
                    "FOREVIEW_STATE_DIR": str(instance.state),
                    "PATH": instance.member.environment["PATH"],
                }
            )
            instance.member.launch()
        for instance in self.instances:
            instance.member.wait()

    def warm(self) -> None:
        """Ask every instance for every forecast once: the store's outage then finds them known."""
        for instance in self.instances:
            with httpx.Client(base_url=instance.address, timeout=10) as client:
                for path in self.paths:
                    client.get(path)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of every instance."""
        found = service.environment(self.database, self.online, self.registry, SCHEMA, WORLD)
        return found | {"FOREVIEW_CLOCK": NOW.isoformat()}


@contextlib.contextmanager
def open_stack(tell: Callable[[str], None]) -> Iterator[Stack]:
    """Start everything below a temporary directory; end and delete everything afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="foreview-drill-"))
    directory.chmod(0o755)
    started: list[Member] = []
    home = open_home(directory)
    disks = [home.own_directory(f"redis-{at}") for at in range(3)]
    try:
        with small_disks(disks) as has_small_disks:
            stack = _start(directory, home, started, tell)
            stack.has_small_disks = has_small_disks
            yield stack
    finally:
        for member in reversed(started):
            with contextlib.suppress(Exception):
                member.kill()
        link = link_to_home(directory)
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, home, started: list[Member], tell: Callable[[str], None]) -> Stack:
    database, online, files = Database(home), OnlineStore(home), ObjectStore(directory / "s3")
    started += [database.member, *online.servers, *online.sentinels, files.member]
    tell("starting PostgreSQL, three Redis servers with Sentinels, and S3")
    database.start()
    online.start()
    files.member.start()
    files.create(service.BUCKET)
    registry = Registry(directory / "mlflow", database, files)
    started.append(registry.member)
    registry.member.launch()
    tell("training a small model while MLflow starts")
    migrate(database.url, SCHEMA)
    contract = _train(directory)
    paths = _observe(online.url())
    registry.member.wait()
    first = directory / "bundle-1"
    contract = copy_bundle(first.with_name("trained"), first, WORLD)
    register(registry.url, first, WORLD, {"bundle_digest": bundle_digest(contract)})
    tell("starting three instances behind haproxy")
    settings = service.environment(database, online, registry, SCHEMA, WORLD)
    settings["FOREVIEW_CLOCK"] = NOW.isoformat()
    instances = [Instance(f"api-{at}", directory, dict(settings)) for at in (1, 2, 3)]
    for instance in instances:
        started.append(instance.member)
        instance.member.launch()
    for instance in instances:
        instance.member.wait()
    balancers = [
        Balancer(directory / file.stem, instances, file)
        for file in (service.BALANCER, service.NAIVE_BALANCER)
    ]
    for balancer in balancers:
        started.append(balancer.member)
        balancer.start()
    return Stack(directory, database, online, files, registry, instances, *balancers, paths=paths)


def _train(directory: Path):
    return write_bundle(directory / "trained", WORLD)


def _observe(redis_url: str) -> list[str]:
    """Put videos with their channels into the online store; give the paths of their forecasts."""
    store, paths = Store(redis_url), []
    for at in range(_VIDEOS):
        video_id, channel_id = unique_id(), f"UCdrill{at % 20:015d}"
        store.put_video(video_id, channel_id, WORLD)
        store.put_channel(channel_id)
        paths.append(f"/v1/videos/{video_id}/forecast?days=1,7,30")
    return paths
