"""Plots of the report on features; pure: figures come back, nothing is written or shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from foreview.feature_report.ablation import EVERYTHING

Row = dict[str, Any]

SHOWN = 25
BLUE, ORANGE = "#2563eb", "#ea580c"
# The customary reading of PSI: from here on a distribution is another one.
PSI_MOVED = 0.25


def losses(rows: Sequence[Row]) -> Figure:
    """What leaving out each family costs, a bar per trial with its bootstrap interval."""
    chosen = [r for r in rows if r["horizon_days"] is None and r["without"] != EVERYTHING]
    families = list(dict.fromkeys(row["without"] for row in chosen))[::-1]
    trials = list(dict.fromkeys(row["trial"] for row in chosen))
    figure, axes = _figure("RMSE of views without a family, against everything", 3.5)
    for number, (trial, color) in enumerate(zip(trials, (BLUE, ORANGE), strict=False)):
        of = {row["without"]: row for row in chosen if row["trial"] == trial}
        at = np.arange(len(families)) + 0.4 * (0.5 - number)
        middle = np.array([of[f]["change"] for f in families])
        bounds = np.array([[of[f][k] for f in families] for k in ("change_low", "change_high")])
        axes.barh(
            at, middle, 0.35, color=color, label=trial, xerr=np.abs(bounds - middle), capsize=2
        )
    axes.set_yticks(np.arange(len(families)), families)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.xaxis.set_major_formatter("{x:+.0%}")
    axes.legend(fontsize=8)
    return figure


def shuffling(rows: Sequence[Row]) -> Figure:
    """What shuffling the most important features costs, a bar per trial."""
    trials = list(dict.fromkeys(row["trial"] for row in rows))
    first = [row["feature"] for row in rows if row["trial"] == trials[0]][:SHOWN][::-1]
    figure, axes = _figure("RMSE of views when a feature is shuffled", 6)
    for number, (trial, color) in enumerate(zip(trials, (BLUE, ORANGE), strict=False)):
        of = {row["feature"]: row["shuffled"] for row in rows if row["trial"] == trial}
        at = np.arange(len(first)) + 0.4 * (0.5 - number)
        axes.barh(at, [of.get(name, 0.0) for name in first], 0.35, color=color, label=trial)
    axes.set_yticks(np.arange(len(first)), first, fontsize=7)
    axes.xaxis.set_major_formatter("{x:+.0%}")
    axes.legend(fontsize=8)
    return figure


def heat(rows: Sequence[Row], kind: str, value: str, title: str, most: float) -> Figure:
    """A value of the features that move most, by month or country."""
    table = pd.DataFrame(rows).pivot_table(index="feature", columns=kind, values=value)
    moving = (table.max(axis=1) - (table.min(axis=1) if value == "null_share" else 0.0)).nlargest(
        SHOWN
    )
    table = table.loc[moving.index]
    figure, axes = _figure(title, 6)
    image = axes.imshow(table.to_numpy(), aspect="auto", cmap="magma_r", vmin=0.0, vmax=most)
    axes.set_xticks(np.arange(len(table.columns)), table.columns, rotation=60, fontsize=7)
    axes.set_yticks(np.arange(len(table)), table.index, fontsize=7)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, fraction=0.03)
    return figure


def alike(correlation: "pd.DataFrame", clusters: Sequence[Row]) -> Figure:
    """Absolute rank correlations of the features that are in a cluster, cluster by cluster."""
    order = [name for cluster in clusters for name in cluster["features"]]
    figure, axes = _figure("Rank correlation of features that say the same", 6)
    strength = np.abs(correlation.loc[order, order].to_numpy())
    axes.imshow(strength, cmap="magma_r", vmin=0.0, vmax=1.0)
    axes.set_yticks(np.arange(len(order)), order, fontsize=6)
    axes.set_xticks([])
    axes.grid(visible=False)
    return figure


def _figure(title: str, height: float) -> tuple[Figure, Any]:
    # Not pyplot: its figures are global and stay in memory.
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes
