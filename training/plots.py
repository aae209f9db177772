"""Plots of a judged model; pure: figures come back, nothing is written or shown."""

from collections.abc import Iterable
from typing import Any

import lightgbm as lgb
import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.evaluation import Row
from training.judging import MODEL, Judged

FANS = 6
SHOWN_FEATURES = 25
GREY, BLUE, ORANGE = "#8a8f98", "#2563eb", "#ea580c"


def all_plots(judged: Judged, boosters: dict[str, lgb.Booster]) -> dict[str, Figure]:
    """Draw every plot, by the name of its file."""
    plots = {
        "error_by_horizon": error_by_horizon(judged.rows),
        "calibration": calibration(judged),
        "error_by_tier": error_by_slice(judged.rows, "tier"),
        "forecast_against_truth": against_truth(judged),
        "importance": importance(boosters["views"]),
    }
    if judged.asked.situation == "published":
        plots["error_by_age"] = error_by_slice(judged.rows, "age")
        plots["fans"] = fans(judged)
    return plots


def error_by_horizon(rows: list[Row]) -> Figure:
    """RMSE of views by horizon for every model, with the model's bootstrap interval."""
    figure, axes = _figure("RMSE of log10 views, all test rows")
    axes.set_prop_cycle(rcParams["axes.prop_cycle"][1:])  # the first is as blue as the model is
    whole = "all" if any(row["subset"] == "all" for row in rows) else "by_horizon"
    views = [r for r in rows if r["metric"] == "views" and r["subset"] == whole]
    for model in dict.fromkeys(row["model"] for row in views):
        chosen = [r for r in views if r["model"] == model and r["horizon_days"] is not None]
        days = [row["horizon_days"] for row in chosen]
        color = BLUE if model == MODEL else None
        axes.plot(days, [row["rmse_log10"] for row in chosen], marker="o", label=model, color=color)
        if model == MODEL:
            low = [row["rmse_log10_low"] or row["rmse_log10"] for row in chosen]
            high = [row["rmse_log10_high"] or row["rmse_log10"] for row in chosen]
            axes.fill_between(days, low, high, alpha=0.25, color=BLUE)
    axes.set_xlabel("days ahead")
    axes.set_ylabel("decades")
    axes.legend(fontsize=8)
    return figure


def calibration(judged: Judged) -> Figure:
    """Share of truths below each quantile of views, by horizon; perfect on the dotted lines."""
    figure, axes = _figure("Calibration of views: share of truths below each quantile")
    truth = judged.asked.truth("views")
    days = np.nan_to_num(judged.asked.labels["horizon_days"].to_numpy(np.float64), nan=0.0)
    interval = judged.model.interval
    assert interval is not None
    low, high = interval["views"].T
    known = ~np.isnan(truth) & ~np.isnan(low)
    horizons = [day for day in np.unique(days[known]) if (known & (days == day)).sum() >= 100]
    quantiles = ((0.1, low), (0.5, judged.model.median["views"]), (0.9, high))
    for (level, quantile), color in zip(quantiles, (GREY, BLUE, ORANGE), strict=True):
        share = [np.mean((truth <= quantile)[known & (days == day)]) for day in horizons]
        axes.plot(horizons, share, marker="o", color=color, label=f"p{level * 100:.0f}")
        axes.axhline(level, color=color, linestyle=":", linewidth=1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("days ahead (0: at first sight)")
    axes.legend(fontsize=8)
    return figure


def error_by_slice(rows: list[Row], kind: str) -> Figure:
    """RMSE of views by horizon for each value of a slice."""
    figure, axes = _figure(f"RMSE of log10 views by {kind}")
    chosen = [
        row
        for row in rows
        if row["metric"] == "views"
        and row["model"] == MODEL
        and row["subset"].startswith(f"{kind}:")
        and row["n"] >= 100
    ]
    for subset in dict.fromkeys(row["subset"] for row in chosen):
        of = [row for row in chosen if row["subset"] == subset]
        days = [row["horizon_days"] or 0 for row in of]
        label = f"{subset.partition(':')[2]} ({sum(row['n'] for row in of):,})"
        axes.plot(days, [row["rmse_log10"] for row in of], marker="o", label=label)
    axes.set_xlabel("days ahead (0: at first sight)")
    axes.set_ylabel("decades")
    if chosen:
        axes.legend(fontsize=8)
    return figure


def against_truth(judged: Judged) -> Figure:
    """Forecast and true views, a point per test row, both in decades."""
    figure, axes = _figure("Views: forecast against truth")
    truth, median = judged.asked.truth("views"), judged.model.median["views"]
    step = max(len(truth) // 3_000, 1)
    axes.scatter(median[::step], truth[::step], s=4, alpha=0.3, color=BLUE)
    ends = [float(np.nanmin(truth)), float(np.nanmax(truth))] if len(truth) else [0.0, 1.0]
    axes.plot(ends, ends, color=GREY, linewidth=1)
    axes.set_xlabel("forecast, log10 views")
    axes.set_ylabel("truth, log10 views")
    return figure


def fans(judged: Judged) -> Figure:
    """Intervals and truths of the videos with most horizons, one panel each."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    figure.suptitle("80 % intervals and what then happened", fontsize=10)
    panels = figure.subplots(2, FANS // 2).flat
    for axes, row in zip(panels, _longest(judged), strict=False):
        _fan(axes, judged, np.flatnonzero(judged.asked.labels["row"].to_numpy() == row))
    return figure


def importance(booster: lgb.Booster) -> Figure:
    """Total gain of the features that views lean on most."""
    figure, axes = _figure("What forecasts of views lean on (gain)", height=6)
    gain = booster.feature_importance("gain")
    order = np.argsort(gain)[-SHOWN_FEATURES:]
    axes.barh([booster.feature_name()[i] for i in order], gain[order] / gain.sum(), color=BLUE)
    axes.tick_params(axis="y", labelsize=7)
    return figure


def _longest(judged: Judged) -> Iterable[int]:
    """Give the questions with most horizons, of each video one."""
    known = judged.asked.labels[judged.asked.labels["views"].notna()]
    counts = known.groupby("row").size().sort_values(ascending=False, kind="stable")
    videos = judged.asked.rows["video_id"].iloc[counts.index]
    return [int(row) for row in counts.index[~videos.duplicated()][:FANS]]


def _fan(axes: Any, judged: Judged, labels: NDArray[np.int64]) -> None:
    asked, interval = judged.asked, judged.model.interval
    assert interval is not None
    order = labels[np.argsort(asked.labels["horizon_days"].to_numpy()[labels])]
    row = int(asked.labels["row"].iloc[order[0]])
    days = [0.0, *asked.labels["horizon_days"].to_numpy()[order]]
    present = float(asked.present["views"][row])
    low, high = interval["views"][order].T
    axes.fill_between(days, [present, *low], [present, *high], alpha=0.25, color=BLUE)
    axes.plot(days, [present, *judged.model.median["views"][order]], color=BLUE)
    axes.plot(days[1:], asked.truth("views")[order], "o", color=ORANGE, markersize=4)
    axes.set_title(str(asked.rows["video_id"].iloc[row]), fontsize=8)
    axes.set_xlabel("days ahead", fontsize=8)


def _figure(title: str, height: float = 4) -> tuple[Figure, Any]:
    # Not pyplot: its figures are global and stay in memory.
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes
