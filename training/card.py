"""The model card: what a model is for, what it was fitted on, how good it was."""

from collections.abc import Mapping
from typing import Any

from training.dataset import SERVICES, TrainingSet
from training.evaluation import Row

TARGET = {"published": "log growth by the scale of age", "draft": "the log count"}
NOT_FOR = {"published": "videos nobody has observed yet", "draft": "videos that are live"}
HEADLINES = ("all", "by_horizon", "first_snapshot")
COVERAGE, MOST_OFF, LEAST_IN_GROUP = 0.8, 0.03, 500


def model_card(facts: Mapping[str, Any], fitted_on: TrainingSet, rows: list[Row]) -> str:
    """Write the card in Markdown; every number is from this training."""
    situation = fitted_on.situation
    lines = [
        f"# Foreview, {situation} videos, {facts['world']} world",
        "",
        "Forecasts the cumulative views, likes and comments of a YouTube video some days ahead,",
        f"each with a calibrated 80 % interval. Gradient-boosted trees on {TARGET[situation]}, one",
        "per metric, monotone in the horizon.",
        "",
        f"- Features: `{SERVICES[situation]}`, {len(fitted_on.columns)} columns",
        f"- Fitted on {len(fitted_on.labels):,} labels observed before {facts['trained_until']}",
        f"- Dataset digest `{fitted_on.digest()}`, seed {facts['seed']}",
        "",
        f"Not for: {NOT_FOR[situation]}, or worlds other than its own. Videos on charts are",
        "winners: errors on others are not measured by such a record.",
        "",
        "## On held-out time",
        "",
        *score_table([row for row in rows if row["subset"] in HEADLINES]),
        "",
    ]
    return "\n".join(lines)


def coverage_by_tier(rows: list[Row]) -> str:
    """Say in which tiers and horizons 80 % intervals of views are off, in a line for people.

    Those with LEAST_IN_GROUP labels count; beside each is its interval over drawn channels.
    """
    groups = [
        row
        for row in rows
        if (row["situation"], row["metric"]) == ("published", "views")
        and row["subset"].startswith("tier:")
        and row["coverage_80"] is not None
        and row["n"] >= LEAST_IN_GROUP
    ]
    off = [
        f"{row['subset'].removeprefix('tier:')} +{row['horizon_days']} d {row['coverage_80']:.3f} "
        f"[{_cell(row['coverage_80_low'])}, {_cell(row['coverage_80_high'])}]"
        for row in groups
        if abs(row["coverage_80"] - COVERAGE) > MOST_OFF
    ]
    return (
        f"80 % intervals of views hold within 3 points in {len(groups) - len(off)} of "
        f"{len(groups)} groups by tier and horizon; off: {', '.join(off) or 'none'}"
    )


def score_table(rows: list[Row]) -> list[str]:
    """Write scores as a Markdown table."""
    head = [
        "subset", "metric", "days", "model", "n", "RMSE log10", "R2", "R2 growth", "covered",
        "width",
    ]  # fmt: skip
    keys = [
        "subset", "metric", "horizon_days", "model", "n", "rmse_log10", "r2", "r2_growth",
        "coverage_80", "width_80_log10",
    ]  # fmt: skip
    body = [f"| {' | '.join(_cell(row[key]) for key in keys)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *body]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
