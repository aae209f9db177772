"""A release is asked for forecasts by real processes, and taken back where it gives none."""

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from foreview.servers.state import free_port
from tests.serving.conftest import (  # noqa: F401  (fixtures)
    OpenClient,
    OwnRedis,
    champion,
    client,
    log_schema,
    open_client,
    own_redis,
    own_world,
    settings,
    store,
    trained,
    video,
    world,
)

ROOT = Path(__file__).parents[2]
# What kubectl would be told, kept in files: revisions of deployments, and the release that answers.
KUBECTL = """#!/usr/bin/env bash
set -eu
cd "$STATE"
printf '%s\\n' "$*" >>asked
if [ "$1" = kustomize ]; then exit; fi
[ "$1 $2" = "--namespace foreview-staging" ]
shift 2
case "$1 $2" in
    "get deployment") cat "$3" 2>/dev/null || true ;;
    "apply --server-side")
        # What an undo changed is its own: Kubernetes refuses who would change it, unless forced.
        [ ! -e undone ] || [ "$3" = --force-conflicts ] || { echo "Apply failed" >&2; exit 1; }
        rm -f undone
        echo 2 >foreview-api
        cp new answering
        ;;
    "rollout status") ;;
    "rollout undo")
        [ "$3 $4 $5" = "deployment/foreview-api --to-revision 1" ]
        echo 1 >foreview-api
        cp old answering
        touch undone
        ;;
    *) exit 64 ;;
esac
"""


def smoke(url: object, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "foreview.cli", "smoke", str(url), *args],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_service_that_forecasts_passes(client: httpx.Client, video: str) -> None:  # noqa: F811
    done = smoke(client.base_url, video, "--slowest-ms=5000")
    assert done.returncode == 0, done.stderr
    assert "ready with model" in done.stdout
    assert "100 forecasts right" in done.stdout
    assert "a video nobody knows is refused" in done.stdout
    for_machines = smoke(client.base_url, video, "--slowest-ms=5000", "--json")
    assert len(json.loads(for_machines.stdout)["held"]) == len(done.stdout.splitlines())


def test_a_service_without_a_model_fails_and_says_so(
    open_client: OpenClient,  # noqa: F811
    own_world: str,  # noqa: F811
    video: str,  # noqa: F811
) -> None:
    with open_client(world=own_world) as empty:
        done = smoke(empty.base_url, video)
    assert done.returncode == 1
    assert "/readyz is answered 503" in done.stderr


def test_a_service_that_does_not_know_the_videos_fails(client: httpx.Client) -> None:  # noqa: F811
    done = smoke(client.base_url, "unknown_one")
    assert done.returncode == 1
    assert "answered 404" in done.stderr


def test_a_service_that_answers_from_memory_fails(
    open_client: OpenClient,  # noqa: F811
    own_redis: OwnRedis,  # noqa: F811
    champion: str,  # noqa: F811
    world: str,  # noqa: F811
) -> None:
    from tests.serving.conftest import Store, unique_id

    name, features = unique_id(), Store(own_redis.url)
    features.put_video(name, f"UC{name}", world)
    features.put_channel(f"UC{name}")
    with open_client(redis_url=own_redis.url) as remembering:
        assert smoke(remembering.base_url, name, "--slowest-ms=5000").returncode == 0
        own_redis.kill()
        done = smoke(remembering.base_url, name, "--slowest-ms=5000")
    assert done.returncode == 1
    assert "online_store_unavailable" in done.stderr or "recent_features" in done.stderr


def test_a_service_that_is_slow_or_away_fails(client: httpx.Client, video: str) -> None:  # noqa: F811
    slow = smoke(client.base_url, video, "--slowest-ms=0.001")
    away = smoke(f"http://127.0.0.1:{free_port()}", video)
    assert (slow.returncode, away.returncode) == (1, 1)
    assert "more than 0.001" in slow.stderr
    assert "/readyz is not answered" in away.stderr


