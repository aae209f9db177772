"""`foreview train` and `foreview promote`."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from training.pipeline import Outcome, Tune
    from training.settings import TrainingSettings

SITUATIONS = ("published", "draft")


@click.command()
@click.option(
    "--world",
    type=click.Choice(["real", "synthetic"]),
    help="Default: FOREVIEW_WORLD, else the one observed last.",
)
@click.option(
    "--tune",
    "trials",
    type=click.IntRange(min=1),
    help="First search the trees' parameters until a shared study holds so many finished trials.",
)
@click.option("--tune-minutes", type=click.FloatRange(min=0.1), help="Stop searching after this.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def train(world: str | None, trials: int | None, tune_minutes: float | None, as_json: bool) -> None:
    """Train, evaluate and register a model per situation; promote those that are better.

    Videos that are live and drafts have a model each. Where there is too little to train one on,
    the other is trained all the same, and the command fails only if neither could be.

    Studies of --tune are kept in PostgreSQL: run the command in several places at once, or again
    after it was cut off, and they go on with the same study.
    """
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from feature_repo.store import open_feature_store
    from training import pipeline
    from training.dataset import latest_world
    from training.params import read_params
    from training.progress import steps
    from training.registry import Registry
    from training.settings import TrainingSettings

    settings = TrainingSettings()
    clock = open_clock(settings.clock)
    now = clock()
    registry, store = Registry(settings.mlflow_tracking_uri), open_feature_store()
    chosen = world or settings.world or latest_world(store, (pipeline.BEGINNING, now))
    params = read_params(settings.params)
    url, schema = settings.database_url, settings.database_schema
    by_hand = settings.promotion == "manual"
    with job_run(url, schema, "train", clock, chosen) as run, steps("training") as report:
        tune = _tuner(settings, trials, tune_minutes)
        outcomes = pipeline.train_each(
            store, registry, params, chosen, now, report, tune=tune, by_hand=by_hand
        )
        promoted = any(outcome.verdict.promote for outcome in outcomes)
        run.outcome = "promoted" if promoted else "refused"
        run.reason = "; ".join(outcome.verdict.reason for outcome in outcomes)
    answers = [_answer(chosen, outcome) for outcome in outcomes]
    click.echo(
        json.dumps({"models": answers})
        if as_json
        else "\n\n".join("\n".join(_summary(answer)) for answer in answers)
    )


def _tuner(
    settings: "TrainingSettings", trials: int | None, minutes: float | None
) -> "Tune | None":
    if trials is None and minutes is None:
        return None
    from training.study import open_storage
    from training.tuning import search

    storage, seconds = open_storage(settings), None if minutes is None else minutes * 60
    return lambda learnable, params, report: search(
        learnable, params, storage, trials or 1_000, seconds, report
    )


def _answer(world: str, outcome: "Outcome") -> dict[str, Any]:
    return {
        "model": outcome.version.name,
        "version": outcome.version.version,
        "world": world,
        "promoted": outcome.verdict.promote,
        "reason": outcome.verdict.reason,
        "rows": outcome.rows,
    }


@click.command()
@click.option("--world", type=click.Choice(["real", "synthetic"]), required=True)
@click.option("--situation", type=click.Choice(SITUATIONS), default="published", show_default=True)
@click.option("--version", help="A version's number; the challenger when left out.")
@click.option("--dry-run", is_flag=True, help="Say what would be promoted, and why or why not.")
@click.option("--json", "as_json", is_flag=True)
def promote(world: str, situation: str, version: str | None, dry_run: bool, as_json: bool) -> None:
    """Make a registered version the champion by hand; servers pick it up by themselves."""
    from feature_repo.clock import open_clock
    from feature_repo.job_runs import job_run
    from training import registry as models
    from training.errors import TrainingError
    from training.settings import TrainingSettings

    settings = TrainingSettings()
    registry = models.Registry(settings.mlflow_tracking_uri)
    name = models.model_name(situation, world)
    chosen = (
        registry.by_number(name, version) if version else registry.by_alias(name, models.CHALLENGER)
    )
    if chosen is None:
        raise TrainingError(f"{name} has no challenger: run `foreview train` first")
    champion, verdict = registry.by_alias(name, models.CHAMPION), registry.verdict(chosen)
    if not dry_run:
        url, schema, clock = settings.database_url, settings.database_schema, settings.clock
        with job_run(url, schema, "promote", open_clock(clock), world) as run:
            registry.promote(chosen, "promoted by hand")
            run.outcome, run.reason = "promoted", f"{name} version {chosen.version}, by hand"
    answer = {
        "model": name,
        "version": chosen.version,
        "champion_before": champion and champion.version,
        "promoted": not dry_run,
        "verdict": verdict,
        "metrics": registry.metrics(chosen),
    }
    done = "would become" if dry_run else "is now"
    line = f"{name} version {chosen.version} {done} champion, after {answer['champion_before']}"
    line += f"\n  its verdict so far: {verdict or 'none'}"
    click.echo(json.dumps(answer) if as_json else line)


def _summary(answer: dict[str, Any]) -> list[str]:
    from training.card import score_table

    whole = ("all", "by_horizon", "first_snapshot")
    shown = [r for r in answer["rows"] if r["subset"] in whole and r["metric"] == "views"]
    state = "champion" if answer["promoted"] else "challenger"
    return [
        *score_table(shown),
        "",
        f"{answer['model']} version {answer['version']} is {state}: {answer['reason']}",
    ]
