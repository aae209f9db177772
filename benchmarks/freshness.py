"""Collected -> online: how long after a batch is committed its features can be forecast from."""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis
from rich.console import Console

from feature_repo.clock import system_clock
from feature_repo.store import apply, open_feature_store
from foreview.local import local_servers
from ingestion import feature_tables, warehouse
from ingestion.collecting import open_client, simulate
from ingestion.collector import Collector
from ingestion.emulator.running import running_emulator
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing
from ingestion.materializing import built_window, materialize
from ingestion.pushing import Pusher

SCHEMA = "bench_freshness"
DAYS, CHANNELS, PUSHED_DAYS = 60, 30, 3
_console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Time each push of three days of collection, and beside it a whole build and materialization.

    The collector runs as in production: answers landed, validated, committed; the clock of a push
    starts at the commit and stops when its last row is in Redis and in the feature tables.
    """
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            return [_measured(environment | {"FOREVIEW_DATABASE_SCHEMA": SCHEMA}, scratch)]


def _measured(environment: dict[str, str], scratch: str) -> dict[str, Any]:
    engine = warehouse.open_warehouse(environment["FOREVIEW_DATABASE_URL"], SCHEMA)
    warehouse.migrate(engine, SCHEMA)
    world = synthetic_world(3, days=DAYS, channels=CHANNELS, end=system_clock())
    pushes: list[tuple[int, float]] = []
    with (
        Redis.from_url(environment["FOREVIEW_REDIS_URL"]) as client,
        running_emulator(world) as emulator,
        open_client(
            engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
        ) as youtube,
    ):
        pusher = Pusher(engine, client)

        def timed(video_ids: set[str], channel_ids: set[str]) -> None:
            if emulator.now() > world.end - timedelta(days=PUSHED_DAYS):
                began = time.monotonic()
                pusher(video_ids, channel_ids)
                pushes.append((len(video_ids) + len(channel_ids), time.monotonic() - began))

        landing = Landing(f"{scratch}/landing")
        collector = Collector(
            engine, youtube, landing, clock=emulator.now, world="synthetic", after=timed
        )
        collector.add(channel.channel_id for channel in world.channels.each)
        simulate(collector, emulator, end=world.end - timedelta(days=PUSHED_DAYS))
        feature_tables.build(engine)
        _console.print("built; collecting on, with pushes")
        simulate(collector, emulator, end=world.end)
    whole = _whole(engine, environment)
    seconds = [second for _, second in pushes]
    engine.dispose()
    return {
        "pushes": len(pushes),
        "videos and channels a push": median(count for count, _ in pushes),
        "seconds, median": round(median(seconds), 2),
        "seconds, worst": round(max(seconds), 2),
        "whole build and materialization, s": round(whole, 1),
    }


def _whole(engine: Any, environment: dict[str, str]) -> float:
    store = open_feature_store(environment)
    apply(store)
    began = time.monotonic()
    feature_tables.build(engine)
    materialize(store, built_window(engine))
    return time.monotonic() - began
