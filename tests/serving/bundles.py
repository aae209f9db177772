"""A small real model bundle, for tests: LightGBM trees in ONNX, with contract and intervals."""

import json
import shutil
from pathlib import Path

import lightgbm
import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from feature_repo import bundle
from feature_repo.targets import COUNT_COLUMN, METRICS

COLUMNS = (
    bundle.Column(name="duration_seconds", view="video_profile", kind="stored"),
    bundle.Column(name="log10_views", view="video_performance", kind="stored"),
    bundle.Column(name="views_per_hour_1d", view="video_performance", kind="stored", default=0.0),
    bundle.Column(name="observation_count", view="video_performance", kind="stored"),
    bundle.Column(name="channel_early_log10_views", view="channel_track_record", kind="stored"),
    bundle.Column(name="channel_shorts_share", view="channel_track_record", kind="stored"),
    bundle.Column(name="age_hours", view="published_request", kind="request"),
    bundle.Column(name="hours_since_observation", view="published_request", kind="request"),
    bundle.Column(name="views_against_channel_normal", view="published_request", kind="request"),
)
HORIZONS = {"views": tuple(range(1, 31)), "likes": tuple(range(1, 31)), "comments": (1, 2, 3, 7)}

# Decades gained since the last observation.
CURVE = {"horizons": [1.0, 40.0], "p10": [0.0, 0.3], "p50": [0.1, 0.8], "p90": [0.3, 1.5]}


def write_bundle(
    directory: Path, world: str, *, trees: int = 30, seed: int = 7, age_column: str | None = None
) -> bundle.Contract:
    """Write a complete bundle of freshly trained trees."""
    directory.mkdir(parents=True, exist_ok=True)
    graph = _model(trees, seed, directory / bundle.NATIVE_DIRECTORY)
    onnx.save(graph, directory / bundle.MODEL_FILE)
    (directory / bundle.INTERVALS_FILE).write_text(_intervals().model_dump_json())
    (directory / bundle.FALLBACK_FILE).write_text(json.dumps({m: {"all": CURVE} for m in METRICS}))
    (directory / bundle.CARD_FILE).write_text("# A model for tests\n")
    contract = bundle.Contract(
        situation="published",
        feature_service="published_v1",
        world=world,
        columns=COLUMNS,
        horizon_column="horizon_days",
        metrics={
            metric: bundle.MetricContract(
                output=f"{metric}_growth",
                count_column=COUNT_COLUMN[metric],
                horizons=HORIZONS[metric],
            )
            for metric in METRICS
        },
        tier_column="channel_early_log10_views",
        age_column=age_column,
        trained_until="2026-02-28",
        dataset_digest="0" * 64,
        schema_hash=bundle.schema_hash("published_v1", COLUMNS),
        seed=seed,
        digests={n: bundle.file_digest(directory / n) for n in bundle.DIGESTED_FILES},
    )
    (directory / bundle.CONTRACT_FILE).write_text(contract.model_dump_json())
    return contract


DRAFT_COLUMNS = (
    bundle.Column(name="channel_early_log10_views", view="channel_track_record", kind="stored"),
    bundle.Column(name="title_length", view="draft_request", kind="request"),
    bundle.Column(name="duration_seconds", view="draft_request", kind="request"),
)


def write_draft_bundle(directory: Path, world: str, seed: int = 7) -> bundle.Contract:
    """Write a bundle for drafts, which like long titles."""
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    given = random.uniform(1, 100, size=(2000, len(DRAFT_COLUMNS) + 1))
    given[:, -1] = random.integers(1, 31, 2000)
    logs = 2.0 + 0.05 * given[:, 1] + 0.02 * given[:, -1]
    graph = _graph({m: _train(given, logs, 30, seed) for m in METRICS}, len(DRAFT_COLUMNS) + 1)
    onnx.save(graph, directory / bundle.MODEL_FILE)
    table = bundle.OffsetTable(
        horizons=(1, 30), p10=(-0.5, -0.4), p50=(0.0, 0.0), p90=(0.5, 0.6), n=(9, 9)
    )
    intervals = bundle.Intervals(tables={metric: {"all": table} for metric in METRICS})
    (directory / bundle.INTERVALS_FILE).write_text(intervals.model_dump_json())
    (directory / bundle.FALLBACK_FILE).write_text("{}")
    contract = bundle.Contract(
        situation="draft",
        feature_service="draft_v1",
        world=world,
        columns=DRAFT_COLUMNS,
        horizon_column="horizon_days",
        metrics={
            metric: bundle.MetricContract(
                output=f"{metric}_growth", count_column=None, horizons=(1, 3, 7)
            )
            for metric in METRICS
        },
        tier_column="channel_early_log10_views",
        trained_until="2026-02-28",
        dataset_digest="0" * 64,
        schema_hash=bundle.schema_hash("draft_v1", DRAFT_COLUMNS),
        seed=seed,
        digests={n: bundle.file_digest(directory / n) for n in bundle.DIGESTED_FILES},
    )
    (directory / bundle.CONTRACT_FILE).write_text(contract.model_dump_json())
    return contract


