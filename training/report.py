"""A report of the protocol that people read: one HTML file, nothing loaded from elsewhere."""

from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

import lightgbm as lgb
from matplotlib.figure import Figure

from training.card import HEADLINES
from training.evaluation import Row
from training.judging import Judged
from training.plots import all_plots

CENSORED = (
    "Growth after a day on a list, of videos still listed at the end of the horizon and of those "
    "that had left, followed by a panel; and the error (forecast less truth, decades) of the mean "
    "growth at the same age, learnt from listed videos alone."
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { display: block; overflow-x: auto; border-collapse: collapse; margin: 1rem 0;
    font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child, th:nth-child(3), td:nth-child(3) { text-align: left }
tr.model td { font-weight: 600 } svg { max-width: 100%; height: auto } details { margin: 1rem 0 }
"""
COLUMNS = {
    "subset": "subset", "horizon_days": "days", "model": "model", "n": "n",
    "rmse_log10": "RMSE log10", "mae_log10": "MAE", "r2": "R²", "r2_growth": "R² growth",
    "spearman": "Spearman", "spearman_within_channel": "within channel",
    "channels_ranked": "channels", "mdape": "median APE",
    "mrse": "MRSE", "coverage_80": "covered", "width_80_log10": "width",
}  # fmt: skip
NOTE = (
    "Errors are in decades of log10(1 + count); the interval beside a number is a 95 % bootstrap "
    "over channels. Ranks within a channel are those of channels with five videos or more. "
    "Recorded lists hold winners only: on other videos nothing was measured. Labels "
    "are missing where a video left the record."
)


def html_report(
    title: str,
    parts: Sequence[tuple[Judged, dict[str, lgb.Booster]]],
    censored: Sequence[dict[str, Any]] = (),
) -> str:
    """Write the report of some judged models, each with its boosters.

    Args:
        title: Of the page.
        parts: The models.
        censored: What training.censoring found, where there was a panel.
    """
    body = "".join(_part(judged, boosters) for judged, boosters in parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{NOTE}</p>{body}{_censoring(censored)}</html>"
    )


def _censoring(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_plain(value)}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return (
        f"<h2>Videos that left the lists</h2><p>{CENSORED}</p><table><tr>{head}</tr>{body}</table>"
    )


def _plain(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"


def _part(judged: Judged, boosters: dict[str, lgb.Booster]) -> str:
    metrics = dict.fromkeys(row["metric"] for row in judged.rows)
    tables = "".join(_tables(judged.rows, metric) for metric in metrics)
    plots = all_plots(judged, boosters).values() if judged.rows else ()
    return f"<h2>{escape(judged.asked.situation)}</h2>{''.join(map(_svg, plots))}{tables}"


def _tables(rows: list[Row], metric: str) -> str:
    of = [row for row in rows if row["metric"] == metric]
    headline = [r for r in of if r["subset"] in (*HEADLINES, "known_channel", "new_channel")]
    rest = [row for row in of if row not in headline]
    return (
        f"<h3>{escape(metric)}</h3>{_table(headline)}"
        f"<details><summary>Slices</summary>{_table(rest)}</details>"
    )


def _table(rows: list[Row]) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS.values())
    body = "".join(
        f"<tr{'' if row['baseline'] else ' class=model'}>"
        + "".join(f"<td>{_cell(row, key)}</td>" for key in COLUMNS)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(row: Row, key: str) -> str:
    value = row[key]
    if value is None:
        return "first" if key == "horizon_days" else ""
    if row.get(f"{key}_low") is not None:
        return f"{value:.3f} ({row[f'{key}_low']:.3f}-{row[f'{key}_high']:.3f})"
    if isinstance(value, float):
        return f"{value:.3f}"
    return escape(f"{value:,}" if isinstance(value, int) else str(value))


def _svg(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue().decode()
    return text[text.index("<svg") :]
