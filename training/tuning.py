"""Searches parameters of the trees: an Optuna study that any number of workers share."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from training.dataset import TrainingSet
from training.errors import TooLittleData
from training.estimators import fit_one, predict
from training.folds import folds
from training.params import Params

Report = Callable[[str], None]

STARTUP_TRIALS = 8
MOST_LEAVES = 255


def search(
    everything: TrainingSet,
    params: Params,
    storage: "optuna.storages.BaseStorage | None",
    trials: int,
    seconds: float | None,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Search until the study holds so many finished trials, or the time is over.

    Run it again, or anywhere else with the same storage, data and parameters, and the study goes
    on: its name holds their digests. A trial that is behind after a fold is pruned.

    Args:
        everything: What may be learnt from; the test is not in it.
        params: Seed, and the trees that the search starts from.
        storage: Where the study is kept (training.study); None for memory.
        trials: How many finished trials the study shall hold.
        seconds: Time budget of this worker.
        report: Told about each trial.

    Returns:
        The best parameters of the trees, to be merged over those of the situation.

    Raises:
        TooLittleData: No fold has enough labels.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = hashlib.sha256(params.model_dump_json().encode()).hexdigest()
    study = optuna.create_study(
        study_name=f"foreview-{everything.situation}-{everything.digest()[:12]}-{asked[:12]}",
        storage=storage,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS // 2),
    )
    begun = len(study.get_trials(deepcopy=False))
    # Another seed for whoever goes on or joins in: the same would draw the same trials again.
    study.sampler = optuna.samplers.TPESampler(
        seed=params.seed + begun, n_startup_trials=STARTUP_TRIALS
    )
    if not begun:
        study.enqueue_trial(_start(params, everything.situation))
    parts = list(folds(everything, params.seed))
    if not parts:
        raise TooLittleData(f"{everything.situation}: too little data to tune on")

    def told(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        finished = _finished(study)
        found = f"best {study.best_value:.4f}" if finished else "none finished"
        report(f"{everything.situation}: trial {trial.number} {trial.state.name.lower()}, {found}")
        if finished >= trials:
            study.stop()

    if _finished(study) < trials:
        study.optimize(
            lambda trial: _objective(trial, parts, params), timeout=seconds, callbacks=[told]
        )
    return dict(study.best_params) if _finished(study) else {}


def _objective(
    trial: optuna.Trial, parts: list[tuple[TrainingSet, TrainingSet]], params: Params
) -> float:
    trees = _suggested(trial)
    errors: list[float] = []
    for step, (fit, judge) in enumerate(parts):
        booster = fit_one(fit, "views", params, trees)
        missed = predict(booster, judge) - judge.labels["views"].to_numpy()
        errors.append(float(np.sqrt(np.mean(missed**2))))
        trial.report(float(np.mean(errors)), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(errors))


def _suggested(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 15, MOST_LEAVES, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 20, 400, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 100.0, log=True),
    }


def _start(params: Params, situation: str) -> dict[str, Any]:
    """Give what is in the parameter file, within the bounds of the search."""
    trees = params.trees(situation)
    return {
        "learning_rate": min(max(trees["learning_rate"], 0.02), 0.15),
        "num_leaves": min(max(trees["num_leaves"], 15), MOST_LEAVES),
        "min_child_samples": min(max(trees.get("min_child_samples", 20), 20), 400),
        "colsample_bytree": min(max(trees.get("colsample_bytree", 1.0), 0.2), 1.0),
        "subsample": min(max(trees.get("subsample", 1.0), 0.5), 1.0),
        "reg_lambda": min(max(trees.get("reg_lambda", 1.0), 0.1), 100.0),
    }


def _finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]))
