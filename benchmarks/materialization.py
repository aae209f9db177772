"""PostgreSQL -> Redis: our writer beside `feast materialize` and beside replaying the commands."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from rich.console import Console
from sqlalchemy import Engine

from feature_repo import schemas
from foreview.local import local_servers

VIDEOS = int(os.environ.get("BENCH_VIDEOS", "20000"))
LOOKS_PER_VIDEO, VIDEOS_PER_CHANNEL = 4, 10
REPETITIONS = 3
SCHEMA = "bench_materialization"
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=LOOKS_PER_VIDEO))
_console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Time all three on the same tables, interleaved, each in a process of its own.

    Each is `foreview features materialize` or `feast materialize` whole: reading, choosing the
    latest rows, comparing with what is stored, writing. Replaying is Redis's own limit: the very
    commands, encoded beforehand.
    """
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            given = environment | {"FOREVIEW_DATABASE_SCHEMA": SCHEMA}
            _fill(given)
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in _WAYS}
            for _ in range(REPETITIONS):
                for way, results in runs.items():
                    results.append(_run(way, given))
                    _console.print(f"{way}: {results[-1]}")
    return _table(runs)


def _table(runs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    def typical(way: str, per: str) -> float:
        return median(run["rows"] / run[per] for run in runs[way])

    return [
        {
            "way": way,
            "rows": int(results[0]["rows"]),
            "rows/s": [round(run["rows"] / run["seconds"]) for run in results],
            "rows per CPU second": [round(run["rows"] / run["cpu_seconds"]) for run in results],
            "peak MB": round(max(run["peak_mb"] for run in results)),
            "of the replay limit": round(typical(way, "seconds") / typical("replay", "seconds"), 2),
            "CPU against feast": round(
                typical(way, "cpu_seconds") / typical("feast materialize", "cpu_seconds"), 1
            ),
        }
        for way, results in runs.items()
    ]


def _fill(environment: dict[str, str]) -> None:
    """Fill the feature tables with rows of every width, some of them null."""
    from feature_repo.store import apply, open_feature_store
    from ingestion import warehouse
    from ingestion.feature_tables import replace

    engine = warehouse.open_warehouse(environment["FOREVIEW_DATABASE_URL"], SCHEMA)
    warehouse.migrate(engine, SCHEMA)
    counts = {"video_id": VIDEOS, "channel_id": VIDEOS // VIDEOS_PER_CHANNEL}
    for name, schema in schemas.FEATURE_TABLES.items():
        _replace(replace, engine, name, counts[schema.names[0]])
    apply(open_feature_store(environment))
    engine.dispose()


def _replace(
    replace: Callable[[Engine, str, pa.Table, None], int], engine: Engine, name: str, entities: int
) -> None:
    random, schema = np.random.default_rng(7), schemas.FEATURE_TABLES[name]
    count = entities * LOOKS_PER_VIDEO
    days = np.repeat(np.arange(LOOKS_PER_VIDEO), entities)
    moments = np.datetime64(START.replace(tzinfo=None), "us") + days * np.timedelta64(1, "D")
    columns: dict[str, Any] = {}
    for at, field in enumerate(schema):
        if at == 0:
            columns[field.name] = [f"id{n % entities:09d}" for n in range(count)]
        elif pa.types.is_timestamp(field.type):
            columns[field.name] = pa.array(moments).cast(schemas.INSTANT)
        elif pa.types.is_string(field.type):
            columns[field.name] = [f"id{n % 997:09d}" for n in range(count)]
        else:
            values = random.normal(4.0, 1.0, count)
            values[random.random(count) < 0.1] = np.nan
            columns[field.name] = pa.array(values, from_pandas=True)
    replace(engine, name, pa.table(columns, schema=schema), None)


def _run(way: str, environment: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.materialization", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | environment)
    return dict(orjson.loads(done.stdout))


def _ours(store: Any) -> Callable[[], int]:
    from ingestion.materializing import materialize

    return lambda: sum(one.written for one in materialize(store, WINDOW).values())


def _feast(store: Any) -> Callable[[], int]:
    """Give Feast's own command on its own stores."""
    from feast import FeatureStore, RepoConfig

    config = store.config.model_dump(by_alias=True, exclude_unset=True, exclude={"repo_path"})
    online = {"type": "redis", "connection_string": store.config.online_store.connection_string}
    config |= {
        "online_store": online,
        "offline_store": config["offline_store"] | {"type": "postgres"},
    }
    stock = FeatureStore(config=RepoConfig(repo_path=store.repo_path, **config))

    def run() -> int:
        with redirect_stdout(StringIO()):
            stock.materialize(WINDOW[0], WINDOW[1] - timedelta(microseconds=1))
        return _count(store)

    return run


def _replay(store: Any) -> Callable[[], int]:
    from feature_repo import online_writer
    from feature_repo.store import online_client
    from ingestion import materializing

    recorded: list[list[bytes]] = []
    exchange = online_writer._exchange

    def record(client: Any, commands: list[bytes]) -> list[Any]:
        if commands and b"HSET" in commands[0][:20]:
            recorded.append(commands)
        return exchange(client, commands)

    online_writer._exchange = record  # type: ignore[assignment]
    materializing.materialize(store, WINDOW)
    client = online_client(store)
    client.flushdb()

    def run() -> int:
        for commands in recorded:
            exchange(client, commands)
        return sum(map(len, recorded))

    return run


def _count(store: Any) -> int:
    """Count the rows online: each has a time of its own."""
    from feature_repo.store import online_client

    client = online_client(store)
    fields = [f"_ts:{name}" for name in schemas.FEATURE_TABLES]
    pipe = client.pipeline(transaction=False)
    for key in client.scan_iter(count=10_000):
        pipe.hmget(key, fields)
    return sum(stamp is not None for stamps in pipe.execute() for stamp in stamps)


_WAYS: dict[str, Callable[[Any], Callable[[], int]]] = {
    "replay": _replay,
    "foreview features materialize": _ours,
    "feast materialize": _feast,
}


def _main(way: str) -> None:
    from feature_repo.store import online_client, open_feature_store

    store = open_feature_store()
    online_client(store).flushdb()
    run = _WAYS[way](store)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    rows = run()
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = {"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": after.ru_maxrss / 1024}
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1])
