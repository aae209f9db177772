"""`foreview load` and `foreview validate`: recorded data in, and what holds of it."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ingestion.loading import LoadReport, Progress
    from ingestion.validating import TableReport

_MOST_LISTED = 20


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…"
)
@click.option(
    "--world",
    type=click.Choice(["real", "synthetic"]),
    default="real",
    show_default=True,
    help="The world the recording is of.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def load(paths: tuple[Path, ...], world: str, as_json: bool) -> None:
    """Load recorded observations: API bodies, snapshot tables, trending CSV exports.

    A directory is read for snapshots.parquet and video_versions.parquet where it has them, else for
    the bodies and CSVs below it. Safe to repeat. Exits with 1 when a file could not be read or a
    row failed validation; everything else is loaded all the same.
    """
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from ingestion.landing import Landing
    from ingestion.loading import load as load_recordings
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    clock, landing = open_clock(settings.clock), Landing(settings.landing)
    with (
        job_run(settings.database, settings.database_schema, "load", clock, world) as run,
        progress_bars() as progress,
    ):
        report = load_recordings(paths, engine, landing, world, clock, progress)
        counts = report.total
        run.rows.update(
            read=counts.read,
            loaded=counts.loaded,
            duplicate=counts.duplicate,
            quarantined=counts.quarantined,
        )
        if report.skipped:
            run.reason = f"{len(report.skipped)} files skipped"
    _print_load(report, as_json)
    sys.exit(1 if report.skipped or report.rejected_rows else 0)


@click.command()
@click.option(
    "--docs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write Great Expectations' data docs into this directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def validate(docs: Path | None, as_json: bool) -> None:
    """Check everything in the warehouse; exits with 1 when something critical does not hold.

    Rows are checked by the suites of ingestion; tables by keys, references, order of time, volume
    against recent weeks and freshness. Warnings are told and fail nothing.
    """
    from feature_repo.clock import open_clock
    from ingestion.settings import IngestionSettings
    from ingestion.validating import validate as validate_tables
    from ingestion.validating import write_docs
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    with progress_bars() as progress:
        now = open_clock(settings.clock)()
        reports = validate_tables(engine, now, progress)
        if docs is not None:
            page = write_docs(engine, now, docs)
            click.echo(f"data docs: {page}", err=True)
    _print_validation(reports, as_json)
    sys.exit(1 if any(report.failed for report in reports) else 0)


@contextmanager
def progress_bars() -> Iterator["Progress"]:
    """Show a bar per task on stderr."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def _print_load(report: "LoadReport", as_json: bool) -> None:
    clock = None if report.clock is None else f"{report.clock:%Y-%m-%dT%H:%M:%SZ}"
    if as_json:
        files = [file.as_json() for file in report.files]
        click.echo(
            json.dumps({"files": files, "clock": clock, "views_fell": report.views_fell}, indent=2)
        )
        return
    total = report.total
    for line in _file_lines(report):
        click.echo(line)
    click.echo(
        f"{len(report.files):,} files: {total.read:,} rows read, {total.loaded:,} loaded, "
        f"{total.duplicate:,} duplicate, {total.quarantined:,} quarantined"
    )
    for reason, count in sorted(total.reasons.items()):
        click.echo(f"  {reason}: {count:,}")
    if report.views_fell:
        click.echo(
            f"{report.views_fell:,} snapshots show fewer views than the look before: kept, "
            "YouTube corrects counts"
        )
    if report.skipped or report.rejected_rows:
        click.echo(
            f"{len(report.skipped)} files skipped, {report.rejected_rows:,} rows failed "
            "validation; the rest is loaded"
        )
    if clock is not None:
        click.echo(f"To work at the end of this recording: export FOREVIEW_CLOCK={clock}")


def _file_lines(report: "LoadReport") -> Sequence[str]:
    """Name the files that were skipped, and the others where they are few."""
    lines = [f"skipped {file.file}: {file.error}" for file in report.skipped]
    if len(report.files) <= _MOST_LISTED:
        lines += [
            f"{f.file}: {f.counts.read:,} read, {f.counts.loaded:,} loaded, "
            f"{f.counts.duplicate:,} duplicate, {f.counts.quarantined:,} quarantined"
            for f in report.files
            if f.error is None
        ]
    return lines


def _print_validation(reports: Sequence["TableReport"], as_json: bool) -> None:
    if as_json:
        tables = [
            {
                "table": r.table,
                "rows": r.rows,
                "failed": r.failed,
                "reasons": dict(r.reasons),
                "warnings": dict(r.warnings),
            }
            for r in reports
        ]
        click.echo(json.dumps({"tables": tables}, indent=2))
        return
    for report in reports:
        click.echo(f"{report.table}: {report.rows:,} rows, {report.failed:,} failed")
        for reason, count in sorted(report.reasons.items()):
            click.echo(f"  {reason}: {count:,}")
        for reason, value in sorted(report.warnings.items()):
            click.echo(f"  warning, {reason}: {value:,.2f}")
