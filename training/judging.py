"""A fitted model beside everything it competes with, on the same questions."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from feature_repo.bundle import Intervals
from feature_repo.targets import METRICS
from training.baselines import BASELINES
from training.dataset import TrainingSet
from training.draft_baselines import DRAFT_BASELINES, ChannelHistory
from training.estimators import Boosters, predict
from training.evaluation import Row, Scored, evaluate, with_intervals, without_intervals
from training.params import Params
from training.robustness import Earned, Window
from training.slices import subsets

MODEL = "lightgbm"
LEFT_OUT = "left_out_countries"
ENSEMBLE = "ensemble"


class Fitted(NamedTuple):
    """A fitted, calibrated model and what it was fitted on."""

    boosters: Boosters
    intervals: Intervals
    fitted_on: TrainingSet
    protocol: TrainingSet  # the protocol's questions of the same time: what baselines learn from
    window: Window
    earned: Earned


class Judged(NamedTuple):
    """How a model did.

    Attributes:
        asked: The test set.
        model: The model's own forecasts.
        baselines: Those it is compared with.
        rows: The scores of all.
    """

    asked: TrainingSet
    model: Scored
    baselines: list[Scored]
    rows: list[Row]


def judge(
    fitted: Fitted,
    asked: TrainingSet,
    record: TrainingSet,
    seed: int,
    regions: "pd.Series[str] | None" = None,
    others: Sequence[Scored] = (),
    left_out: Collection[str] = (),
) -> Judged:
    """Score the model and every baseline on the same questions.

    Args:
        fitted: The model.
        asked: The test set.
        record: The protocol's questions of the whole record: what was seen earlier of a channel.
        seed: Of the bootstrap.
        regions: The region of each video by its id, where the record names one.
        others: Forecasts of other models that compete.
        left_out: Videos that training never saw though it could have: a subset of their own.
    """
    growth = {metric: predict(fitted.boosters[metric], asked) for metric in METRICS}
    model = with_intervals(asked, growth, fitted.intervals, MODEL)
    baselines = _baselines(fitted, asked, record)
    marks = subsets(asked, fitted.fitted_on, regions)
    if left_out:
        every = marks.get("all", marks["first_snapshot"])
        marks[LEFT_OUT] = every & asked.of(left_out)
    return Judged(
        asked, model, baselines, evaluate(asked, [model, *others, *baselines], marks, seed)
    )


def competing(
    families: Sequence[str], fitted: Fitted, asked: TrainingSet, params: Params
) -> list[Scored]:
    """Fit other families on the same labels and let them answer the same questions.

    Where there are any, the mean of all with the model itself competes too, as `ensemble`.
    """
    from training.families import PUBLISHED_ONLY, fit_family

    given = asked.reading(fitted.fitted_on.columns)
    growths = {}
    for name in families:
        if asked.situation == "draft" and name in PUBLISHED_ONLY:
            continue
        predictors = fit_family(name, fitted.fitted_on, params)
        growths[name] = {metric: predictors[metric](given) for metric in METRICS}
    if growths:
        own = {metric: predict(fitted.boosters[metric], asked) for metric in METRICS}
        every = [own, *growths.values()]
        growths[ENSEMBLE] = {m: np.mean([one[m] for one in every], axis=0) for m in METRICS}
    return [
        without_intervals(asked, growth, name, is_baseline=False)
        for name, growth in growths.items()
    ]


def _baselines(fitted: Fitted, asked: TrainingSet, record: TrainingSet) -> list[Scored]:
    if asked.situation == "draft":
        histories = {metric: ChannelHistory(record, metric) for metric in METRICS}
        return [
            without_intervals(
                asked, {m: make(fitted.protocol, histories[m], m)(asked) for m in METRICS}, name
            )
            for name, make in DRAFT_BASELINES.items()
        ]
    return [
        without_intervals(asked, {m: make(fitted.protocol, m)(asked) for m in METRICS}, name)
        for name, make in BASELINES.items()
    ]


def merged(one: TrainingSet, other: TrainingSet) -> TrainingSet:
    """Put the questions and labels of two sets with the same columns together."""
    shifted = other.labels.assign(row=other.labels["row"] + len(one.rows))
    return one._replace(
        features=np.vstack([one.features, other.features]),
        rows=pd.concat([one.rows, other.rows], ignore_index=True),
        labels=pd.concat([one.labels, shifted], ignore_index=True),
        present={m: np.concatenate([one.present[m], other.present[m]]) for m in one.present},
    )
