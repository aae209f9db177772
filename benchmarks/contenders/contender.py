"""The servers that are compared: how each is started, and what it is asked."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

import benchmarks
from benchmarks.contenders.load import get_request, post_request
from benchmarks.contenders.stage import CHANNELS, Stage
from foreview.servers.state import free_port

NULL, OURS, NAIVE = "null FastAPI", "ours", "naive"
# It asks Redis every time, as ours does for a video that it did not read lately or that changed.
FORGETFUL = "ours, nothing held"
NINE = "days=1,7,30&metrics=views,likes,comments"
ONE = "days=7&metrics=views"

_BENTOML = Path(benchmarks.__file__).parents[1] / ".venv-bentoml/bin/bentoml"
_PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Contender:
    """A server under load: its process, its address and what it is asked."""

    name: str
    process: psutil.Process
    address: str
    request: Callable[[], bytes]

    def cpu_seconds(self) -> float:
        """Give what the server and its workers used so far."""
        return sum(t.user + t.system for t in (p.cpu_times() for p in self._processes()))

    def megabytes(self) -> int:
        """Give the resident memory of the server and its workers."""
        return round(sum(p.memory_info().rss for p in self._processes()) / 2**20)

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def start_all(stage: Stage, stack: ExitStack, tell: Callable[[str], None]) -> list[Contender]:
    """Start every contender that can run here, until the stack closes."""
    chance, ids = random.Random(7), stage.video_ids

    def started(
        name: str, module: str, request: Callable[[], bytes], *more: str, **variables: str
    ) -> Contender:
        command = [sys.executable, "-m", module, *more]
        environment = _environment(stage) | variables
        return stack.enter_context(_started(name, environment, command, request, tell))

    def forecast(pick: Callable[[], str], query: str) -> Callable[[], bytes]:
        return lambda: get_request(f"/v1/videos/{pick()}/forecast?{query}")

    anyone = lambda: chance.choice(ids)  # noqa: E731
    serve = ("serve", "--port", "0", "--json")
    ours = started(OURS, "foreview.cli", forecast(anyone, NINE), *serve)
    hot = forecast(lambda: ids[_zipf(chance, len(ids))], NINE)
    contenders = [
        started(NULL, "benchmarks.contenders.null_app", lambda: get_request("/constant")),
        ours,
        Contender("ours, 1 x 1", ours.process, ours.address, forecast(anyone, ONE)),
        Contender("ours, Zipf", ours.process, ours.address, hot),
        started(
            FORGETFUL, "foreview.cli", forecast(anyone, NINE), *serve, FOREVIEW_RECENT_FEATURES="0"
        ),
        started(
            NAIVE, "benchmarks.contenders.naive_app", lambda: get_request(f"/naive/{anyone()}")
        ),
        started(
            "feast serve", "benchmarks.contenders.feast_app", lambda: _of_feast(chance.randrange)
        ),
        started("mlflow models serve", "benchmarks.contenders.mlflow_app", _of_mlflow(stage)),
    ]
    if _BENTOML.exists():
        contenders.append(stack.enter_context(_bentoml(stage, tell)))
    else:
        tell("not measured in this run: BentoML (`make bench-serving` installs it)")
    return contenders


def _of_feast(below: Callable[[int], int]) -> bytes:
    from benchmarks.contenders.stage import VIDEOS
    from feature_repo.clock import system_clock

    number = below(VIDEOS)
    entities = {
        "video_id": [f"bench{number:06d}"],
        "channel_id": [f"UC{number % CHANNELS:022d}"],
        "as_of": [int(system_clock().timestamp())],
    }
    asked = {"feature_service": "published_v2", "entities": entities}
    return post_request("/get-online-features", json.dumps(asked).encode())


def _row(stage: Stage) -> list[float]:
    return [float(at % 7) for at in range(len(stage.columns))]


def _of_mlflow(stage: Stage) -> Callable[[], bytes]:
    columns = [column.name for column in stage.columns]
    asked = {"dataframe_split": {"columns": columns, "data": [_row(stage)]}}
    request = post_request("/invocations", json.dumps(asked).encode())
    return lambda: request


def _zipf(chance: random.Random, count: int) -> int:
    """Draw a rank whose chance falls as one over it."""
    return min(int(count ** chance.random()), count) - 1


def _environment(stage: Stage) -> dict[str, str]:
    environment = os.environ | stage.environment
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        environment.pop(variable, None)  # importing Feast set it in this process
    return environment


@contextmanager
def _started(
    name: str,
    environment: dict[str, str],
    command: list[str],
    request: Callable[[], bytes],
    tell: Callable[[str], None],
) -> Iterator[Contender]:
    """Run a server that prints its address, alone on its line or as JSON."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            raise AssertionError(f"{name} did not start")
        address = json.loads(line)["address"] if line.startswith("{") else line
        tell(f"{name} was ready after {time.perf_counter() - began:.1f} s")
        yield Contender(name, psutil.Process(process.pid), address, request)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _bentoml(stage: Stage, tell: Callable[[str], None]) -> Iterator[Contender]:
    """Run BentoML, which takes a port and prints none."""
    port, began = free_port(), time.perf_counter()
    module = "benchmarks.contenders.bento_app:Boosters"
    command = [str(_BENTOML), "serve", module, "--host", "127.0.0.1", "--port", str(port)]
    asked = post_request("/predict", json.dumps({"features": _row(stage)}).encode())
    environment = _environment(stage) | {"BENTOML_DO_NOT_TRACK": "True"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        while not _is_well(address):
            if time.perf_counter() - began > _PATIENCE_SECONDS or process.poll() is not None:
                raise AssertionError("BentoML did not start")
            time.sleep(0.1)
        tell(f"BentoML was ready after {time.perf_counter() - began:.1f} s")
        yield Contender("BentoML", psutil.Process(process.pid), address, lambda: asked)
    finally:
        process.terminate()
        process.wait(20)


def _is_well(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=1).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
