"""The whole path on a small synthetic world: collect, features, train, register, serve."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from feature_repo import bundle
from feature_repo import store as feature_store
from foreview.local import Servers
from ingestion import feature_tables, materializing, warehouse
from ingestion.collecting import open_client, simulate
from ingestion.collector import Collector
from ingestion.emulator.running import running_emulator
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing
from serving.app import run_in_thread
from serving.settings import ServingSettings
from tests.observability.platform import small_params
from training.onnx_export import predict_growth
from training.params import Params
from training.pipeline import Outcome, train
from training.registry import Registry

END = datetime(2026, 7, 1, tzinfo=UTC)  # no change of what a view is within the record
SCHEMA = "platform"


class Platform(NamedTuple):
    """A platform after its first training."""

    environment: dict[str, str]
    store: Any
    registry: Registry
    params: Params
    outcome: Outcome
    video_ids: list[str]


@pytest.fixture(scope="module")
def platform(
    servers: Servers, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    given = servers.environment() | {"FOREVIEW_DATABASE_SCHEMA": SCHEMA}
    # A database of its own in Redis: other tests empty theirs.
    given["FOREVIEW_REDIS_URL"] = given["FOREVIEW_REDIS_URL"].removesuffix("/0") + "/9"
    engine = warehouse.open_warehouse(given["FOREVIEW_DATABASE_URL"], SCHEMA)
    warehouse.migrate(engine, SCHEMA)
    world = synthetic_world(13, days=70, channels=12, end=END)
    with (
        running_emulator(world) as emulator,
        open_client(
            engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
        ) as client,
    ):
        landing = Landing(str(tmp_path_factory.mktemp("landing")))
        collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
        collector.add(channel.channel_id for channel in world.channels.each)
        simulate(collector, emulator, end=END)
    feature_tables.build(engine)
    store = feature_store.open_feature_store(given | {"FOREVIEW_CLOCK": END.isoformat()})
    feature_store.apply(store)
    materializing.materialize(store, materializing.built_window(engine))
    registry = Registry(mlflow_uri)
    params = small_params().model_copy(update={"draft": {}})
    outcome = train(store, registry, params, "synthetic", END)
    profile = feature_store.read_source(
        store, "video_performance", ["view_count"], (datetime(2026, 6, 25, tzinfo=UTC), END)
    )
    ids = sorted(set(profile["video_id"].to_pylist()))[:40]
    yield Platform(given, store, registry, params, outcome, ids)
    engine.dispose()


@pytest.fixture(scope="module")
def api(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = ServingSettings(
        world="synthetic",
        state_dir=tmp_path_factory.mktemp("serving"),
        database_schema=SCHEMA,
        database_url=platform.environment["FOREVIEW_DATABASE_URL"],
        redis_url=platform.environment["FOREVIEW_REDIS_URL"],
        mlflow_tracking_uri=platform.environment["FOREVIEW_MLFLOW_TRACKING_URI"],
    )
    with (
        run_in_thread(settings, lambda: END) as server,
        httpx.Client(base_url=server.address, timeout=30) as client,
    ):
        yield client


def test_a_first_model_becomes_champion_and_carries_its_contract(platform: Platform) -> None:
    champion = platform.registry.champion("published", "synthetic")
    assert platform.outcome.verdict.promote
    assert champion is not None
    assert champion.version == platform.outcome.version.version


def test_the_model_is_ahead_of_every_baseline(platform: Platform) -> None:
    rows = [
        r for r in platform.outcome.rows
        if r["metric"] == "views" and r["subset"] == "all" and r["n"] >= 200
    ]  # fmt: skip
    for days in {row["horizon_days"] for row in rows}:
        errors = {r["model"]: r["rmse_log10"] for r in rows if r["horizon_days"] == days}
        assert errors["lightgbm"] < min(v for k, v in errors.items() if k != "lightgbm")


def test_the_same_data_and_seed_make_the_same_model_and_it_is_not_promoted(
    platform: Platform, tmp_path: Path
) -> None:
    again = train(platform.store, platform.registry, platform.params, "synthetic", END)
    first, second = (
        bundle.read_contract(platform.registry.download(version, tmp_path / version.version))
        for version in (platform.outcome.version, again.version)
    )
    assert bundle.bundle_digest(first) == bundle.bundle_digest(second)
    assert not again.verdict.promote
    assert again.verdict.reason


def test_a_served_forecast_is_the_registered_model_on_the_vector_of_feasts_sdk(
    platform: Platform, api: httpx.Client, tmp_path: Path
) -> None:
    directory = platform.registry.download(platform.outcome.version, tmp_path)
    contract = bundle.read_contract(directory)
    days = [d for d in (1, 3, 7) if d in contract.metrics["views"].horizons]
    asked = {"video_ids": platform.video_ids, "days": days}
    served = [
        f for f in api.post("/v1/forecasts", json=asked).raise_for_status().json()["forecasts"]
        if "metrics" in f
    ]  # fmt: skip
    assert len(served) > 10
    keys = [
        {"video_id": f["video_id"], "channel_id": f["channel_id"], "as_of": END} for f in served
    ]
    service = platform.store.get_feature_service("published_v2")
    vectors = platform.store.get_online_features(service, keys).to_df()
    matrix = vectors[[c.name for c in contract.columns]].to_numpy(np.float32, na_value=np.nan)
    intervals = bundle.read_intervals(directory)
    for at, forecast in enumerate(served):
        expected = _expected(directory, contract, intervals, matrix[at], days)
        answered = forecast["metrics"]["views"]["forecasts"]
        got = [[answer["p10"], answer["p50"], answer["p90"]] for answer in answered]
        if vectors["view_count"].isna()[at]:
            assert got == [[None] * 3] * len(days)
        else:
            assert got == expected


def _expected(
    directory: Path,
    contract: bundle.Contract,
    intervals: bundle.Intervals,
    vector: np.ndarray[Any, Any],
    days: list[int],
) -> list[list[int]]:
    from feature_repo.segments import interval_group, tier
    from feature_repo.targets import quantiles

    names = [column.name for column in contract.columns]
    crossed = np.array([[*vector, day] for day in days], dtype=np.float32)
    growth = predict_growth(directory / bundle.MODEL_FILE, crossed)["views"]
    value = {name: np.array([float(v)]) for name, v in zip(names, vector, strict=True)}
    group = interval_group(tier(value[contract.tier_column]), value["age_at_observation_hours"])
    offsets = intervals.table("views", str(group[0])).at(days)
    counts = np.repeat(np.float64(value["view_count"][0]), len(days))
    return [[round(q) for q in row] for row in quantiles(counts, growth, offsets).tolist()]


def test_an_unknown_video_and_a_malformed_id_are_told_apart(api: httpx.Client) -> None:
    unknown = api.get("/v1/videos/AAAAAAAAAAA/forecast")
    malformed = api.get("/v1/videos/short/forecast")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_video")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "invalid_video_id")
