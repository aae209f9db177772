"""`foreview compare`: two results of `bench --json`, as ratios; fails where one is a regression."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click

# A column's unit says what it measures, and so which way is worse; columns without one are no
# measurements, and the worst of many is no steady one. Rates come first: "rows/s" ends in s.
_HIGHER_IS_BETTER = re.compile(r"/s$|per CPU second$|^rate / null$")
_LOWER_IS_BETTER = re.compile(r"^(?!.*worst).*(^|[, ])(s|ms|us|MB|seconds)\b")
# Numbers that tell rows of one benchmark apart.
_KEYS = ("clients", "entity rows", "snapshots")

Results = Mapping[str, Sequence[Mapping[str, Any]]]


class Ratio(NamedTuple):
    """A measurement after, by the one before; `worse_by` is above one where it got worse."""

    benchmark: str
    row: str
    column: str
    before: float
    after: float
    worse_by: float


def ratios(before: Results, after: Results) -> Iterator[Ratio]:
    """Pair what both results measured; rows that were repeated count by their median.

    Raises:
        click.ClickException: They did not measure the same, or nothing at all.
    """
    first, second = _measured(before), _measured(after)
    if first.keys() != second.keys() or not first:
        apart = sorted(" · ".join(key) for key in first.keys() ^ second.keys())
        raise click.ClickException(f"the results measured different things: {apart}")
    for (benchmark, row, column), values in first.items():
        old, new = median(values), median(second[benchmark, row, column])
        if min(old, new) <= 0:
            raise click.ClickException(
                f"{benchmark} {row} {column} is no measurement: {old}, {new}"
            )
        worse_by = old / new if _HIGHER_IS_BETTER.search(column) else new / old
        yield Ratio(benchmark, row, column, old, new, worse_by)


def _measured(results: Results) -> dict[tuple[str, str, str], list[float]]:
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for benchmark, rows in results.items():
        for row in rows:
            named = [str(v) for k, v in row.items() if isinstance(v, str) or k in _KEYS]
            for column, value in row.items():
                if _HIGHER_IS_BETTER.search(column) or _LOWER_IS_BETTER.search(column):
                    values = value if isinstance(value, list) else [value]
                    found[benchmark, ", ".join(named), column] += map(float, values)
    return found


def _read(files: Sequence[Path]) -> Results:
    """Put the rows of several runs together."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for file in files:
        try:
            for benchmark, rows in json.loads(file.read_text()).items():
                found[benchmark] += [dict(row) for row in rows]
        except (ValueError, TypeError, AttributeError) as error:
            raise click.ClickException(f"{file} is not what `bench --json` wrote") from error
    return found


def markdown(found: Sequence[Ratio], bound: float) -> str:
    """Give the table that a workflow's summary shows."""
    lines = [
        "| benchmark | row | measured | before | after | worse by | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        verdict = "**regression**" if one.worse_by > bound else ""
        lines.append(
            f"| {one.benchmark} | {one.row} | {one.column} | {one.before:g} | {one.after:g}"
            f" | ×{one.worse_by:.2f} | {verdict} |"
        )
    return "\n".join(lines)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--before", type=_FILE, multiple=True, required=True, help="May be repeated.")
@click.option("--after", type=_FILE, multiple=True, required=True, help="May be repeated.")
@click.option(
    "--bound",
    type=click.FloatRange(min=1.0),
    default=1.3,
    show_default=True,
    help="How many times worse a measurement may become.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the ratios as JSON.")
def compare(before: Sequence[Path], after: Sequence[Path], bound: float, *, as_json: bool) -> None:
    """Compare what `bench --json` wrote on one machine; a table in Markdown.

    Fails where a time or a size grew, or a rate fell, by more than the bound.
    """
    found = list(ratios(_read(before), _read(after)))
    if as_json:
        click.echo(json.dumps({"bound": bound, "ratios": [one._asdict() for one in found]}))
    else:
        click.echo(markdown(found, bound))
    if any(one.worse_by > bound for one in found):
        raise SystemExit(1)
