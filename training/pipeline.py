"""Trains: questions, point-in-time join, fit, calibrate, judge, register, promote."""

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pandas as pd

from feature_repo.targets import METRICS
from training.bundles import write_bundle
from training.card import model_card
from training.contest import verdict
from training.dataset import Record, TrainingSet, read_record
from training.errors import TooLittleData, TrainingError
from training.estimators import fit_lightgbm, predict
from training.evaluation import Row
from training.intervals import calibrate
from training.judging import MODEL, Fitted, Judged, judge
from training.params import Params, SplitParams
from training.plots import all_plots
from training.promotion import Verdict, for_a_person
from training.questions import SITUATIONS, Questions, questions
from training.registry import ModelVersion, Registry
from training.report import html_report
from training.robustness import best_window, earned_columns, surviving_columns, within
from training.splits import Borders, Split, borders, by_time, require

if TYPE_CHECKING:
    from feast import FeatureStore

Report = Callable[[str], None]

# Searches parameters of the trees on what may be learnt from.
Tune = Callable[[TrainingSet, Params, Report], dict[str, Any]]
Done = TypeVar("Done")

BEGINNING = datetime(2005, 1, 1, tzinfo=UTC)


class Outcome(NamedTuple):
    """What a training came to."""

    version: ModelVersion
    verdict: Verdict
    rows: list[Row]


def train_each(
    store: "FeatureStore",
    registry: Registry,
    params: Params,
    world: str,
    now: datetime,
    report: Report = lambda _: None,
    *,
    by_hand: bool = False,
    tune: Tune | None = None,
) -> list[Outcome]:
    """Train a model of each situation that has enough labels; `by_hand` as in `train`.

    Raises:
        TooLittleData: None has.
    """
    with registry.training(f"training, {world} world", _flat(params.model_dump())):
        return each_situation(
            SITUATIONS,
            lambda situation: train(
                store, registry, params, world, now, report, situation, tune=tune, by_hand=by_hand
            ),
            report,
        )


def each_situation(
    situations: Sequence[str], do: Callable[[str], Done], report: Report
) -> list[Done]:
    """Do what can be done for each situation; raises TooLittleData where it is for none."""
    done: list[Done] = []
    refused = []
    for situation in situations:
        try:
            done.append(do(situation))
        except TooLittleData as error:
            report(f"left out: {error}")
            refused.append(str(error))
    if not done:
        raise TooLittleData("; ".join(refused))
    return done


def train(
    store: "FeatureStore",
    registry: Registry,
    params: Params,
    world: str,
    now: datetime,
    report: Report = lambda _: None,
    situation: str = "published",
    *,
    by_hand: bool = False,
    tune: Tune | None = None,
) -> Outcome:
    """Train on everything a world has shown by now, with its last part held back as the test.

    What is registered is what was measured: the model that the report judges, not a refit of it.
    With `by_hand`, nothing is promoted here: a person decides.

    Raises:
        TooLittleData: There are too few labels for a part.
    """
    report(f"{situation}: reading observations")
    record = read_record(store, world, (BEGINNING, now))
    if record.snapshots.empty:
        raise TrainingError(f"no observations of the {world} world: collect or load some first")
    at = training_borders(record, params)
    report(f"{situation}: joining features to questions, point in time")
    asked = questions(store, situation, record, params)
    if tune is not None:
        report(f"{situation}: tuning")
        learnable = by_time(asked.drawn.rows, asked.drawn.labels, at).before_test
        found = tune(asked.drawn.where(learnable), params, report)
        registry.log_search(situation, found)
        params = params.tuned(situation, found)
    fitted = fit(asked, at, params, report)
    report(f"{situation}: judging it on held-out time")
    judged = judge(fitted, held_out(asked, at), asked.protocol, params.seed)
    return _registered(registry, params, world, at, fitted, judged, report, by_hand=by_hand)


def fit(asked: Questions, at: Borders, params: Params, report: Report = lambda _: None) -> Fitted:
    """Fit and calibrate on what was known before the test.

    Intervals are measured on the calibration part by a model that never saw it; the model handed
    on is fitted on that part too, with the same parameters.
    """
    everything = asked.drawn
    split = by_time(everything.rows, everything.labels, at)
    _require_enough(everything, split, params)
    columns = surviving_columns(everything, split, params.robustness.most_null_shift)
    everything = everything.reading(tuple(everything.columns[i] for i in columns))
    report(f"{everything.situation}: choosing columns and how far back to learn from")
    earned = earned_columns(everything.where(split.before_test), params)
    everything = everything.reading(tuple(everything.columns[i] for i in earned.columns))
    window = best_window(everything, split, params)
    recent = within(everything, window)
    unseen = everything.where(split.calibration)
    fit_part = everything.where(split.fit & recent)
    report(f"{everything.situation}: fitting on {len(fit_part.labels):,} labels, to calibrate")
    first = fit_lightgbm(fit_part, params)
    predicted = {metric: predict(first[metric], unseen) for metric in METRICS}
    intervals = calibrate(unseen, predicted, params.intervals.min_labels)
    fitted_on = everything.where(split.before_test & recent)
    report(f"{everything.situation}: fitting on {len(fitted_on.labels):,} labels")
    boosters = fit_lightgbm(fitted_on, params)
    known = by_time(asked.protocol.rows, asked.protocol.labels, at).before_test
    return Fitted(boosters, intervals, fitted_on, asked.protocol.where(known), window, earned)


