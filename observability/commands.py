"""`foreview outcomes`, `drift` and `skew`: thin."""

import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


@click.command()
@_JSON
def outcomes(as_json: bool) -> None:
    """Set forecasts whose horizon has closed beside the truth; refresh the scorecard.

    Safe to repeat, and resumable: a truth once found stands, what has none is looked at again for
    a week.
    """
    from feature_repo.clock import open_clock
    from observability import pipeline
    from observability.settings import ObservabilitySettings

    settings = ObservabilitySettings()
    clock = open_clock(settings.clock)
    with pipeline.progress("judging forecasts") as report:
        counts = pipeline.outcomes(
            settings.required_database_url, settings.database_schema, clock, report
        )
        card = pipeline.scorecard(settings.required_database_url, settings.database_schema)
    if as_json:
        click.echo(json.dumps({"judged": counts, "scorecard": card}))
    else:
        _print_outcomes(counts, card)


_WORLD = click.option(
    "--world",
    type=click.Choice(["real", "synthetic"]),
    help="Default: FOREVIEW_WORLD, else the one forecast last.",
)


@click.command()
@_WORLD
@click.option(
    "--days", type=click.IntRange(1), default=7, show_default=True, help="How far back to look."
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page, too.")
@_JSON
def drift(world: str | None, days: int, html: Path | None, as_json: bool) -> None:
    """Tell which features, forecasts and truths moved away from what the champion learned.

    Ranked by what each does to forecasts. Exits with 0 whether something drifted or not: alerts
    judge.
    """
    from observability import checks, pipeline
    from observability.champion import ModelRegistry
    from observability.settings import ObservabilitySettings

    settings = ObservabilitySettings()
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
    with (
        ModelRegistry(settings.required_mlflow_tracking_uri) as registry,
        pipeline.progress("looking for drift") as report,
    ):
        sources = pipeline.sources(settings, registry)
        chosen = world or settings.world or pipeline.latest_world(sources)
        found = checks.check_drift(sources, chosen, days, html, report)
    if as_json:
        rows = [_as_json(one) for one in found]
        click.echo(json.dumps({"world": chosen, "drifted": checks.matters(found), "drift": rows}))
        return
    if not found:
        click.echo(f"no forecast of the {chosen} world in {days} days: nothing to compare")
        return
    _print_table(
        f"Drift of the {chosen} world, {days} days against the champion's reference",
        [one._asdict() for one in found if one.status != "stable" or one.kind != "feature"]
        or [one._asdict() for one in found],
    )
    if html is not None:
        click.echo(f"written: {html}")


@click.command()
@_WORLD
@click.option(
    "--hours", type=click.IntRange(1), default=24, show_default=True, help="How far back to look."
)
@click.option(
    "--sample", type=click.IntRange(1), default=300, show_default=True, help="Logged vectors."
)
@_JSON
def skew(world: str | None, hours: int, sample: int, as_json: bool) -> None:
    """Compare logged feature vectors with what training would have seen, to the bit.

    Exits with 1 when any value differs.
    """
    from feature_repo.store import open_feature_store
    from observability import checks, pipeline
    from observability.champion import ModelRegistry
    from observability.settings import ObservabilitySettings

    settings = ObservabilitySettings()
    with ModelRegistry(settings.required_mlflow_tracking_uri) as registry:
        sources = pipeline.sources(settings, registry)
        chosen = world or settings.world or pipeline.latest_world(sources)
        with pipeline.progress("recomputing vectors"):
            found = checks.check_skew(sources, open_feature_store(), chosen, hours, sample)
    skewed = [one for one in found if one.is_skewed]
    if as_json:
        rows = [_as_json(one) for one in found]
        click.echo(json.dumps({"world": chosen, "skewed": bool(skewed), "features": rows}))
    elif skewed:
        _print_table("Features that differ", [one._asdict() for one in skewed])
    elif not found:
        click.echo(f"no forecast of the {chosen} world in {hours} hours: nothing to compare")
    else:
        compared = sum(one.compared for one in found)
        behind = max(one.behind for one in found)
        click.echo(
            f"no skew: {compared:,} values equal to the bit; {behind} vectors were behind the "
            "offline store and are not compared"
        )
    sys.exit(1 if skewed else 0)


def _as_json(row: NamedTuple) -> dict[str, object]:
    """Give a row with what JSON has no number for as null, and instants as text."""
    shown = row._asdict().items()
    return {
        name: None
        if isinstance(value, float) and not math.isfinite(value)
        else value.isoformat()
        if isinstance(value, datetime)
        else value
        for name, value in shown
    }


def _print_table(title: str, rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    Console(width=200).print(table)


def _print_outcomes(counts: dict[str, int], card: list[dict[str, object]]) -> None:
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    click.echo(f"judged: {told or 'nothing was due'}")
    if card:
        _print_table("How past forecasts did (0 days: all horizons)", card)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
