"""`foreview features`: build feature tables, register them with Feast, bring them online."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click

INSTANT = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"])


@click.group()
def features() -> None:
    """Build feature tables, register them with Feast, bring them online."""


@features.command()
@click.option(
    "--video", "video_ids", multiple=True, help="Only this video and its channel; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print the row counts as JSON.")
def build(video_ids: tuple[str, ...], as_json: bool) -> None:
    """Compute the feature tables from the warehouse; safe to repeat."""
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from ingestion.feature_tables import build as build_tables
    from ingestion.progress import steps
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    clock = open_clock(settings.clock)
    with (
        job_run(settings.database, settings.database_schema, "features_build", clock) as run,
        steps("building features") as report,
    ):
        counts = build_tables(engine, list(video_ids) or None, report)
        run.rows["written"] = sum(counts.values())
    _print({"rows": counts}, as_json, [f"{name}: {count:,} rows" for name, count in counts.items()])


@features.command()
@click.option("--force", is_flag=True, help="Also where a registered model uses what changes.")
@click.option("--json", "as_json", is_flag=True)
def apply(force: bool, as_json: bool) -> None:
    """Register entities, views and services, as `feast apply` in feature_repo/ does.

    Refused where a view or service would change that a registered model was trained on.
    """
    from feature_repo import store as feature_store
    from ingestion.registering import register
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    store = feature_store.open_feature_store()
    if force:
        feature_store.apply(store, used_by={})
    else:
        register(store, settings.mlflow_tracking_uri)
    services = [service.name for service in store.list_feature_services()]
    _print({"feature_services": services}, as_json, [f"registered: {', '.join(services)}"])


@features.command()
@click.option("--exit-code", is_flag=True, help="Exit with 1 where anything would change.")
@click.option("--json", "as_json", is_flag=True)
def plan(exit_code: bool, as_json: bool) -> None:
    """Show what `apply` would change, feature by feature; changes nothing.

    `feast plan` in feature_repo/ shows the same as whole objects, without their features.
    """
    from feature_repo import planning
    from feature_repo import store as feature_store
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    store = feature_store.open_feature_store()
    found = planning.changes(planning.registered(store), planning.declared())
    signs = {"added": "+", "changed": "~", "removed": "-"}
    lines = [f"{signs[c.kind]} {c.of} {c.name}  {c.feature}  {c.detail}" for c in found]
    counts = {kind: sum(change.kind == kind for change in found) for kind in signs}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    _print(
        {"changes": [change._asdict() for change in found], **counts},
        as_json,
        [*lines, told] if found else ["nothing would change"],
    )
    if exit_code and found:
        raise SystemExit(1)


@features.command()
@click.option("--json", "as_json", is_flag=True)
def status(as_json: bool) -> None:
    """Tell how fresh features are, how many, how often null, and what they take online."""
    from feature_repo.clock import open_clock
    from ingestion.feature_status import read_status
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    views = read_status(engine, settings.redis_url, open_clock(settings.clock)())
    answer = {"views": {view.name: view.as_json() for view in views}}
    _print(answer, as_json, [line for view in views for line in view.told()])


@features.command()
@click.option("--start", type=INSTANT, help="UTC; from the first feature row when left out.")
@click.option("--end", type=INSTANT, help="UTC, exclusive; to the last feature row when left out.")
@click.option("--json", "as_json", is_flag=True)
def materialize(start: datetime | None, end: datetime | None, as_json: bool) -> None:
    """Copy each entity's latest row of a window to the online store; registers first."""
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from ingestion.locks import between_purges
    from ingestion.materializing import materialize as copy_online
    from ingestion.online_expiry import Expiry
    from ingestion.settings import IngestionSettings

    settings = IngestionSettings()
    engine, store, window = _opened(start, end)
    clock = open_clock(settings.clock)
    with (
        job_run(settings.database, settings.database_schema, "materialize", clock) as run,
        between_purges(engine),
    ):
        done = copy_online(store, window, Expiry.by(settings, clock()))
        run.rows["written"] = sum(one.written for one in done.values())
    lines = [f"materialized {window[0]:%F %T} to {window[1]:%F %T} UTC"] + [
        f"{view}: {n.written:,} written, {n.outdated:,} older than what is there, "
        f"{n.expired:,} of videos older than {settings.online_video_days} d"
        for view, n in done.items()
    ]
    answer = _window(window) | {"rows": {view: n._asdict() for view, n in done.items()}}
    _print(answer, as_json, lines)