def _require_enough(everything: TrainingSet, split: Split, params: Params) -> None:
    least = params.intervals.min_labels
    require(everything.situation, "fit", int(split.fit.sum()), least)
    require(everything.situation, "calibrate", int(split.calibration.sum()), least)
    for metric in METRICS:  # every video may hide its likes, or have its comments off
        known = int((split.fit & everything.labels[metric].notna().to_numpy()).sum())
        require(f"{everything.situation}, {metric}", "fit", known, least)


def held_out(asked: Questions, at: Borders) -> TrainingSet:
    """Give the protocol's questions after the border of the test."""
    protocol = asked.protocol
    return protocol.where(by_time(protocol.rows, protocol.labels, at).test)


def training_borders(record: Record, params: Params) -> Borders:
    """Cut a record into fitting, calibration and a test short enough to train a model to serve."""
    return _cut(record, params.split)


def protocol_borders(record: Record, params: Params, *, hold_out: bool = True) -> Borders:
    """Cut a record as protocol snap-v1 does; without a test where that is elsewhere."""
    share = params.split.test_share if hold_out else 0.0
    whole = {"test_share": share, "most_test_days": None}
    return _cut(record, params.split.model_copy(update=whole))


def _cut(record: Record, shares: SplitParams) -> Borders:
    moments: pd.Series[pd.Timestamp] = record.snapshots["event_timestamp"]
    return borders(moments.min(), moments.max(), shares)


def _registered(
    registry: Registry,
    params: Params,
    world: str,
    at: Borders,
    fitted: Fitted,
    judged: Judged,
    report: Report,
    *,
    by_hand: bool,
) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "bundle"
        facts = {"world": world, "trained_until": at.test.isoformat(), "seed": params.seed}
        stated = _flat(params.model_dump()) | _chosen(fitted)
        card = model_card(facts, fitted.fitted_on, judged.rows)
        contract = write_bundle(
            directory, fitted.boosters, fitted.intervals, fitted.fitted_on, facts, card
        )
        report(f"{contract.situation}: registering")
        title = f"Foreview, {contract.situation} videos, {world} world"
        reports = {
            "report.json": judged.rows,
            "report.html": html_report(title, [(judged, fitted.boosters)]),
        }
        plots = {f"plots/{n}.png": p for n, p in all_plots(judged, fitted.boosters).items()}
        version = registry.register(
            directory, contract, stated, flat_metrics(judged.rows), reports | plots
        )
        report(f"{contract.situation}: comparing it with the champion")
        found = verdict(registry, contract, judged, params.seed, directory, Path(scratch))
    found = for_a_person(found) if by_hand else found
    if found.promote:
        registry.promote(version, found.reason)
    else:
        registry.refuse(version, found.reason)
    return Outcome(version, found, judged.rows)


def _chosen(fitted: Fitted) -> dict[str, Any]:
    """Say what the rules chose: the window, and how every one tried did."""
    start = fitted.window.start
    tried = {f"chosen.window_{name}_rmse": rmse for name, rmse in fitted.window.tried.items()}
    tried |= {f"chosen.without_{name}_rmse": rmse for name, rmse in fitted.earned.tried.items()}
    return tried | {
        "chosen.left_out": ", ".join(fitted.earned.left_out) or "none",
        "chosen.learns_since": "all" if start is None else start.isoformat(),
        "chosen.columns": len(fitted.fitted_on.columns),
        "chosen.labels": len(fitted.fitted_on.labels),
    }


def flat_metrics(rows: list[Row]) -> dict[str, float]:
    """Give the run's metrics: the model's scores over all test rows."""
    whole = ("all", "by_horizon", "first_snapshot")
    chosen = [r for r in rows if r["model"] == MODEL and r["subset"] in whole]
    return {
        f"{r['metric']}_{_where(r)}_{score}": r[score]
        for r in chosen
        for score in ("rmse_log10", "r2", "r2_growth", "mdape", "coverage_80", "width_80_log10")
        if r[score] is not None
    }


def _where(row: Row) -> str:
    days = "" if row["horizon_days"] is None else f"{row['horizon_days']}d"
    first = "first" if row["subset"] == "first_snapshot" else ""
    return "_".join(part for part in (first, days) if part)


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else None
        flat |= inner if inner is not None else {f"{prefix}{key}": value}
    return flat
