"""A new model against the champion: on the same rows, then in behaviour."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.bundle import MODEL_FILE, Contract, Intervals, read_contract, read_intervals
from training import promotion
from training.behaviour import Forecast, behaviour
from training.dataset import TrainingSet
from training.evaluation import Row, Scored, with_intervals
from training.judging import MODEL, Judged
from training.onnx_export import predict_growth
from training.promotion import Verdict
from training.registry import Registry

FloatArray = NDArray[np.float64]


def verdict(
    registry: Registry, contract: Contract, judged: Judged, seed: int, bundle: Path, scratch: Path
) -> Verdict:
    """Try its behaviour, then compare with the champion in views, where both can answer.

    Args:
        registry: Where the champion is.
        contract: Of the bundle that was just written.
        judged: How its model did.
        seed: Of the bootstrap.
        bundle: Directory of the bundle: what is tried is what would be served.
        scratch: Where the champion may be downloaded to.
    """
    reading = judged.asked.reading(contract.columns)
    behaved = promotion.behaves(behaviour(reading, bundle_forecast(bundle)))
    if not behaved.promote:
        return behaved
    coverage = promotion.coverage_holds(_coverage(judged.rows))
    champion = registry.champion(contract.situation, contract.world)
    if champion is None:
        return Verdict(True, f"the first model of its kind; {coverage.reason}")
    if not coverage.promote:
        return coverage
    return compare(bundle, registry.download(champion, scratch), judged.asked, seed)


def compare(bundle: Path, champion: Path, asked: TrainingSet, seed: int) -> Verdict:
    """Compare what two bundles say of views on the same questions.

    Args:
        bundle: Directory of the challenger's.
        champion: Directory of the champion's.
        asked: Questions and labels that the challenger was not fitted on; those asked before the
            champion had learnt all it knows are left out.
        seed: Of the bootstrap.
    """
    contract = read_contract(champion)
    if not set(contract.columns) <= set(asked.columns):
        return Verdict(True, "the champion reads features that no longer exist")
    # Where older history was loaded since, the test begins earlier than the champion's did.
    row = asked.labels["row"].to_numpy()
    asked_at = pd.DatetimeIndex(asked.rows["event_timestamp"])[row]
    asked = asked.where(np.asarray(asked_at >= pd.Timestamp(contract.trained_until)))
    truth = asked.truth("views")
    known = ~np.isnan(truth)
    if not known.any():
        return Verdict(
            False,
            "not shown to be better: the test asks nothing after "
            f"{contract.trained_until}, until when the champion has learnt",
        )
    channels = asked.rows["channel_id"].to_numpy()[asked.labels["row"].to_numpy()]
    return promotion.against_champion(
        (_median_views(bundle, asked) - truth)[known],
        (_median_views(champion, asked) - truth)[known],
        channels[known],
        seed,
    )


def _median_views(bundle: Path, asked: TrainingSet) -> FloatArray:
    """Give what a bundle says, log10(1 + views) per label.

    Both are read alike: of the same trees in two forms, rounding would make one the better.
    """
    reading = asked.reading(read_contract(bundle).columns)
    return _scored(bundle, reading, read_intervals(bundle)).median["views"]


def bundle_forecast(directory: Path) -> Forecast:
    """Give how a bundle forecasts views: quantiles of counts, shape (labels, 3)."""
    intervals = read_intervals(directory)

    def forecast(asked: TrainingSet) -> FloatArray:
        scored = _scored(directory, asked, intervals)
        assert scored.interval is not None
        low, high = scored.interval["views"].T
        return 10.0 ** np.column_stack([low, scored.median["views"], high]) - 1.0

    return forecast


def _scored(bundle: Path, asked: TrainingSet, intervals: Intervals) -> Scored:
    """Let a bundle answer questions that hold its columns in its order."""
    growth = predict_growth(bundle / MODEL_FILE, asked.matrix(asked.labels))
    return with_intervals(asked, growth, intervals, MODEL)


def _coverage(rows: list[Row]) -> float:
    views = [r for r in rows if r["model"] == MODEL and r["metric"] == "views"]
    whole = "all" if any(r["subset"] == "all" for r in views) else "by_horizon"
    every = [r for r in views if r["subset"] == whole]
    total = sum(r["n"] for r in every)
    return sum(r["coverage_80"] * r["n"] for r in every) / total if total else float("nan")
