"""Everything a forecast needs, made up at full size: a model, its registry, a filled store."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import lightgbm
import numpy as np
import redis

import training
from feature_repo import bundle, online_layout, schemas
from feature_repo.clock import system_clock
from feature_repo.store import apply, open_feature_store
from feature_repo.targets import COUNT_COLUMN, METRICS
from feature_repo.transformations.normals import NORMAL_FEATURES
from foreview.local import local_servers
from ingestion import warehouse
from serving.registry import model_name
from training.estimators import HORIZON_COLUMN
from training.onnx_export import write_onnx
from training.params import read_params

WORLD = "synthetic"
VIDEOS, CHANNELS = 2_000, 200
ROWS = 6_000
SEED = 7
HOUR = 3600.0


@dataclass(frozen=True)
class Stage:
    """Where everything is.

    Attributes:
        environment: Variables for a server process.
        directory: For scratch files.
        boosters: The native models, by metric.
        bundle: The bundle that is registered as champion.
        columns: The model's columns.
        video_ids: Stored videos; `channel_of` gives the channel of each.
    """

    environment: dict[str, str]
    directory: Path
    boosters: dict[str, lightgbm.Booster]
    bundle: Path
    columns: tuple[bundle.Column, ...]
    video_ids: list[str]
    channel_of: dict[str, str]


@contextmanager
def set_stage() -> Iterator[Stage]:
    """Start private servers, fill them, and take everything away afterwards."""
    with tempfile.TemporaryDirectory(prefix="foreview-bench-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        state = directory / "state"
        with local_servers(state) as environment:
            environment = environment | {
                "FOREVIEW_STATE_DIR": str(state),
                "FOREVIEW_WORLD": WORLD,
                "OMP_WAIT_POLICY": "passive",
            }
            warehouse.migrate(environment["FOREVIEW_DATABASE_URL"], "foreview")
            apply(open_feature_store(environment))
            columns = published_columns()
            boosters = fit(columns)
            write_bundle(directory / "bundle", boosters, columns)
            register(environment["FOREVIEW_MLFLOW_TRACKING_URI"], directory / "bundle")
            channel_of = fill(environment["FOREVIEW_REDIS_URL"])
            yield Stage(
                environment, directory, boosters, directory / "bundle", columns,
                list(channel_of), channel_of,
            )  # fmt: skip


def published_columns() -> tuple[bundle.Column, ...]:
    """Give the columns of published_v2, as the feature service has them."""
    from feature_repo.feature_services import published_v2

    return tuple(
        bundle.Column(
            name=feature.name,
            view=projection.name,
            kind="request" if projection.name == "published_request" else "stored",
        )
        for projection in published_v2.feature_view_projections
        for feature in projection.features
    )


def fit(columns: tuple[bundle.Column, ...]) -> dict[str, lightgbm.Booster]:
    """Fit boosters of the size that `foreview train` makes, on numbers made up."""
    chance = np.random.default_rng(SEED)
    given = chance.normal(2.0, 2.0, size=(ROWS, len(columns) + 1))
    given[:, -1] = chance.integers(1, 31, ROWS)
    given[chance.random(given.shape) < 0.05] = np.nan
    weights = chance.normal(size=len(columns))
    growth = np.abs(np.nan_to_num(given[:, :-1]) @ weights) * 0.01 + 0.02 * np.nan_to_num(
        given[:, -1]
    )
    settings = read_params(Path(training.__file__).with_name("params.yaml")).lightgbm | {
        "objective": "regression",
        "monotone_constraints": [0] * len(columns) + [1],
        "min_child_samples": 10,
        "verbosity": -1,
        "num_threads": 1,
        "seed": SEED,
    }
    rounds = settings.pop("n_estimators")
    feature_name = [*(column.name for column in columns), HORIZON_COLUMN]
    data = lightgbm.Dataset(given, feature_name=feature_name, free_raw_data=False)
    boosters = {}
    for metric in METRICS:
        noise = chance.normal(scale=0.02, size=ROWS)
        boosters[metric] = lightgbm.train(settings, data.set_label(growth + noise), rounds)
    return boosters


def write_bundle(
    directory: Path, boosters: dict[str, lightgbm.Booster], columns: tuple[bundle.Column, ...]
) -> bundle.Contract:
    """Write the bundle that serving loads."""
    (directory / bundle.NATIVE_DIRECTORY).mkdir(parents=True)
    for metric, booster in boosters.items():
        booster.save_model(directory / bundle.NATIVE_DIRECTORY / f"{metric}.txt")
    write_onnx(boosters, directory / bundle.MODEL_FILE)
    days = (1, 7, 30)
    table = bundle.OffsetTable(
        horizons=days, p10=(-0.5, -0.4, -0.3), p50=(0.0, 0.0, 0.0), p90=(0.4, 0.5, 0.6), n=(9, 9, 9)
    )
    intervals = bundle.Intervals(tables={metric: {"all": table} for metric in METRICS})
    (directory / bundle.INTERVALS_FILE).write_text(intervals.model_dump_json())
    curve = {"horizons": [1.0, 30.0], "p10": [0.0, 0.1], "p50": [0.1, 0.5], "p90": [0.3, 1.5]}
    fallback = {metric: {"all": curve} for metric in METRICS}
    (directory / bundle.FALLBACK_FILE).write_text(json.dumps(fallback))
    contract = bundle.Contract(
        situation="published",
        feature_service="published_v2",
        world=WORLD,
        columns=columns,
        horizon_column=HORIZON_COLUMN,
        metrics={
            metric: bundle.MetricContract(
                output=metric, count_column=COUNT_COLUMN[metric], horizons=tuple(range(1, 31))
            )
            for metric in METRICS
        },
        tier_column="channel_early_log10_views",
        age_column="age_at_observation_hours",
        trained_until="2026-02-28",
        dataset_digest="0" * 64,
        schema_hash=bundle.schema_hash("published_v2", columns),
        seed=SEED,
        digests={name: bundle.file_digest(directory / name) for name in bundle.DIGESTED_FILES},
    )
    (directory / bundle.CONTRACT_FILE).write_text(contract.model_dump_json())
    return contract


def register(mlflow_uri: str, directory: Path) -> None:
    """Register a bundle as champion, by MLflow's REST API."""
    name = model_name(WORLD)
    with httpx.Client(base_url=f"{mlflow_uri}/api/2.0", timeout=60) as api:
        body = {"experiment_id": "0", "start_time": 1}
        run = api.post("/mlflow/runs/create", json=body).raise_for_status().json()["run"]["info"]
        root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for file in (path for path in directory.rglob("*") if path.is_file()):
            address = f"/mlflow-artifacts/artifacts/{root}/bundle/{file.relative_to(directory)}"
            api.put(address, content=file.read_bytes()).raise_for_status()
        api.post("/mlflow/registered-models/create", json={"name": name})
        source = {"name": name, "source": f"{run['artifact_uri']}/bundle", "run_id": run["run_id"]}
        made = api.post("/mlflow/model-versions/create", json=source).raise_for_status().json()
        version = str(made["model_version"]["version"])
        alias = {"name": name, "alias": "champion", "version": version}
        api.post("/mlflow/registered-models/alias", json=alias).raise_for_status()


