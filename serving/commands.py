"""The serving part of the command line: serve, forecast, replay."""

import asyncio
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

if TYPE_CHECKING:
    from serving.question import Question
    from serving.replay import Replay
    from serving.settings import ServingSettings


@click.command()
@click.option("--host", help="Address to listen on; FOREVIEW_API_HOST if not given.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON.")
def serve(host: str | None, port: int | None, *, as_json: bool) -> None:
    """Serve forecasts over HTTP until Ctrl-C or SIGTERM."""
    gc.disable()  # until it is ready: most of what is made until then stays
    import orjson

    from serving import logs
    from serving.app import check, create_app
    from serving.life import Life
    from serving.server import bind, run
    from serving.settings import ServingSettings

    settings = ServingSettings()
    if host is not None:
        settings = settings.model_copy(update={"api_host": host})
    logs.configure(settings.log_level)
    check(settings)
    listener = bind(settings.api_host, settings.api_port if port is None else port)

    def announce(address: str) -> None:
        told = {"address": address, "documentation": f"{address}/docs"}
        click.echo(
            orjson.dumps(told) if as_json else f"Forecasts at {address}, docs at {address}/docs"
        )
        sys.stdout.flush()

    life = Life()
    run(create_app(settings, life=life), listener, announce, life, settings.drain_seconds)


@click.command()
@click.argument("video_ids", metavar="VIDEO_ID...", nargs=-1, required=True)
@click.option("--days", default="1,7,30", show_default=True, help="Whole days ahead, 1 to 30.")
@click.option("--metrics", default="views,likes,comments", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the answers as the API gives them.")
def forecast(video_ids: Sequence[str], days: str, metrics: str, *, as_json: bool) -> None:
    """Forecast videos by their ids, without a server."""
    from serving.dependencies import parse_question
    from serving.errors import InvalidRequest
    from serving.settings import ServingSettings

    try:
        question = parse_question(days, metrics)
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from error
    answers = asyncio.run(_forecast(ServingSettings(), list(video_ids), question))
    if as_json:
        import orjson

        click.echo(orjson.dumps({"forecasts": answers}, option=orjson.OPT_INDENT_2))
    else:
        _print_table(answers)
    if any("error" in answer for answer in answers):
        sys.exit(1)


@click.command()
@click.argument("forecast_id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print both answers as JSON.")
def replay(forecast_id: UUID, *, as_json: bool) -> None:
    """Work out a logged forecast again; exit 0 only if it comes out the same."""
    import orjson

    from serving.settings import ServingSettings

    result = asyncio.run(_replay(ServingSettings(), forecast_id))
    if as_json:
        told = {
            "forecast_id": str(forecast_id),
            "identical": result.is_identical,
            "logged": result.logged,
            "replayed": result.replayed,
        }
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    elif result.is_identical:
        click.echo(f"{forecast_id}: the same forecast, number for number")
    else:
        click.echo(f"{forecast_id}: another forecast comes out; --json shows both", err=True)
    if not result.is_identical:
        sys.exit(1)


async def _forecast(
    settings: "ServingSettings", video_ids: list[str], question: "Question"
) -> list[dict[str, Any]]:
    import orjson

    from serving.app import open_forecaster
    from serving.errors import Problem

    async with open_forecaster(settings) as parts:
        outcomes = await parts.forecaster.forecast(video_ids, question)
    return [
        {"video_id": video_id, "error": outcome.body()}
        if isinstance(outcome, Problem)
        else orjson.loads(outcome.answer)
        for video_id, outcome in zip(video_ids, outcomes, strict=True)
    ]


async def _replay(settings: "ServingSettings", forecast_id: UUID) -> "Replay":
    from serving.forecast_log import ForecastLog
    from serving.metrics import ServingMetrics
    from serving.receipts import kept_receipt
    from serving.registry import MlflowRegistry, ModelCache
    from serving.replay import logged_model, replay

    log = ForecastLog(settings.required_database_url, settings.database_schema, 1, ServingMetrics())
    receipt = kept_receipt(forecast_id, await log.read(forecast_id))
    registry = MlflowRegistry(settings.required_mlflow_tracking_uri)
    try:
        model = await logged_model(receipt, ModelCache(settings.state_dir / "models"), registry)
    finally:
        await registry.close()
    return replay(receipt, model)


def _print_table(answers: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("video", "metric", "now", "day", "low", "median", "high", "note")
    for answer in answers:
        if "error" in answer:
            table.add_row(answer["video_id"], *[""] * 6, answer["error"]["detail"])
            continue
        for metric, told in answer["metrics"].items():
            for ahead in told["forecasts"]:
                note = ahead["reason"] or ", ".join(answer["degraded_reasons"])
                numbers = [ahead["p10"], ahead["p50"], ahead["p90"]]
                table.add_row(
                    answer["video_id"],
                    metric,
                    _count(told["current"]),
                    str(ahead["horizon_days"]),
                    *map(_count, numbers),
                    note,
                )
    Console().print(table)


def _count(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"
