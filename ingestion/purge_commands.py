"""`foreview purge`: retention, thin."""

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--video", "video_id", metavar="ID", help="Everything about this video, of any age.")
@click.option("--dry-run", is_flag=True, help="Count what would be deleted; delete nothing.")
@click.option(
    "--also",
    "extra",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another directory with Parquet, such as DVC's cache or data; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as JSON.")
def purge(video_id: str | None, dry_run: bool, extra: tuple[Path, ...], as_json: bool) -> None:
    """Delete collected data older than FOREVIEW_RETENTION_DAYS, or all about one video.

    Reaches the landing, PostgreSQL, Redis, Parquet exports, DVC's data, MLflow's artefacts and
    logs, looks again afterwards, and leaves a certificate that also names the models that may have
    been trained on it. Synthetic and imported data is exempt, but for a video that is named.
    """
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from ingestion import progress, purged_elsewhere, purging
    from ingestion.landing import Landing
    from ingestion.settings import IngestionSettings
    from ingestion.warehouse import migrate, open_warehouse

    settings = IngestionSettings()
    clock = open_clock(settings.clock)
    chosen = purging.selection(settings, video_id, clock())
    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    here = Path.cwd()
    known = [here / ".dvc" / "cache", here / "data", *purged_elsewhere.local_remotes(here)]
    known += purged_elsewhere.local_exports()
    stores = purging.Stores(
        engine,
        Landing(settings.landing),
        settings.redis_url,
        settings.state_dir,
        (*(path for path in known if path.is_dir()), *extra),
        tuple(purged_elsewhere.unreached(here)),
    )
    with (
        job_run(settings.database, settings.database_schema, "purge", clock) as run,
        progress.steps("purging") as report,
    ):
        made = purging.purge(stores, chosen, clock(), dry_run=dry_run, report=report)
        run.reason = "dry run" if dry_run else f"certificate {made.purge_id}"
    engine.dispose()
    if as_json:
        click.echo(json.dumps(made.as_json()))
        return
    for store, count in made.deleted.items():
        if count:
            click.echo(f"{store}: {count:,} {'would go' if dry_run else 'deleted'}")
    if not any(made.deleted.values()):
        click.echo("nothing to delete")
    for model in made.models:
        click.echo(f"may have seen it: {_model(model)}")
    for place in made.not_reached:
        click.echo(f"not reached: {place}")
    if not dry_run:
        path = settings.state_dir / "certificates" / f"purge-{made.purge_id}.json"
        click.echo(f"certificate: {path}")


def _model(model: dict[str, Any]) -> str:
    name = model["model_version"] or model["model_digest"][:12]
    if model["trained_until"] is None:
        return f"model {name} ({model['world']}), whose bundle is not kept here"
    return (
        f"model {name} ({model['world']}, {model['situation']}), trained on what was observed "
        f"until {model['trained_until']}: {model['snapshots']:,} of these observations"
    )