@features.command()
@click.option("--start", type=INSTANT, help="UTC; from the first feature row when left out.")
@click.option("--end", type=INSTANT, help="UTC, exclusive; to the last feature row when left out.")
@click.option("--chunk-days", type=click.IntRange(1), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def backfill(start: datetime | None, end: datetime | None, chunk_days: int, as_json: bool) -> None:
    """Materialize a long window in chunks; a chunk done before is passed over.

    Also where rows came later or Redis lost what it had: `materialize` brings those online.
    """
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from ingestion import materializing
    from ingestion.locks import between_purges
    from ingestion.online_expiry import Expiry
    from ingestion.settings import IngestionSettings

    settings = IngestionSettings()
    clock = open_clock(settings.clock)
    expiry = Expiry.by(settings, clock())
    engine, store, window = _opened(start, end)

    def tell(part: materializing.Window, done: bool) -> None:
        state = "done before" if done else "materializing"
        click.echo(f"{part[0]:%F} to {part[1]:%F}: {state}", err=True)

    with job_run(settings.database, settings.database_schema, "backfill", clock):
        fresh = materializing.backfill(
            store,
            window,
            timedelta(days=chunk_days),
            tell,
            expiry,
            alone=lambda: between_purges(engine),
        )
    _print(_window(window) | {"chunks": fresh}, as_json, [f"{fresh} chunks materialized"])


@features.command()
@click.argument("target", required=False)
@click.option("--start", type=INSTANT, help="UTC; from the first feature row when left out.")
@click.option("--end", type=INSTANT, help="UTC, exclusive; to the last feature row when left out.")
@click.option("--json", "as_json", is_flag=True)
def export(target: str | None, start: datetime | None, end: datetime | None, as_json: bool) -> None:
    """Write the feature tables to Parquet: TARGET is a directory or s3://bucket/prefix.

    A file per table and day (default: features/ in the state directory). Exporting again replaces
    the days of the window; Feast reads the result without a server (feature_repo/README.md).
    """
    from ingestion.feature_export import export as write
    from ingestion.materializing import built_window
    from ingestion.progress import steps
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import open_warehouse

    settings = IngestionSettings()
    engine = open_warehouse(settings.database, settings.database_schema)
    window = _chosen(start, end, built_window(engine))
    location = target or str(settings.state_dir.absolute() / "features")
    with steps("exporting features") as report:
        told = write(engine, location, window, report)
    lines = [f"{name}: {n['rows']:,} rows of {n['days']:,} days" for name, n in told.items()]
    _print({"location": location, "tables": told}, as_json, [*lines, f"written to {location}"])


def _opened(
    start: datetime | None, end: datetime | None
) -> tuple[Any, Any, tuple[datetime, datetime]]:
    """Open the warehouse and register the store; fill in what of the window was left out."""
    from feature_repo import store as feature_store
    from ingestion.materializing import built_window
    from ingestion.registering import register
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import open_warehouse

    settings = IngestionSettings()
    engine = open_warehouse(settings.database, settings.database_schema)
    built = built_window(engine)
    store = feature_store.open_feature_store()
    register(store, settings.mlflow_tracking_uri)
    return engine, store, _chosen(start, end, built)


def _chosen(
    start: datetime | None, end: datetime | None, built: tuple[datetime, datetime]
) -> tuple[datetime, datetime]:
    """Fill in what of a window was left out."""
    window = (in_utc(start) if start else built[0], in_utc(end) if end else built[1])
    if window[0] >= window[1]:
        raise click.UsageError(f"the window is empty: {window[0]} is not before {window[1]}")
    return window


def in_utc(moment: datetime) -> datetime:
    """Give an instant; one written without an offset is in UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _window(window: tuple[datetime, datetime]) -> dict[str, str]:
    return {"start": window[0].isoformat(), "end": window[1].isoformat()}


def _print(answer: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    click.echo(json.dumps(answer) if as_json else "\n".join(lines))
