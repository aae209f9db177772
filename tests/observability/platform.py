"""A whole platform on a small synthetic world whose clock a test moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from sqlalchemy import Engine

from feature_repo import store as feature_store
from ingestion import feature_tables, materializing, warehouse
from ingestion.collecting import open_client, simulate
from ingestion.collector import Collector
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.landing import Landing
from serving.settings import ServingSettings
from training.params import Params, read_params
from training.settings import TrainingSettings

END = datetime(2026, 7, 1, tzinfo=UTC)  # no change of what a view is within the record


@dataclass
class Platform:
    """Everything that runs, and the clock it runs by."""

    environment: dict[str, str]
    engine: Engine
    world: World
    emulator: RunningEmulator
    collector: Collector
    store: Any
    state_dir: Path

    @property
    def url(self) -> str:
        return self.environment["FOREVIEW_DATABASE_URL"]

    @property
    def schema(self) -> str:
        return self.environment["FOREVIEW_DATABASE_SCHEMA"]

    def clock(self) -> datetime:
        return self.emulator.now()

    def collect(self, until: datetime) -> None:
        simulate(self.collector, self.emulator, end=until)

    def build(self) -> None:
        feature_tables.build(self.engine)

    def materialize(self) -> None:
        materializing.materialize(self.store, materializing.built_window(self.engine))

    def train(self) -> None:
        from training.pipeline import train
        from training.registry import Registry

        registry = Registry(self.environment["FOREVIEW_MLFLOW_TRACKING_URI"])
        outcome = train(self.store, registry, small_params(), "synthetic", self.clock())
        # Worlds of other tests share the registry: their champion knows nothing of this one.
        registry.promote(outcome.version, "the model of this test's world")

    def serving_settings(self) -> ServingSettings:
        return ServingSettings(
            world="synthetic",
            state_dir=self.state_dir,
            database_schema=self.schema,
            database_url=self.url,
            redis_url=self.environment["FOREVIEW_REDIS_URL"],
            mlflow_tracking_uri=self.environment["FOREVIEW_MLFLOW_TRACKING_URI"],
        )

    def videos(self, younger_than: timedelta) -> list[str]:
        """Name the videos that are out and younger than this."""
        published, now = self.world.videos.published_at, self.clock()
        chosen = (published < now.timestamp()) & (published > (now - younger_than).timestamp())
        pairs = zip(self.world.videos.video_ids, chosen, strict=True)
        return [str(video_id) for video_id, is_chosen in pairs if is_chosen]


@contextmanager
def open_platform(
    environment: dict[str, str],
    directory: Path,
    *,
    schema: str,
    redis_database: int,
    days: int,
    channels: int,
    seed: int = 11,
) -> Iterator[Platform]:
    """Open an empty platform beside an emulator whose clock stands at its world's start."""
    url = urlsplit(environment["FOREVIEW_REDIS_URL"])._replace(path=f"/{redis_database}").geturl()
    with redis.Redis.from_url(url) as online:
        online.flushdb()
    given = environment | {"FOREVIEW_DATABASE_SCHEMA": schema, "FOREVIEW_REDIS_URL": url}
    engine = warehouse.open_warehouse(given["FOREVIEW_DATABASE_URL"], schema)
    warehouse.migrate(engine, schema)
    world = synthetic_world(seed, days=days, channels=channels, end=END)
    store = feature_store.open_feature_store(given)
    feature_store.apply(store)
    with (
        running_emulator(world) as emulator,
        open_client(
            engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
        ) as client,
    ):
        landing = Landing(str(directory / "landing"))
        collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
        collector.add(channel.channel_id for channel in world.channels.each)
        yield Platform(given, engine, world, emulator, collector, store, directory)
    engine.dispose()
    for registry_engine in (store.registry.read_engine, store.registry.write_engine):
        registry_engine.dispose()


def small_params() -> Params:
    """Give parameters that train in seconds."""
    params = read_params(TrainingSettings.model_fields["params"].default)
    trees = params.lightgbm | {
        "n_estimators": 80, "learning_rate": 0.1, "num_leaves": 15, "min_child_samples": 60,
        "colsample_bytree": 0.8, "path_smooth": 20,
    }  # fmt: skip
    return params.model_copy(
        update={
            "growth_power": 0.0,
            "lightgbm": trees | {"num_threads": 2},
            "intervals": params.intervals.model_copy(update={"min_labels": 100}),
        }
    )
