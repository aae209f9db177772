"""What forecasts lose without some features: fitted anew without them, on the same questions."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.families import FAMILIES, family_of
from foreview.feature_report.trials import Trial
from training.dataset import TrainingSet, names
from training.estimators import fit_one, predict
from training.params import Params
from training.scores import bootstrap

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
Report = Callable[[str], None]

# A tree's luck with its columns is as large as what a small family is worth: an average has less.
SEEDS = 2
EVERYTHING = "all"


class Fit(NamedTuple):
    """A model without some features, and its errors in decades, one per label asked."""

    without: str
    boosters: list[lgb.Booster]
    error: FloatArray


def ablation(
    trial: Trial, whole: Fit, params: Params, report: Report = lambda _: None
) -> list[Row]:
    """Give the RMSE of views with everything, and without each family in turn.

    Args:
        trial: What is learnt from and asked.
        whole: The fit with everything.
        params: The parameters of training.
        report: Told each family.

    Returns:
        A row per family and horizon (`horizon_days` None: all together): `without`, `n`,
        `rmse_log10`, and against everything `change` (a share; above 0: forecasts get worse) with
        its 95 % bootstrap interval over channels, `change_low` and `change_high`.
    """
    present = {family_of(name) for name in names(trial.fitted_on.columns)}
    rows = list(_rows(trial, whole, whole, params.seed))
    for family in FAMILIES:
        if family not in present:
            continue
        report(f"{trial.name}: without {family}")
        left = [n for n in names(trial.fitted_on.columns) if family_of(n) == family]
        rows += _rows(trial, fitted_without(trial, left, params, family), whole, params.seed)
    return rows


def fitted_without(
    trial: Trial, left_out: Collection[str], params: Params, name: str = EVERYTHING
) -> Fit:
    """Fit without some features, by the smaller trees that training compares windows with."""
    columns = tuple(c for c in trial.fitted_on.columns if c.name not in left_out)
    fitted_on = trial.fitted_on.reading(columns)
    boosters = [
        fit_one(fitted_on, "views", seeded, params.robustness.trees) for seeded in _seeds(params)
    ]
    predicted = np.mean([predict(booster, trial.asked) for booster in boosters], axis=0)
    return Fit(name, boosters, predicted - trial.asked.labels["views"].to_numpy())


def _seeds(params: Params) -> Iterator[Params]:
    for number in range(SEEDS):
        yield params.model_copy(update={"seed": params.seed + number})


def change(
    asked: TrainingSet, error: FloatArray, whole: FloatArray, seed: int
) -> tuple[float, float, float]:
    """Give by what share an RMSE is larger than another's, and its interval over channels."""
    drawn = bootstrap(asked.rows["channel_id"].to_numpy()[asked.labels["row"].to_numpy()], seed)
    sums = [np.bincount(drawn.channel, e**2, drawn.weights.shape[1]) for e in (error, whole)]
    without, whole_sums = (drawn.weights @ one for one in sums)
    some = whole_sums > 0.0  # of few channels, a draw may hold none
    low, high = np.quantile(np.sqrt(without[some] / whole_sums[some]) - 1.0, [0.025, 0.975])
    return float(np.sqrt(sums[0].sum() / sums[1].sum()) - 1.0), float(low), float(high)


def _rows(trial: Trial, fit: Fit, whole: Fit, seed: int) -> Iterator[Row]:
    days = trial.asked.labels["horizon_days"].to_numpy(np.float64)
    horizons = [None, *np.unique(days[~np.isnan(days)])]
    for horizon in horizons:
        chosen = np.full(len(days), True) if horizon is None else days == horizon
        part = trial.asked.where(chosen)
        told = change(part, fit.error[chosen], whole.error[chosen], seed)
        yield {
            "situation": trial.asked.situation,
            "trial": trial.name,
            "without": fit.without,
            "horizon_days": None if horizon is None else int(horizon),
            "n": int(chosen.sum()),
            "rmse_log10": float(np.sqrt(np.mean(fit.error[chosen] ** 2))),
            "change": told[0],
            "change_low": told[1],
            "change_high": told[2],
        }
