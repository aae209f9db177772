"""A server process under load while what it stands on fails; each time beside naive settings.

How long an answer took is printed by the drills and benchmarks, not asserted here.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
import redis

from benchmarks.drills.load import Load, Sample
from serving.settings import ServingSettings
from tests.reliability.tcp_proxy import STALLING, proxied
from tests.serving.conftest import NOW, OwnRedis, Store, unique_id
from tests.serving.test_champion import until

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("servers")]

PER_SECOND = 60.0
BEFORE_SECONDS, FAULT_SECONDS = 0.5, 2.0
VIDEOS = 12


@dataclass
class Server:
    """A process of the service, and where it answers."""

    process: subprocess.Popen
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", timeout=30)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def serving(settings: ServingSettings, **changes: object) -> Iterator[Server]:
    """Run `foreview serve` with some settings changed."""
    given = settings.model_copy(update=changes).model_dump(exclude_none=True)
    environment = os.environ | {f"FOREVIEW_{k.upper()}": str(v) for k, v in given.items()}
    environment["FOREVIEW_CLOCK"] = NOW.isoformat()
    command = [sys.executable, "-c", "from serving.commands import serve; serve()"]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Server(process, json.loads(process.stdout.readline())["address"])
        finally:
            process.kill()


@pytest.fixture
def paths(own_redis, world):
    """Forecasts of videos in a Redis of the test's own."""
    store, videos = Store(own_redis.url), [unique_id() for _ in range(VIDEOS)]
    for video in videos:
        store.put_video(video, f"UC{video}", world)
        store.put_channel(f"UC{video}")
    return [f"/v1/videos/{video}/forecast" for video in videos]


@contextmanager
def broken(own_redis: OwnRedis, fault: str) -> Iterator[None]:
    """Have Redis gone, silent or full for as long as the context is open."""
    if fault == "killed":
        own_redis.kill()
        yield
        own_redis.start()
    elif fault == "silent":
        own_redis.signal(signal.SIGSTOP)
        yield
        own_redis.signal(signal.SIGCONT)
    else:
        with redis.Redis.from_url(own_redis.url) as connection:
            connection.config_set("maxmemory-policy", "noeviction")
            connection.config_set("maxmemory", "1")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                connection.set("probe", "x")  # a check that writes would call it dead
            yield
            connection.config_set("maxmemory", "0")


def under_load(server: Server, paths: list[str], fault: contextmanager) -> list[Sample]:
    """Ask for every video once, then at a steady rate while the fault comes and goes."""
    for path in paths:
        assert server.get(path).status_code == 200
    with Load(server.port, paths, PER_SECOND) as load:
        time.sleep(BEFORE_SECONDS)
        with fault:
            time.sleep(FAULT_SECONDS)
        time.sleep(BEFORE_SECONDS)
        return load.stop()


def statuses(samples: list[Sample]) -> set[int]:
    return {sample.status for sample in samples}


def reasons(sample: Sample) -> list[str]:
    return json.loads(sample.body)["degraded_reasons"]


@pytest.mark.parametrize("fault", ["killed", "silent", "full"])
def test_every_request_is_answered_and_labelled_while_redis_fails(
    settings, champion, own_redis, paths, fault
):
    with serving(settings, redis_url=own_redis.url, redis_timeout_seconds=0.1) as server:
        samples = under_load(server, paths, broken(own_redis, fault))
    assert statuses(samples) == {200}
    degraded = [sample for sample in samples if sample.is_degraded]
    assert all("online_store_unavailable" in reasons(sample) for sample in degraded)
    if fault != "full":  # a full store still reads
        assert degraded


def test_without_recent_features_requests_fail_while_redis_is_killed(
    settings, champion, own_redis, paths
):
    changes = {"redis_url": own_redis.url, "redis_timeout_seconds": 0.1, "recent_features": 0}
    with serving(settings, **changes) as server:
        samples = under_load(server, paths, broken(own_redis, "killed"))
    assert 503 in statuses(samples)


@contextmanager
def stalling(proxy) -> Iterator[None]:
    before, proxy.mode = proxy.mode, STALLING
    yield
    proxy.mode = before


@pytest.mark.parametrize(("recent", "answered"), [(1000, {200}), (0, {200, 503})])
def test_a_slow_store_is_given_up_on_and_what_was_read_last_answers(
    settings, champion, own_redis, paths, recent, answered
):
    with proxied(own_redis.port, seed=1) as proxy:
        url = f"redis://{proxy.address.removeprefix('http://')}/0"
        changes = {"redis_url": url, "redis_timeout_seconds": 0.1, "recent_features": recent}
        with serving(settings, **changes) as server:
            samples = under_load(server, paths, stalling(proxy))
    assert statuses(samples) == answered
    assert recent == 0 or any(sample.is_degraded for sample in samples)


def test_a_model_swapped_under_load_fails_and_mixes_nothing(
    settings, publish, own_world, own_redis, tmp_path
):
    store, videos = Store(own_redis.url), [unique_id() for _ in range(VIDEOS)]
    for video in videos:
        store.put_video(video, f"UC{video}", own_world)
        store.put_channel(f"UC{video}")
    asked = [f"/v1/videos/{video}/forecast" for video in videos]
    own = {"world": own_world, "state_dir": tmp_path / "state", "redis_url": own_redis.url}
    first = publish(1)
    with serving(settings, **own) as server:
        numbers = {(first, path): server.get(path).json()["metrics"] for path in asked}
        with Load(server.port, asked, PER_SECOND) as load:
            time.sleep(BEFORE_SECONDS)
            second = publish(2)
            until(lambda: server.get("/v1/model").json()["digest"] == second, 60)
            time.sleep(BEFORE_SECONDS)
            samples = load.stop()
        numbers |= {(second, path): server.get(path).json()["metrics"] for path in asked}
    assert statuses(samples) == {200}
    answers = [json.loads(sample.body) for sample in samples]
    assert {answer["model_digest"] for answer in answers} == {first, second}
    for answer in answers:  # every number is of the model that the answer names
        path = f"/v1/videos/{answer['video_id']}/forecast"
        assert answer["metrics"] == numbers[answer["model_digest"], path]


def test_a_model_swapped_by_a_restart_fails_requests(settings, champion, own_redis, paths):
    with ExitStack() as stack:
        server = stack.enter_context(serving(settings, redis_url=own_redis.url))
        load = stack.enter_context(Load(server.port, paths, PER_SECOND))
        time.sleep(BEFORE_SECONDS)
        server.process.kill()
        time.sleep(BEFORE_SECONDS)
        samples = load.stop()
    assert 0 in statuses(samples)


@pytest.mark.parametrize(("drain_seconds", "answered"), [(2.0, {200}), (0.0, {0, 200})])
def test_who_drains_is_left_by_a_load_balancer_before_it_is_gone(
    settings, champion, own_redis, paths, drain_seconds, answered
):
    changes = {"redis_url": own_redis.url, "drain_seconds": drain_seconds}
    with serving(settings, **changes) as server:
        assert server.is_ready()
        with Load(server.port, paths, PER_SECOND) as load:
            unready = threading.Event()

            def balance() -> None:
                while server.is_ready():
                    time.sleep(0.3)
                unready.set()

            watching = threading.Thread(target=balance)
            watching.start()
            time.sleep(BEFORE_SECONDS)
            server.process.send_signal(signal.SIGTERM)
            assert unready.wait(60)
            samples = load.stop()
            watching.join()
        assert server.process.wait(60) == 0
    assert statuses(samples) == answered