def copy_bundle(
    source: Path, directory: Path, world: str, seed: int = 7, intervals: bytes | None = None
) -> bundle.Contract:
    """Copy a bundle into another world, with a digest of its own per seed, or other intervals."""
    shutil.copytree(source, directory)
    contract = bundle.read_contract(source).model_copy(update={"world": world, "seed": seed})
    if intervals is not None:
        (directory / bundle.INTERVALS_FILE).write_bytes(intervals)
        contract.digests[bundle.INTERVALS_FILE] = bundle.file_digest(
            directory / bundle.INTERVALS_FILE
        )
    (directory / bundle.CONTRACT_FILE).write_text(contract.model_dump_json())
    return contract


def _intervals() -> bundle.Intervals:
    days = (1, 7, 30)
    wide = bundle.OffsetTable(
        horizons=days,
        p10=(-0.9, -0.8, -0.7),
        p50=(0.0, 0.01, 0.02),
        p90=(0.8, 1.0, 1.5),
        n=(9, 9, 9),
    )
    narrow = bundle.OffsetTable(
        horizons=days, p10=(-0.5, -0.4, -0.3), p50=(0.0, 0.0, 0.0), p90=(0.4, 0.5, 0.6), n=(9, 9, 9)
    )
    young = bundle.OffsetTable(
        horizons=(1, 30), p10=(-1.5, -1.5), p50=(0.1, 0.1), p90=(2.0, 2.5), n=(9, 9)
    )
    tables = {"all": wide, "1e2": narrow, "1e3": narrow, "1e2@to_4d": young}
    return bundle.Intervals(tables={metric: tables for metric in METRICS})


def _model(trees: int, seed: int, native: Path) -> onnx.ModelProto:
    """Train one ensemble per metric and put them into one graph with one input."""
    width = len(COLUMNS) + 1
    boosters = {m: _booster(trees, seed + at, width) for at, m in enumerate(METRICS)}
    native.mkdir(exist_ok=True)
    for metric, booster in boosters.items():
        booster.save_model(native / f"{metric}.txt")
    return _graph(boosters, width)


def _graph(boosters: dict[str, lightgbm.Booster], width: int) -> onnx.ModelProto:
    nodes, outputs = [], []
    for metric, booster in boosters.items():
        model = convert_lightgbm(
            booster,
            initial_types=[("features", FloatTensorType([None, width]))],
            target_opset=15,
        )
        node = next(n for n in model.graph.node if n.op_type == "TreeEnsembleRegressor")
        node.name = metric
        node.input[0], node.output[0] = bundle.MODEL_INPUT, f"{metric}_growth"
        nodes.append(node)
        outputs.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None, 1]))
    given = helper.make_tensor_value_info(bundle.MODEL_INPUT, TensorProto.FLOAT, [None, width])
    graph = helper.make_graph(nodes, "foreview", [given], outputs)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _booster(trees: int, seed: int, width: int) -> lightgbm.Booster:
    random = np.random.default_rng(seed)
    given = random.normal(size=(2000, width))
    given[:, -1] = random.integers(1, 31, size=2000)
    given[random.random(given.shape) < 0.1] = np.nan
    horizon = np.nan_to_num(given[:, -1], nan=7.0)
    growth = 0.03 * horizon + 0.05 * np.nan_to_num(given[:, 1]) + 0.01 * random.normal(size=2000)
    return _train(given, np.maximum(growth, 0.0), trees, seed)


def _train(given: np.ndarray, target: np.ndarray, trees: int, seed: int) -> lightgbm.Booster:
    width = given.shape[1]
    parameters = {
        "objective": "regression",
        "num_leaves": 15,
        "monotone_constraints": [0] * (width - 1) + [1],
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(given, target)
    return lightgbm.train(parameters, data, num_boost_round=trees)
