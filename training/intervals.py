"""Calibrated quantiles: errors on held-out time, by horizon, tier and age; pure.

Split conformal prediction (Vovk et al.; Lei et al., JASA 2018) on the score of
`feature_repo.targets.growth_score`; of a draft, on the plain error in decades. Each table is
non-decreasing in the horizon and its columns are in order, so that a forecast curve neither falls
nor crosses.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feature_repo.bundle import Intervals, OffsetTable
from feature_repo.segments import AGE_BANDS
from feature_repo.targets import MAX_HORIZON_DAYS, METRICS, growth_score
from training.dataset import FIRST_SIGHT, TrainingSet
from training.errors import TooLittleData

FloatArray = NDArray[np.float64]

LEVELS = (0.1, 0.5, 0.9)
EVERY_GROUP = "all"

# A group with enough labels in all has a table; each of its horizons may have a tenth of them.
GROUP_HORIZONS = 10
# What the tables of all groups weigh in a group's own, by the labels that make it a group.
WIDER_WEIGHT = 0.3
# Growth is skewed: trees answer its mean, the middle error makes a median of it. Later, and by a
# model that has learnt from these very errors, half of the way there errs least, squared or not.
MIDDLE_SHARE = 0.5


def calibrate(
    held_out: TrainingSet, predicted: dict[str, FloatArray], min_labels: int
) -> Intervals:
    """Measure the errors of predictions on held-out time.

    Args:
        held_out: Labels that no model was fitted on.
        predicted: Log growth per metric, one per label.
        min_labels: A horizon needs so many labels to be answered, a group to be told apart.

    Raises:
        TooLittleData: A metric has no horizon with so many labels.
    """
    days = np.rint(held_out.labels["horizon_days"].to_numpy(np.float64))
    groups = held_out.groups()
    tables = {}
    for metric in METRICS:
        growth = held_out.labels[metric].to_numpy()
        known = ~np.isnan(growth)
        score = _score(held_out.situation, growth[known], predicted[metric][known])
        tables[metric] = _by_group(score, days[known], groups[known], min_labels)
        if EVERY_GROUP not in tables[metric]:
            raise TooLittleData(
                f"{held_out.situation}, {metric}: no horizon has {min_labels} labels on held-out "
                "time; collect for longer, or lower intervals.min_labels"
            )
    return Intervals(tables=tables)


def _score(situation: str, growth: FloatArray, predicted: FloatArray) -> FloatArray:
    if situation == "draft":
        return growth - predicted
    return growth_score(growth, predicted)


def _by_group(
    score: FloatArray, days: FloatArray, groups: NDArray[np.str_], min_labels: int
) -> dict[str, OffsetTable]:
    """Make a table for all rows, one for each age band, one for each group.

    What is judged at first sight has tables of its own, under the horizon of one day.
    """
    at_sight = np.isnan(days)
    days = np.where(at_sight, 1.0, days)
    bands = {f"{EVERY_GROUP}@{band}": np.char.endswith(groups, f"@{band}") for band in AGE_BANDS}
    bands[f"{EVERY_GROUP}@{FIRST_SIGHT}"] = at_sight
    chosen = bands | {str(group): groups == group for group in np.unique(groups)}
    made = {EVERY_GROUP: _table(score[~at_sight], days[~at_sight], min_labels)}
    for name, of in chosen.items():
        if of.sum() >= min_labels:
            made[name] = _table(score[of], days[of], min_labels // GROUP_HORIZONS)
    tables = {name: table for name, table in made.items() if table is not None}
    weight = WIDER_WEIGHT * min_labels
    return {name: _drawn_to_wider(name, tables, weight) for name in tables}


def _drawn_to_wider(name: str, tables: dict[str, OffsetTable], weight: float) -> OffsetTable:
    """Draw a group's quantiles towards those of all groups, which weigh as so many labels.

    Quantiles of a few hundred errors move by chance; drawn too much, large tiers would get the
    intervals of small ones. A mean of tables that neither fall nor cross does neither.
    """
    group, at, band = name.partition("@")
    wider = tables.get(f"{EVERY_GROUP}{at}{band}") or tables.get(EVERY_GROUP)
    if group == EVERY_GROUP or wider is None:
        return tables[name]
    table = tables[name]
    share = sum(table.n) / (sum(table.n) + weight)
    own = np.column_stack([table.p10, table.p50, table.p90])
    mean = share * own + (1.0 - share) * wider.at(table.horizons)
    p10, p50, p90 = (tuple(map(float, column)) for column in mean.T)
    return table.model_copy(update={"p10": p10, "p50": p50, "p90": p90})


def _table(score: FloatArray, days: FloatArray, least: int) -> OffsetTable | None:
    """Give the offsets of every horizon with so many labels; None where there is none.

    Errors of neighbouring horizons count too, those within a third: there are few far ahead, and
    the fifth day errs as the sixth does.
    """
    n = [int((days == h).sum()) for h in range(MAX_HORIZON_DAYS + 1)]
    horizons = [h for h in range(1, MAX_HORIZON_DAYS + 1) if n[h] >= max(least, 2)]
    if not horizons:
        return None
    scores = [score[(3 * h <= 4 * days) & (3 * days <= 4 * h)] for h in horizons]
    low, middle, high = isotonic_quantiles(scores).T
    middle = np.clip(MIDDLE_SHARE * middle, low, high)  # neither falls nor crosses, as they do not
    p10, p50, p90 = (tuple(map(float, column)) for column in (low, middle, high))
    return OffsetTable(
        horizons=tuple(horizons), p10=p10, p50=p50, p90=p90, n=tuple(n[h] for h in horizons)
    )


def isotonic_quantiles(scores: Sequence[FloatArray]) -> FloatArray:
    """Give quantiles that do not fall from one sample to the next, by the min-max formula.

    Each is a quantile of neighbouring samples put together, so that coverage is kept where samples
    are pooled, and a higher level is never below a lower one.

    Source: Barlow, Bartholomew, Bremner and Brunk, Statistical inference under order
    restrictions, 1972, for any quantile in the place of the mean.

    Args:
        scores: Samples in the order in which quantiles must not fall.

    Returns:
        Shape (samples, levels).
    """
    count = len(scores)
    pooled = np.full((count, count, len(LEVELS)), np.nan)
    for first in range(count):
        for last in range(first, count):
            pooled[first, last] = _conformal(np.concatenate(scores[first : last + 1]))
    return np.array(
        [
            np.max([pooled[first, at:].min(axis=0) for first in range(at + 1)], axis=0)
            for at in range(count)
        ]
    )


def _conformal(score: FloatArray) -> FloatArray:
    """Give the levels' quantiles, the outer ones with the finite-sample correction."""
    n = len(score)
    low, middle, high = LEVELS
    low, high = max((n + 1) * low - 1, 0) / (n - 1), min((n + 1) * high - 1, n - 1) / (n - 1)
    return np.quantile(score, [low, middle, high])
