"""S3 for tests: AWS's imitation, and a real server."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from moto.server import ThreadedMotoServer

from foreview.servers.state import free_port


@contextmanager
def moto(directory: Path) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextmanager
def seaweedfs(directory: Path) -> Iterator[str]:
    data = directory / "seaweedfs"
    data.mkdir()
    parts = ("s3", "master", "volume", "filer")
    ports = {f"{part}{kind}": free_port() for part in parts for kind in (".port", ".port.grpc")}
    settings = {"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "volume.max": 1}
    settings |= {"s3": "true", "master.telemetry": "false", "s3.port.iceberg": 0, **ports}
    settings |= {"s3.port.lance": 0, "master.volumeSizeLimitMB": 64, "volume.preStopSeconds": 0}
    command = [f"-{name}={value}" for name, value in settings.items()]
    weed = Path(sys.executable).parent / "weed"
    with (directory / "seaweedfs.log").open("w") as log:
        server = subprocess.Popen([weed, "server", *command], stdout=log, stderr=log)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        _wait_for_s3(endpoint, directory / "seaweedfs.log")
        yield endpoint
    finally:
        server.kill()  # asked politely it waits for half a minute
        server.wait(timeout=30)


def _wait_for_s3(endpoint: str, log: Path) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{endpoint}/healthz").is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up, log.read_text()[-4000:]
        time.sleep(0.1)
