"""The report on features as one HTML file, nothing loaded from elsewhere; and as lines of text."""

from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from foreview.feature_report import plots
from foreview.feature_report.ablation import EVERYTHING
from foreview.feature_report.running import Findings
from training.report import STYLE

Row = dict[str, Any]

NOTE = (
    "RMSE is in decades of log10(1 + views), by the smaller trees that training compares windows "
    "with, the mean of two seeds; intervals are 95 % bootstrap over channels. Without a family: "
    "fitted anew without it. Shuffled: the fitted model is asked with one feature shuffled."
)


def html(title: str, found: Sequence[Findings]) -> str:
    """Write the report."""
    body = "".join(_part(part) for part in found)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{NOTE}</p>{body}</html>"
    )


def ablation_table(found: Sequence[Findings]) -> list[str]:
    """Give the table of families as lines of Markdown, a column per situation and trial."""
    cells: dict[str, dict[str, str]] = {}
    heads: dict[str, str] = {}
    for part in found:
        for row in part.ablation:
            if row["horizon_days"] is None:
                head = f"{part.situation}, {row['trial']} (n = {row['n']:,})"
                heads[head] = "---:"
                cells.setdefault(row["without"], {})[head] = _told(row)
    lines = [f"| without | {' | '.join(heads)} |", f"| --- | {' | '.join(heads.values())} |"]
    for family, of in cells.items():
        shown = "(everything kept)" if family == EVERYTHING else family
        lines.append(f"| {shown} | {' | '.join(of.get(head, '') for head in heads)} |")
    return lines


def hurt_lines(found: Sequence[Findings]) -> Iterator[str]:
    """Say which features hurt, and which only seemed to."""
    for part in found:
        for feature in dict.fromkeys(row["feature"] for row in part.hurting):
            of = [row for row in part.hurting if row["feature"] == feature]
            verdict = "hurts" if all(row["change_high"] < 0.0 for row in of) else "not shown"
            evidence = "; ".join(f"{row['trial']} {_change(row)}" for row in of)
            yield f"{part.situation}: {feature}: {verdict} (fitted without it: {evidence})"


def _told(row: Row) -> str:
    if row["without"] == EVERYTHING:
        return f"{row['rmse_log10']:.4f}"
    return f"{row['rmse_log10']:.4f} ({_change(row)})"


def _change(row: Row) -> str:
    return f"{row['change']:+.1%} [{row['change_low']:+.1%}, {row['change_high']:+.1%}]"


def _part(part: Findings) -> str:
    left_out = f"<p>Countries left out: {escape(', '.join(part.left_out))}</p>"
    hurt = "".join(f"<li>{escape(line)}</li>" for line in hurt_lines([part]))
    return (
        f"<h2>{escape(part.situation)}</h2>{left_out if part.left_out else ''}"
        f"<h3>Families</h3>{_svg(plots.losses(part.ablation))}{_ablation(part)}"
        f"<h3>Features</h3>{_svg(plots.shuffling(part.importance))}"
        f"<details><summary>All features</summary>{_importance(part)}</details>"
        f"<h3>Features that seem to hurt</h3><ul>{hurt or '<li>none</li>'}</ul>"
        f"<h3>Over months</h3>{_moves(part.months, 'month')}"
        f"<h3>Across countries</h3>{_moves(part.countries, 'country')}"
        f"<h3>Features that say the same</h3>{_clusters(part)}"
    )


def _ablation(part: Findings) -> str:
    rows = [
        [
            row["trial"],
            row["without"],
            "all" if row["horizon_days"] is None else str(row["horizon_days"]),
            f"{row['n']:,}",
            f"{row['rmse_log10']:.4f}",
            "" if row["without"] == EVERYTHING else _change(row),
        ]
        for row in part.ablation
    ]
    return _table(["trial", "without", "days", "n", "RMSE log10", "change"], rows)


def _importance(part: Findings) -> str:
    rows = [
        [
            row["feature"], row["family"], row["trial"], f"{row['gain_share']:.2%}",
            f"{row['shuffled']:+.2%}",
        ]
        for row in part.importance
    ]  # fmt: skip
    return _table(["feature", "family", "trial", "share of gain", "shuffled"], rows)


def _moves(rows: Sequence[Row], kind: str) -> str:
    if not rows:
        return f"<p>Too few rows of two {escape(kind)} groups or more.</p>"
    moved = [row for row in rows if row["psi"] >= plots.PSI_MOVED]
    worst = sorted(moved, key=lambda row: -row["psi"])
    table = [
        [
            row["feature"], row[kind], f"{row['psi']:.2f}", f"{row['null_share']:.0%}",
            "" if row["shift"] is None else f"{row['shift']:+.2f}",
        ]
        for row in worst
    ]  # fmt: skip
    title = f"PSI against the other {'months' if kind == 'month' else 'countries'}"
    return (
        _svg(plots.heat(rows, kind, "psi", title, 1.0))
        + _svg(plots.heat(rows, kind, "null_share", "Share of nulls, where it moves most", 1.0))
        + f"<details><summary>{len(moved)} of {len(rows)} pairs moved (PSI of 0.25 or more)"
        f"</summary>{_table(['feature', kind, 'PSI', 'null', 'shift, spreads'], table)}</details>"
    )


def _clusters(part: Findings) -> str:
    if not part.clusters:
        return "<p>None.</p>"
    rows = [[", ".join(row["features"]), f"{row['least']:.2f}"] for row in part.clusters]
    figure = plots.alike(part.correlations, part.clusters)
    return _svg(figure) + _table(["features", "least correlation"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _svg(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue().decode()
    return text[text.index("<svg") :]
