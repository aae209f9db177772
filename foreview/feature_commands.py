"""`foreview features`: what ingestion does with features, and the report, which trains as well."""

import json
from datetime import datetime
from pathlib import Path

import click

from ingestion.feature_commands import INSTANT
from ingestion.feature_commands import features as of_ingestion

features = of_ingestion


@features.command()
@click.option("--world", type=click.Choice(["real", "synthetic"]), help="The one seen last if not.")
@click.option("--as-of", type=INSTANT, help="UTC; nothing later is looked at. The clock's if not.")
@click.option(
    "--recorded",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Recorded lists (snapshots.parquet) that name a country per video; what channels state "
    "when left out.",
)
@click.option(
    "--labels",
    type=click.IntRange(1_000),
    default=100_000,
    show_default=True,
    help="Labels to fit on, and to ask for, at most.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where the page goes; feature_report.html in the state directory when left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every finding as JSON.")
def report(
    world: str | None,
    as_of: datetime | None,
    recorded: Path | None,
    labels: int,
    html_file: Path | None,
    as_json: bool,
) -> None:
    """Tell what features are worth, how they move, and which of them say the same or hurt.

    Models are fitted with and without each family and judged in later months, and in countries
    left out of training. Nothing is registered.
    """
    from feature_repo.clock import open_clock
    from feature_repo.store import open_feature_store
    from foreview.feature_report import page
    from foreview.feature_report.running import find, listed_countries
    from ingestion.feature_commands import in_utc
    from training.dataset import latest_world
    from training.params import read_params
    from training.pipeline import BEGINNING
    from training.progress import steps
    from training.settings import TrainingSettings

    settings = TrainingSettings()
    target = html_file or settings.state_dir / "feature_report.html"
    target.parent.mkdir(parents=True, exist_ok=True)  # before the work, which it would lose
    now = in_utc(as_of) if as_of else open_clock(settings.clock)()
    store = open_feature_store()
    chosen = world or settings.world or latest_world(store, (BEGINNING, now))
    countries = None if recorded is None else listed_countries(recorded)
    with steps("features") as tell:
        params = read_params(settings.params)
        found = find(store, chosen, now, params, labels, countries, tell)
    target.write_text(page.html(f"Features of the {chosen} world at {now:%F %H:%M} UTC", found))
    if as_json:
        click.echo(json.dumps({"world": chosen, "parts": [part.as_json() for part in found]}))
        return
    click.echo("\n".join([*page.ablation_table(found), *page.hurt_lines(found)]))
    click.echo(f"written to {target}")
