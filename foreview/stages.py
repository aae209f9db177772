"""`foreview stage`: the stages of dvc.yaml, each from files to files, by the normal path."""

import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

GIVEN = click.Path(exists=True, file_okay=False, path_type=Path)
MADE = click.Path(file_okay=False, path_type=Path)

LISTS = ("snapshots.parquet", "video_versions.parquet")
WORLD_FILE = "world.json"
VIDEOS_FILE = "video_metadata.parquet"
METRICS_FILE = "metrics.json"


@click.group()
def stage() -> None:
    """Run one stage of dvc.yaml, from files to files; `dvc repro` runs those that changed."""


@stage.command()
@click.option("--out", type=MADE, required=True)
def snapshot(out: Path) -> None:
    """Bring in the recorded lists that FOREVIEW_SNAPSHOT names, or make a synthetic record."""
    from foreview.settings import LocalSettings

    given = LocalSettings().snapshot
    shutil.rmtree(out, ignore_errors=True)
    if given is None:
        from ingestion.emulator.lists import write_lists
        from ingestion.emulator.world import synthetic_world

        params = _params()
        told = params.snapshot
        world = synthetic_world(params.seed, days=told.days, channels=told.channels, end=told.end)
        write_lists(out, world, told.days)
    else:
        missing = [name for name in LISTS if not (given / name).is_file()]
        if missing:
            raise click.ClickException(f"FOREVIEW_SNAPSHOT: {given} has no {', '.join(missing)}")
        out.mkdir(parents=True)
        for name in LISTS:
            shutil.copyfile(given / name, out / name)
    _write(out / WORLD_FILE, {"world": "synthetic" if given is None else "real"})


@stage.command()
@click.option("--raw", type=GIVEN, required=True)
@click.option("--out", type=MADE, required=True)
def features(raw: Path, out: Path) -> None:
    """Load recorded lists, build the feature tables and export them; needs PostgreSQL only.

    Private servers are started where none is set, and stopped afterwards.
    """
    from feature_repo.clock import system_clock
    from foreview.evaluating import Workbench, private_database
    from ingestion.feature_export import export
    from ingestion.materializing import built_window

    world = _read(raw / WORLD_FILE)["world"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with private_database() as (database_url, redis_url), tempfile.TemporaryDirectory() as landing:
        bench = Workbench(database_url, redis_url, f"stage_{secrets.token_hex(6)}")
        try:
            bench.load(raw, Path(landing), system_clock(), world)
            export(bench.engine, str(out), built_window(bench.engine))
            _write_videos(bench, out / VIDEOS_FILE)
        finally:
            bench.remove()
    _write(out / WORLD_FILE, {"world": world})


def _write_videos(bench: Any, file: Path) -> None:
    """Keep what was known of the videos: drafts are asked about by it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sqlalchemy import text

    from training.dataset import DESCRIBED

    columns = [*DESCRIBED, "observed_at", "ingested_at"]
    query = f"SELECT {', '.join(columns)} FROM video_metadata ORDER BY video_id, observed_at"
    with bench.engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(text(query))]
    pq.write_table(pa.Table.from_pylist(rows), file)


@stage.command("training-set")
@click.option("--features", "tables", type=GIVEN, required=True)
@click.option("--out", type=MADE, required=True)
def training_set(tables: Path, out: Path) -> None:
    """Draw questions and join their features, point in time, from the exported tables."""
    from datetime import UTC, datetime

    import pyarrow.parquet as pq

    from feature_repo.store import open_exported_store
    from training.dataset import Record, read_snapshots, videos_of
    from training.files import write_questions
    from training.pipeline import BEGINNING, each_situation, training_borders
    from training.questions import SITUATIONS, questions

    world, params = _read(tables / WORLD_FILE)["world"], _params()
    always = (BEGINNING, datetime(2100, 1, 1, tzinfo=UTC))
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        store = open_exported_store(str(tables.absolute()), Path(scratch) / "registry.db")
        videos = videos_of(pq.read_table(tables / VIDEOS_FILE), world)
        record = Record(read_snapshots(store, world, always), videos)
        at = training_borders(record, params)

        def written(situation: str) -> None:
            write_questions(out / situation, questions(store, situation, record, params), at)

        each_situation(SITUATIONS, written, click.echo)
    _write(out / WORLD_FILE, {"world": world})


@stage.command()
@click.option("--training-set", "asked", type=GIVEN, required=True)
@click.option("--out", type=MADE, required=True)
def train(asked: Path, out: Path) -> None:
    """Fit, calibrate and write a model bundle per situation; same inputs, same digests."""
    from training.stages import write_models

    shutil.rmtree(out, ignore_errors=True)
    told = write_models(asked, _read(asked / WORLD_FILE)["world"], out, _params(), click.echo)
    _write(out / METRICS_FILE, told)


@stage.command()
@click.option("--training-set", "asked", type=GIVEN, required=True)
@click.option("--models", type=GIVEN, required=True)
@click.option("--out", type=MADE, required=True)
def evaluate(asked: Path, models: Path, out: Path) -> None:
    """Judge the bundles beside every baseline on held-out time: scores, plots and a report."""
    from training.stages import write_reports

    shutil.rmtree(out, ignore_errors=True)
    _write(out / METRICS_FILE, write_reports(asked, models, out, _params().seed))


@stage.command()
@click.option("--reports", type=GIVEN, required=True)
def check(reports: Path) -> None:
    """Fail where a baseline forecasts views better than the model for published videos does."""
    from training.judging import MODEL

    errors: dict[int, dict[str, float]] = {}
    for row in _read(reports / "scores.json")["rows"]:
        asked = (row["situation"], row["metric"], row["subset"])
        if asked == ("published", "views", "all"):
            errors.setdefault(row["horizon_days"], {})[row["model"]] = row["rmse_log10"]
    if not errors:
        raise click.ClickException(f"{reports} judges no forecast of views")
    beaten = []
    for days, by_model in sorted(errors.items()):
        best = min((name for name in by_model if name != MODEL), key=by_model.__getitem__)
        told = f"{days} d: model {by_model[MODEL]:.4f}, best baseline {by_model[best]:.4f} ({best})"
        click.echo(told)
        if by_model[MODEL] >= by_model[best]:
            beaten.append(told)
    if beaten:
        raise click.ClickException("a baseline is better: " + "; ".join(beaten))


def _params() -> Any:
    from training.params import read_params
    from training.settings import TrainingSettings

    return read_params(TrainingSettings().params)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
