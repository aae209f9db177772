"""`foreview replay-raw` and `quarantine`: what was landed, read again."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ingestion.commands import progress_bars

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from feature_repo.clock import Clock
    from ingestion.ingesting import IngestCounts
    from ingestion.landing import Landing


@click.command("replay-raw")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def replay_raw(as_json: bool) -> None:
    """Build the warehouse again from the raw landing; what is there already stays as it is.

    To build it from nothing, set FOREVIEW_DATABASE_SCHEMA to a new name first.
    """
    from ingestion.replaying import replay

    with _opened() as (engine, landing, clock), progress_bars() as progress:
        report = replay(engine, landing, clock, progress)
    rows = report.rows
    if as_json:
        click.echo(json.dumps({"objects": report.objects, **rows.as_json()}))
        return
    click.echo(f"{report.objects:,} objects of the landing: {_row_counts(rows)}")


@click.group()
def quarantine() -> None:
    """See, read again or drop the rows that failed validation."""


_REASON = click.option("--reason", help="Only rows refused for this reason.")
_IDS = click.option("--id", "ids", multiple=True, type=int, help="Only this row; repeatable.")


@quarantine.command("list")
@_REASON
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many of the newest rows to name.",
)
@click.option("--json", "as_json", is_flag=True)
def list_quarantine(reason: str | None, limit: int, as_json: bool) -> None:
    """Count the rows by reason, and name the newest."""
    from ingestion.retrying import Choice, listed, summary

    choice = Choice(reason)
    with _opened() as (engine, _, _clock):
        reasons, rows = summary(engine, choice), listed(engine, choice, limit)
    if as_json:
        click.echo(json.dumps({"reasons": reasons, "rows": rows}))
        return
    for one in reasons:
        click.echo(f"{one['reason']}: {one['rows']:,} of {one['source']}")
    for row in rows:
        reasons_told = ", ".join(row["reasons"])
        click.echo(f"  {row['quarantine_id']}  {row['quarantined_at']}  {reasons_told}")


@quarantine.command("retry")
@_REASON
@_IDS
@click.option("--json", "as_json", is_flag=True)
def retry_quarantine(reason: str | None, ids: tuple[int, ...], as_json: bool) -> None:
    """Read the rows again from the landing; what holds now is loaded.

    Exits with 1 when something they were read from cannot be read; the others are tried.
    """
    from ingestion.retrying import Choice, retry

    with _opened() as (engine, landing, clock):
        report = retry(engine, landing, clock, Choice(reason, ids or None))
    click.echo(json.dumps(report.as_json()) if as_json else _row_counts(report.counts))
    for problem in report.unreadable.values():
        click.echo(problem, err=True)
    sys.exit(1 if report.unreadable else 0)


@quarantine.command("drop")
@_REASON
@_IDS
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True)
def drop_quarantine(reason: str | None, ids: tuple[int, ...], yes: bool, as_json: bool) -> None:
    """Forget the rows; the landing still has what they were read from."""
    from ingestion.retrying import Choice, drop, summary

    choice = Choice(reason, ids or None)
    with _opened() as (engine, _, _clock):
        rows = sum(one["rows"] for one in summary(engine, choice))
        if not (yes or as_json):
            click.confirm(f"Drop {rows:,} rows?", abort=True)
        dropped = drop(engine, choice)
    click.echo(json.dumps({"dropped": dropped}) if as_json else f"{dropped:,} dropped")


@contextmanager
def _opened() -> Iterator[tuple["Engine", "Landing", "Clock"]]:
    """Open the warehouse, the landing and the clock as the settings say."""
    from feature_repo.clock import open_clock
    from ingestion.landing import Landing
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    try:
        yield engine, Landing(settings.landing), open_clock(settings.clock)
    finally:
        engine.dispose()


def _row_counts(counts: "IngestCounts") -> str:
    return (
        f"{counts.read:,} rows read, {counts.loaded:,} loaded, {counts.duplicate:,} duplicate, "
        f"{counts.quarantined:,} quarantined"
    )
