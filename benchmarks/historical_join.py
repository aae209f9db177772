"""Training sets: our as-of join beside Feast's own query, same store, same rows, interleaved."""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from feast import FeatureStore
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
)
from sqlalchemy import Engine

from feature_repo.clock import system_clock
from feature_repo.store import apply, open_feature_store
from feature_repo.stores.as_of_postgres import AsOfPostgreSQLOfflineStore
from foreview.local import local_servers
from ingestion import feature_tables, warehouse
from ingestion.collecting import open_client, simulate
from ingestion.collector import Collector
from ingestion.emulator.running import running_emulator
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing

REPETITIONS = 3
ASKED = (100, 400)
SCHEMA = "bench"
STORES = {"as-of join": AsOfPostgreSQLOfflineStore, "Feast's own": PostgreSQLOfflineStore}


def measure() -> list[dict[str, Any]]:
    """Time both joins on a synthetic world; medians, and the ratio within one run."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            engine = warehouse.open_warehouse(environment["FOREVIEW_DATABASE_URL"], SCHEMA)
            _fill(engine, scratch)
            store = open_feature_store(environment | {"FOREVIEW_DATABASE_SCHEMA": SCHEMA})
            apply(store)
            rows = _questions(engine, max(ASKED))
            result = [_compared(store, rows.head(asked)) for asked in ASKED]
            engine.dispose()
    return result


def _fill(engine: Engine, scratch: str) -> None:
    warehouse.migrate(engine, SCHEMA)
    world = synthetic_world(3, days=40, channels=8, end=system_clock())
    with (
        running_emulator(world) as emulator,
        open_client(
            engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
        ) as client,
    ):
        landing = Landing(f"{scratch}/landing")
        collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
        collector.add(channel.channel_id for channel in world.channels.each)
        simulate(collector, emulator, end=world.end)
    feature_tables.build(engine)


def _questions(engine: Engine, most: int) -> pd.DataFrame:
    query = (
        "SELECT video_id, channel_id, p.event_timestamp FROM video_performance p"
        " JOIN (SELECT DISTINCT ON (video_id) video_id, channel_id FROM video_profile"
        " ORDER BY video_id, event_timestamp) c USING (video_id)"
        f" ORDER BY md5(video_id || p.event_timestamp) LIMIT {most}"
    )
    rows = pd.read_sql(query, engine)
    rows["event_timestamp"] += timedelta(hours=1)
    return rows.assign(as_of=rows["event_timestamp"])


def _compared(store: FeatureStore, rows: pd.DataFrame) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in STORES}
    for _ in range(REPETITIONS):
        for name, offline in STORES.items():
            times[name].append(_seconds(store, offline, rows))
    ours, theirs = (median(times[name]) for name in STORES)
    return {
        "entity rows": len(rows),
        **{f"{name}, s": [round(second, 3) for second in times[name]] for name in STORES},
        "Feast's own / as-of": round(theirs / ours, 1),
    }


def _seconds(store: FeatureStore, offline: Any, rows: pd.DataFrame) -> float:
    views = store.list_batch_feature_views()
    references = [f"{view.name}:{field.name}" for view in views for field in view.features]
    kept = [name for name in references if name.split(":")[1] not in ("channel_id", "world")]
    began = time.monotonic()
    job = offline.get_historical_features(
        store.config, views, kept, rows, store.registry, store.project,
        filter_by_created_timestamp=True,
    )  # fmt: skip
    table = job.to_arrow()
    if len(table) != len(rows):
        raise AssertionError(f"{len(rows)} rows went in, {len(table)} came out")
    return time.monotonic() - began
