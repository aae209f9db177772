"""What a plain LightGBM comes to: its library's defaults on obvious columns and facts of the lists.

A yardstick, not a product: it reads how high and on how many lists a video stood, which are facts
about lists and not about a video, and leaves out extrapolations, constraints and calibration.
"""

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.targets import METRICS
from training.baselines import szabo_huberman_by_age
from training.dataset import TrainingSet, names
from training.evaluation import Row, Scored, without_intervals
from training.judging import MODEL
from training.robustness import GROUPS

FloatArray = NDArray[np.float64]

PLAIN = "plain_lightgbm"
LIST_FACTS = ("best_position", "lists")
# Worked out for our own model; who fits a plain one has no such columns.
OWN_COLUMNS = frozenset((*GROUPS["outlook"], *GROUPS["channel_growth"]))
DEFAULTS = {"verbosity": -1, "deterministic": True, "force_col_wise": True}
LEAST_LABELS = 100


def plain_lightgbm(
    fitted_on: TrainingSet, asked: TrainingSet, list_facts: pd.DataFrame | None, seed: int
) -> Scored:
    """Fit a model per metric and horizon on the protocol's questions, and let it answer others.

    Args:
        fitted_on: The protocol's questions before the test.
        asked: The test set.
        list_facts: LIST_FACTS by (video_id, day) where the record is one of lists.
        seed: Of the trees.

    Returns:
        Its forecasts; growth at the same age where a horizon has too few labels to fit on.
    """
    given, wanted = _matrix(fitted_on, list_facts), _matrix(asked, list_facts)
    days, asked_days = (part.labels["horizon_days"].to_numpy() for part in (fitted_on, asked))
    growth = {metric: szabo_huberman_by_age(fitted_on, metric)(asked) for metric in METRICS}
    row, asked_row = (part.labels["row"].to_numpy() for part in (fitted_on, asked))
    for metric in METRICS:
        truth = fitted_on.labels[metric].to_numpy()
        for day in np.unique(asked_days):
            learnt = (days == day) & ~np.isnan(truth)
            if learnt.sum() < LEAST_LABELS:
                continue
            data = lgb.Dataset(given[row[learnt]], truth[learnt], params={"verbosity": -1})
            booster = lgb.train(DEFAULTS | {"seed": seed}, data)
            chosen = asked_days == day
            growth[metric][chosen] = booster.predict(wanted[asked_row[chosen]])
    return without_intervals(asked, growth, PLAIN)


def beside_plain(rows: list[Row]) -> str:
    """Say the model's RMSE of views by plain LightGBM's, in a line for people; empty without it."""
    told = []
    for subset in ("all", "first_snapshot"):
        found = [r for r in rows if r["metric"] == "views" and r["situation"] == "published"]
        plain, ours = (
            {r["horizon_days"]: r for r in found if r["model"] == m and r["subset"] == subset}
            for m in (PLAIN, MODEL)
        )
        told += [
            f"{subset} +{day} d {ours[day]['rmse_log10'] / row['rmse_log10']:.3f}"
            for day, row in plain.items()
            if row["n"] >= LEAST_LABELS
        ]
    return f"RMSE of views by plain LightGBM's: {', '.join(told)}" if told else ""


def _matrix(questions: TrainingSet, list_facts: pd.DataFrame | None) -> NDArray[np.float32]:
    columns = [i for i, name in enumerate(names(questions.columns)) if name not in OWN_COLUMNS]
    features = questions.features[:, columns]
    if list_facts is None:
        return features
    day = pd.to_datetime(questions.rows["event_timestamp"], utc=True).dt.floor("D")
    keys = pd.MultiIndex.from_arrays([questions.rows["video_id"], day])
    facts = list_facts.reindex(keys)[list(LIST_FACTS)].to_numpy(np.float32)
    return np.hstack([features, facts])
