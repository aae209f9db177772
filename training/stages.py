"""Training as stages between files: from questions to bundles, from bundles to reports."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import pandas as pd

from feature_repo import bundle
from feature_repo.targets import METRICS
from training.bundles import write_bundle
from training.card import model_card
from training.files import read_questions
from training.judging import Fitted, Judged, judge
from training.params import Params
from training.pipeline import each_situation, fit, flat_metrics, held_out
from training.plots import all_plots
from training.report import html_report
from training.robustness import Earned, Window, within
from training.splits import by_time

CHOSEN_FILE = "chosen.json"


def write_models(
    asked: Path, world: str, out: Path, params: Params, report: Callable[[str], None]
) -> dict[str, Any]:
    """Fit each situation that has enough labels and write its bundle.

    Returns:
        By situation: the bundle's digest, its labels and columns.
    """

    def written(situation: str) -> tuple[str, dict[str, Any]]:
        questions, at = read_questions(asked / situation)
        fitted = fit(questions, at, params, report)
        facts = {"world": world, "trained_until": at.test.isoformat(), "seed": params.seed}
        made = out / situation
        card = model_card(facts, fitted.fitted_on, [])
        contract = write_bundle(
            made, fitted.boosters, fitted.intervals, fitted.fitted_on, facts, card
        )
        _write_chosen(made / CHOSEN_FILE, fitted)
        return situation, {
            "digest": bundle.bundle_digest(contract),
            "labels": len(fitted.fitted_on.labels),
            "columns": len(contract.columns),
        }

    names = [directory.name for directory in _situations(asked)]
    return dict(each_situation(names, written, report))


def _write_chosen(file: Path, fitted: Fitted) -> None:
    start = fitted.window.start
    chosen = {
        "learns_since": None if start is None else start.isoformat(),
        "windows_tried": fitted.window.tried,
        "groups_left_out": list(fitted.earned.left_out),
        "groups_tried": fitted.earned.tried,
    }
    file.write_text(json.dumps(chosen, indent=1))


def write_reports(asked: Path, models: Path, out: Path, seed: int) -> dict[str, Any]:
    """Judge each bundle on held-out time; writes scores, plots and one page for people.

    Returns:
        The model's headline scores, by situation.
    """
    (out / "plots").mkdir(parents=True)
    parts, told = [], {}
    for directory in _situations(models):
        judged, boosters = _judged(asked / directory.name, directory, seed)
        for name, figure in all_plots(judged, boosters).items():
            figure.savefig(out / "plots" / f"{directory.name}_{name}.png")
        parts.append((judged, boosters))
        told[directory.name] = flat_metrics(judged.rows)
    rows = [row for judged, _ in parts for row in judged.rows]
    (out / "scores.json").write_text(json.dumps({"rows": rows}, indent=1))
    (out / "report.html").write_text(html_report("Protocol snap-v1", parts))
    shown = ["situation", "horizon_days", "model", "n", "rmse_log10"]
    whole = [r for r in rows if r["metric"] == "views" and r["subset"] in ("all", "by_horizon")]
    pd.DataFrame(whole, columns=shown).to_csv(out / "error_by_horizon.csv", index=False)
    return told


def _judged(asked: Path, model: Path, seed: int) -> tuple[Judged, dict[str, lgb.Booster]]:
    questions, at = read_questions(asked)
    contract, chosen = bundle.read_contract(model), json.loads((model / CHOSEN_FILE).read_text())
    native = model / bundle.NATIVE_DIRECTORY
    boosters = {m: lgb.Booster(model_file=str(native / f"{m}.txt")) for m in METRICS}
    since = chosen["learns_since"]
    window = Window(None if since is None else pd.Timestamp(since), chosen["windows_tried"])
    drawn = questions.drawn.reading(contract.columns)
    used = by_time(drawn.rows, drawn.labels, at).before_test & within(drawn, window)
    known = by_time(questions.protocol.rows, questions.protocol.labels, at).before_test
    fitted = Fitted(
        boosters,
        bundle.read_intervals(model),
        drawn.where(used),
        questions.protocol.where(known),
        window,
        Earned(list(range(len(drawn.columns))), tuple(chosen["groups_left_out"]), {}),
    )
    return judge(fitted, held_out(questions, at), questions.protocol, seed), boosters


def _situations(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir())
