"""Images really built by buildah and run by podman, as tightly as in production."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PREFIX = "localhost/foreview-"
# Neither systemd nor user namespaces are asked for: podman runs in a plain virtual machine.
_CONFIGURATION = """
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_PROGRAMS = ("buildah", "mmdebstrap", "podman", "runc", "catatonit")
_TIGHT = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=host",
    "--tmpfs=/tmp:rw,size=256m",
)


class Containers:
    """Podman with settings of its own."""

    def __init__(self, directory: Path) -> None:
        settings = directory / "containers.conf"
        settings.write_text(_CONFIGURATION)
        self.environment = os.environ | {"CONTAINERS_CONF": str(settings)}

    def build(self, name: str) -> str:
        """Build one of our images as `make images` does; give its full name."""
        done = subprocess.run(
            [ROOT / "k8s" / "build-images", name],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    def logs(self, name: str) -> str:
        """Give what a container wrote."""
        done = subprocess.run(
            ["podman", "logs", name], env=self.environment, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def podman(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["podman", *args], env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    @contextmanager
    def running(
        self, image: str, args: Sequence[str], settings: Mapping[str, str], memory: str = "512m"
    ) -> Iterator[str]:
        """Run a container as tightly as in production; give its id."""
        name = self.podman("run", "--detach", *_options(settings, memory), image, *args)
        try:
            yield name
        finally:
            self.podman("rm", "--force", "--time=5", name)

    def run(
        self, image: str, args: Sequence[str], settings: Mapping[str, str], memory: str = "1g"
    ) -> str:
        """Run a command in a container to its end; give what it printed."""
        return self.podman("run", "--rm", *_options(settings, memory), image, *args)


def _options(settings: Mapping[str, str], memory: str) -> list[str]:
    # Podman gives other tmpfs mounts to root alone: state goes where anybody may write.
    given = {"FOREVIEW_STATE_DIR": "/tmp/foreview", **settings}
    values = [f"--env={name}={value}" for name, value in given.items()]
    return [*_TIGHT, f"--memory={memory}", *values]


def open_containers(directory: Path) -> Containers:
    """Give podman, or skip the test and say what is missing."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"images are not built here: apt install {' '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("images are not built here: building them needs root")
    return Containers(directory)


def wait_until(holds: Callable[[], bool], *, seconds: float, why_not: Callable[[], str]) -> None:
    """Wait for something to hold; fail and say why not when it does not in time."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, why_not()
        time.sleep(0.2)
