"""Warehouse -> feature tables: what a row costs, and what memory, as snapshots grow."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from sqlalchemy import Engine

from feature_repo import schemas
from foreview.local import local_servers
from ingestion import feature_tables, partitions, warehouse
from ingestion.copying import copy_in

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SNAPSHOTS", "500000,2000000").split(","))
LOOKS_PER_VIDEO, VIDEOS_PER_CHANNEL = 20, 25
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 60
Array = NDArray[Any]
_console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Build all feature tables of warehouses of each size, each in a process of its own.

    More snapshots are more channels: a row costs the same where the build scales.
    """
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            for size in SIZES:
                given = environment | {"FOREVIEW_DATABASE_SCHEMA": f"bench_build_{size}"}
                command = [sys.executable, "-m", "benchmarks.feature_build", str(size)]
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, env=os.environ | given
                )
                results.append(orjson.loads(done.stdout))
                _console.print(results[-1])
    first = results[0]["CPU µs a snapshot"]
    return [row | {"of the first": round(row["CPU µs a snapshot"] / first, 2)} for row in results]


def _fill(engine: Engine, size: int) -> None:
    """Write snapshots of videos that grow, and a version of each video, in pieces."""
    videos = size // LOOKS_PER_VIDEO
    written = np.datetime64(START.replace(tzinfo=None), "us")
    for first in range(0, videos, 10_000):
        number = np.arange(first, min(first + 10_000, videos))
        random = np.random.default_rng(first)
        began = random.integers(0, DAYS * 86_400, len(number)) * 1_000_000
        warehouse.append_metadata(engine, _versions(number, written + began))
        video = np.repeat(number, LOOKS_PER_VIDEO)
        hours = np.tile(np.arange(LOOKS_PER_VIDEO), len(number)) * 12
        moments = written + np.repeat(began, LOOKS_PER_VIDEO) + hours * 3_600_000_000
        views = np.floor(10 ** random.uniform(2, 6, len(video)) * (1 + hours))
        _copy(engine, _looks(video, moments, views))


def _copy(engine: Engine, rows: pa.Table) -> None:
    partitions.ensure(engine, "video_snapshots", rows["observed_at"])
    with engine.begin() as connection:
        copy_in(connection, "video_snapshots", rows)


def _provenance(moments: Array) -> dict[str, Any]:
    instants = pa.array(moments).cast(schemas.INSTANT)
    return {
        "observed_at": instants,
        "ingested_at": instants,
        "loaded_at": instants,
        "world": ["synthetic"] * len(moments),
    }


def _versions(number: Array, moments: Array) -> pa.Table:
    known = _provenance(moments) | {
        "video_id": [f"video{n:09d}" for n in number],
        "channel_id": [f"UC{n // VIDEOS_PER_CHANNEL:08d}" for n in number],
        "published_at": pa.array(moments - np.timedelta64(6, "h")).cast(schemas.INSTANT),
        "title": [f"Episode {n % 97} of a series, part {n % 7}" for n in number],
        "description": ["A line that says what is seen."] * len(number),
        "category_id": pa.array([10] * len(number), pa.int32()),
        "duration_seconds": [240.0] * len(number),
        "live_broadcast_content": ["none"] * len(number),
    }
    return _table(known, schemas.VIDEO_METADATA)


def _looks(video: Array, moments: Array, views: Array) -> pa.Table:
    known = _provenance(moments) | {
        "video_id": [f"video{n:09d}" for n in video],
        "view_count": views.astype(np.int64),
        "like_count": (views / 20).astype(np.int64),
        "comment_count": (views / 100).astype(np.int64),
        "live_broadcast_content": ["none"] * len(video),
        "format": ["long"] * len(video),
        "view_definition": ["views_1"] * len(video),
    }
    return _table(known, schemas.VIDEO_SNAPSHOTS)


def _table(known: dict[str, Any], schema: pa.Schema) -> pa.Table:
    rows = len(known["video_id"])
    nothing = {field.name: pa.nulls(rows, field.type) for field in schema}
    merged = nothing | known
    return pa.table([merged[field.name] for field in schema], schema=schema)


def _built(size: int) -> dict[str, Any]:
    url, schema = (os.environ[f"FOREVIEW_DATABASE_{part}"] for part in ("URL", "SCHEMA"))
    warehouse.migrate(url, schema)
    engine = warehouse.open_warehouse(url, schema)
    _fill(engine, size)
    began, cpu = time.monotonic(), time.process_time()
    rows = feature_tables.build(engine)
    seconds, spent = time.monotonic() - began, time.process_time() - cpu
    engine.dispose()
    return {
        "snapshots": size,
        "feature rows": sum(rows.values()),
        "seconds": round(seconds, 1),
        "CPU µs a snapshot": round(spent / size * 1e6),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(_built(int(sys.argv[1]))))