class _Relay(socketserver.BaseRequestHandler):
    """Hands a connection on to the port that a file names, as a load balancer would."""

    def handle(self) -> None:
        port = int(self.server.answering.read_text())  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", port)) as service:
            back = threading.Thread(target=_pump, args=(service, self.request), daemon=True)
            back.start()
            _pump(self.request, service)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the release answers that `kubectl` made the present one."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Relay) as relay:
        relay.daemon_threads = True
        relay.answering = tmp_path / "answering"  # type: ignore[attr-defined]
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{relay.server_address[1]}"
        relay.shutdown()


def deployed(
    directory: Path, url: str, video_id: str, old: httpx.Client, new: httpx.Client
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Deploy over an old release; give how that ended, and what kubectl was asked."""
    program = directory / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    for name, service in (("old", old), ("new", new)):
        (directory / name).write_text(str(service.base_url.port))
    shutil.copy(directory / "old", directory / "answering")
    (directory / "foreview-api").write_text("1\n")
    variables = {"KUBECTL": str(program), "STATE": str(directory), "ATTEMPTS": "2", "PAUSE": "0"}
    done = subprocess.run(
        [ROOT / "k8s" / "deploy", "staging", url, video_id],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done, (directory / "asked").read_text().splitlines()


def test_a_release_that_forecasts_stays(
    tmp_path: Path,
    address: str,
    client: httpx.Client,  # noqa: F811
    video: str,  # noqa: F811
) -> None:
    done, asked = deployed(tmp_path, address, video, old=client, new=client)
    assert done.returncode == 0, done.stderr
    assert "staging does its work" in done.stdout
    assert not [line for line in asked if "undo" in line]
    applied = [line for line in asked if line.endswith(" --kustomize k8s/overlays/staging")]
    assert len(applied) == 1
    assert applied[0].startswith("--namespace foreview-staging apply --server-side ")


def test_a_release_that_does_not_forecast_is_taken_back(
    tmp_path: Path,
    address: str,
    client: httpx.Client,  # noqa: F811
    open_client: OpenClient,  # noqa: F811
    own_world: str,  # noqa: F811
    video: str,  # noqa: F811
) -> None:
    with open_client(world=own_world) as broken:
        done, _ = deployed(tmp_path, address, video, old=client, new=broken)
    assert done.returncode == 1
    assert "/readyz is answered 503" in done.stderr
    assert "staging is back at what it was" in done.stderr
    assert (tmp_path / "foreview-api").read_text() == "1\n"
    assert httpx.get(f"{address}/readyz").is_success
    done, _ = deployed(tmp_path, address, video, old=client, new=client)
    assert done.returncode == 0, "the release after one that was taken back is refused"


def test_a_video_whose_id_begins_with_a_dash_is_asked_about(tmp_path: Path, address: str) -> None:
    absent = httpx.Client(base_url=f"http://127.0.0.1:{free_port()}")
    done, _ = deployed(tmp_path, address, "-dash_first", old=absent, new=absent)
    assert "No such option" not in done.stderr
    assert "/readyz is not answered" in done.stderr


def test_digests_of_a_release_are_pinned_as_the_workflow_does(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "digests").mkdir()
    # As `make publish` prints them, a file per image; Airflow's is its chart's to know.
    names = ("serving", "jobs", "airflow")
    images = {
        f"foreview-{name}": f"ghcr.io/you/foreview-{name}@sha256:{number}{'0' * 63}"
        for number, name in enumerate(names)
    }
    for name, image in images.items():
        (tmp_path / "digests" / f"{name}.digest").write_text(f"{name}={image}\n")
    command = ["make", "pin", "OVERLAY=staging", "DIGESTS=digests"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    overlay = yaml.safe_load((tmp_path / "k8s/overlays/staging/kustomization.yaml").read_text())
    pinned = {one["name"]: f"{one['newName']}@{one['digest']}" for one in overlay["images"]}
    del images["foreview-airflow"]
    assert images.items() <= pinned.items()
