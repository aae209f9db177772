"""Raw landing -> parsed -> validated -> PostgreSQL, beside COPY of the very same rows."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
from pyarrow.csv import WriteOptions, write_csv
from rich.console import Console
from sqlalchemy import Engine, text

from feature_repo.clock import fixed_clock
from foreview.local import local_servers
from ingestion import warehouse
from ingestion.landed import STATS
from ingestion.landing import Landing, enveloped, packed
from ingestion.replaying import replay

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SNAPSHOTS", "1000000,5000000").split(","))
VIDEOS_PER_ANSWER, ANSWERS_AT_ONCE = 50, 400
FIRST_DAY = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 25
REPETITIONS = {1_000_000: 3}
_NOW = fixed_clock(datetime(2026, 10, 1, tzinfo=UTC))
_console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Time both for every size, interleaved, each in a process of its own; give the ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            return [_compared(size, scratch, environment) for size in SIZES]


def _compared(size: int, scratch: str, environment: dict[str, str]) -> dict[str, Any]:
    landing, database = f"{scratch}/landing-{size}", environment["FOREVIEW_DATABASE_URL"]
    _console.print(f"landing {size:,} snapshots")
    _land(landing, size)
    runs: dict[str, list[dict[str, float]]] = {"ingest": [], "copy": []}
    for _ in range(REPETITIONS.get(size, 1)):
        for what, results in runs.items():
            results.append(_run(what, landing, database))
            _console.print(f"{size:,} {what}: {results[-1]}")
    rates = {what: [size / r["seconds"] for r in results] for what, results in runs.items()}
    return {
        "snapshots": size,
        "raw to PostgreSQL, rows/s": [round(rate) for rate in rates["ingest"]],
        "COPY, rows/s": [round(rate) for rate in rates["copy"]],
        "ratio": round(median(rates["ingest"]) / median(rates["copy"]), 2),
        "peak MB": round(max(r["peak_mb"] for r in runs["ingest"])),
    }


def _run(what: str, landing: str, database: str) -> dict[str, float]:
    """Time one way in a process of its own, whose memory is then its own too."""
    command = [sys.executable, "-m", "benchmarks.ingestion", what, landing, database]
    return dict(orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def _land(url: str, size: int) -> None:
    """Land answers of videos.batchGetStats: heavy-tailed counts, some of them hidden."""
    random = np.random.default_rng(7)
    answers = size // VIDEOS_PER_ANSWER
    per_round = answers // DAYS
    refs: list[str] = []
    for number in range(answers):
        videos = (number % per_round) * VIDEOS_PER_ANSWER + np.arange(VIDEOS_PER_ANSWER)
        views = (10 ** random.normal(4, 1.2, VIDEOS_PER_ANSWER)).astype(int)
        hidden = random.random(VIDEOS_PER_ANSWER) < 0.02
        columns = (videos.tolist(), views.tolist(), hidden.tolist())
        items = [_item(*one) for one in zip(*columns, strict=True)]
        body = orjson.dumps({"kind": STATS, "etag": str(number), "items": items})
        fetched_at = FIRST_DAY + timedelta(days=number // per_round, seconds=number % per_round)
        request = {"method": "videos.batchGetStats", "id": str(number)}
        ref, content = enveloped(body, request=request, fetched_at=fetched_at, world="synthetic")
        path = Path(f"{url}/{ref}.zst")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(content))  # as `put` does, but for waiting until the disk has it
        refs.append(ref)
    for first in range(0, answers, ANSWERS_AT_ONCE):
        known_at = _NOW() + timedelta(seconds=first)
        Landing(url).put_manifest(refs[first : first + ANSWERS_AT_ONCE], known_at, "synthetic")


def _item(video: int, views: int, hides_likes: bool) -> dict[str, Any]:
    counts = {"viewCount": str(views), "commentCount": str(views // 400)}
    if not hides_likes:
        counts["likeCount"] = str(views // 30)
    return {
        "kind": "youtube#videoStats",
        "etag": f"e{video}-{views}",
        "id": f"v{video:010d}",
        "contentDetails": {"duration": f"{20 + video % 900}s"},
        "statistics": counts,
    }


def _ingest(engine: Engine, landing: Landing) -> float:
    """Rebuild the warehouse as `foreview replay-raw` does."""
    began = time.monotonic()
    counts = replay(engine, landing, _NOW).rows
    assert counts.loaded == counts.read > 0
    return time.monotonic() - began


def _copy(engine: Engine) -> float:
    """COPY the rows of the last ingestion from CSV that is ready, in as many transactions."""
    rows = warehouse.read_snapshots(engine).sort_by("observed_at")
    step, seconds = VIDEOS_PER_ANSWER * ANSWERS_AT_ONCE, 0.0
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE video_snapshots"))
    columns = ", ".join(rows.column_names)
    for first in range(0, rows.num_rows, step):
        with tempfile.TemporaryFile() as file:
            write_csv(rows.slice(first, step), file, WriteOptions(include_header=False))
            file.seek(0)
            began = time.monotonic()
            with engine.begin() as connection:
                cursor: Any = connection.connection.cursor()
                statement = f"COPY video_snapshots ({columns}) FROM STDIN WITH (FORMAT csv)"
                cursor.copy_expert(statement, file)
            seconds += time.monotonic() - began
    return seconds


def _main(what: str, landing: str, database: str) -> None:
    engine = warehouse.open_warehouse(database, "bench_ingestion")
    warehouse.migrate(engine, "bench_ingestion")
    if what == "ingest":
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE video_snapshots, ingested_responses"))
        seconds = _ingest(engine, Landing(landing))
    else:
        seconds = _copy(engine)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.buffer.write(orjson.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