def fill(redis_url: str) -> dict[str, str]:
    """Put videos and channels into the online store, as Feast lays them out."""
    chance = np.random.default_rng(SEED)
    at = system_clock().timestamp() - 2 * HOUR
    channels = [f"UC{number:022d}" for number in range(CHANNELS)]
    channel_of = {f"bench{number:06d}": channels[number % CHANNELS] for number in range(VIDEOS)}
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for video_id, channel_id in channel_of.items():
            texts = {"channel_id": channel_id, "world": WORLD}
            _put(pipeline, "video_id", video_id, {
                "video_profile": _row("video_profile", chance, published_at=at - 50 * HOUR) | texts,
                "video_performance": _row("video_performance", chance, observed_at=at),
            }, at)  # fmt: skip
        for channel_id in channels:
            normals = dict.fromkeys(NORMAL_FEATURES, 3.0)
            row = _row("channel_track_record", chance, channel_last_upload_at=at - 40 * HOUR)
            _put(pipeline, "channel_id", channel_id, {"channel_track_record": row | normals}, at)
        pipeline.execute()
    return channel_of


def _row(view: str, chance: np.random.Generator, **known: float) -> dict[str, float | str]:
    fields = schemas.FEATURE_TABLES[view]
    keys = ("video_id", "channel_id", "world", "view_definition")
    numbers = [f.name for f in fields if f.name not in keys and "timestamp" not in f.name]
    values = np.round(np.abs(chance.normal(1000.0, 400.0, len(numbers))))
    return dict(zip(numbers, values.tolist(), strict=True)) | known


def _put(
    pipeline: "redis.client.Pipeline", join_key: str, entity_id: str,
    rows: dict[str, dict[str, float | str]], at: float,
) -> None:  # fmt: skip
    fields = {}
    for view, features in rows.items():
        fields[online_layout.timestamp_field(view)] = online_layout.encode_timestamp(int(at), 0)
        for name, value in features.items():
            kind = "string" if isinstance(value, str) else "double"
            fields[online_layout.feature_field(view, name)] = online_layout.encode_value(
                value, kind
            )
    pipeline.hset(online_layout.key_encoder(join_key)(entity_id), mapping=fields)
