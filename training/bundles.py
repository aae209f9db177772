"""Writes the model bundle that serving reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import bundle
from feature_repo.bundle import Contract, Intervals, MetricContract
from feature_repo.targets import COUNT_COLUMN, METRICS
from training.dataset import AGE_COLUMN, SERVICES, TIER_COLUMN, TrainingSet, names
from training.estimators import HORIZON_COLUMN, Boosters
from training.onnx_export import check_equal, write_onnx

REFERENCE_ROWS = 5_000
CHECKED_ROWS = 2_000


def write_bundle(
    directory: Path,
    boosters: Boosters,
    intervals: Intervals,
    fitted_on: TrainingSet,
    facts: Mapping[str, Any],
    card: str,
) -> Contract:
    """Write a bundle and prove that its graph answers as the fitted models do.

    Args:
        directory: Created; must be empty.
        boosters: One per metric.
        intervals: Calibrated offsets.
        fitted_on: What the boosters were fitted on; a sample is kept as drift's reference.
        facts: The contract's world, trained_until and seed.
        card: The model card, in Markdown.
    """
    native = directory / bundle.NATIVE_DIRECTORY
    native.mkdir(parents=True)
    for metric, booster in boosters.items():
        booster.save_model(native / f"{metric}.txt")
    write_onnx(boosters, directory / bundle.MODEL_FILE)
    check_equal(boosters, directory / bundle.MODEL_FILE, _some_rows(fitted_on))
    _write_json(directory / bundle.INTERVALS_FILE, intervals.model_dump())
    _write_json(directory / bundle.FALLBACK_FILE, growth_curves(fitted_on))
    pq.write_table(_reference(fitted_on), directory / bundle.REFERENCE_FILE)
    (directory / bundle.CARD_FILE).write_text(card)
    contract = _contract(directory, intervals, fitted_on, facts)
    (directory / bundle.CONTRACT_FILE).write_text(contract.model_dump_json(indent=1))
    return contract


def growth_curves(fitted_on: TrainingSet) -> dict[str, Any]:
    """Give what videos of each tier came to by each horizon: an answer that knows no features.

    Returns:
        `{metric: {tier: {"horizons": [...], "p10": [...], "p50": [...], "p90": [...]}}}` in
        decades of log10(1 + count) since the last observation, each column non-decreasing; since
        the publication for drafts.
    """
    labels = fitted_on.labels
    days = np.rint(labels["horizon_days"].to_numpy(np.float64))
    tiers = fitted_on.tiers()[labels["row"].to_numpy()]
    return {
        metric: {
            str(tier): _curve(days, labels[metric].to_numpy(), (tiers == tier) | (tier == "all"))
            for tier in ("all", *np.unique(tiers))
        }
        for metric in METRICS
    }


def _curve(days: Any, growth: Any, chosen: Any) -> dict[str, list[float]]:
    chosen = chosen & ~np.isnan(growth)
    horizons = [int(day) for day in np.unique(days[chosen & (days >= 1)])]
    levels = [np.quantile(growth[chosen & (days == day)], [0.1, 0.5, 0.9]) for day in horizons]
    rising = np.maximum.accumulate(np.maximum(np.array(levels).reshape(-1, 3), 0.0), axis=0)
    columns = dict(zip(("p10", "p50", "p90"), rising.T.tolist(), strict=True))
    return {"horizons": [float(day) for day in horizons], **columns}


def _contract(
    directory: Path, intervals: Intervals, fitted_on: TrainingSet, facts: Mapping[str, Any]
) -> Contract:
    is_draft = fitted_on.situation == "draft"
    service = SERVICES[fitted_on.situation]
    return Contract(
        situation=fitted_on.situation,
        feature_service=service,
        columns=fitted_on.columns,
        horizon_column=HORIZON_COLUMN,
        metrics={
            metric: MetricContract(
                output=metric,
                count_column=None if is_draft else COUNT_COLUMN[metric],
                horizons=intervals.tables[metric]["all"].horizons,
            )
            for metric in METRICS
        },
        tier_column=TIER_COLUMN,
        age_column=None if is_draft else AGE_COLUMN,
        dataset_digest=fitted_on.digest(),
        schema_hash=bundle.schema_hash(service, fitted_on.columns),
        digests={name: bundle.file_digest(directory / name) for name in bundle.DIGESTED_FILES},
        **facts,
    )


def _some_rows(fitted_on: TrainingSet) -> Any:
    step = max(len(fitted_on.labels) // CHECKED_ROWS, 1)
    return fitted_on.matrix(fitted_on.labels.iloc[::step])


def _reference(fitted_on: TrainingSet) -> pa.Table:
    step = max(len(fitted_on.features) // REFERENCE_ROWS, 1)
    sample = fitted_on.features[::step]
    return pa.table({name: sample[:, i] for i, name in enumerate(names(fitted_on.columns))})


def _write_json(path: Path, content: Any) -> None:
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
