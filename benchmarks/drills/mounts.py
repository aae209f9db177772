"""Small file systems, so that a disk can be filled without filling the machine's."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_SIZE = "32m"


@contextlib.contextmanager
def small_disks(directories: Sequence[Path]) -> Iterator[bool]:
    """Mount a small file system over each empty directory; false where that is not allowed."""
    mounted: list[Path] = []
    try:
        for directory in directories:
            owner = directory.stat()
            options = f"size={_SIZE},uid={owner.st_uid},gid={owner.st_gid},mode=700"
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                yield False
                return
            mounted.append(directory)
        yield True
    finally:
        for directory in mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
