"""The whole story, top to bottom, on private servers and a synthetic YouTube."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine

from feature_repo import store as feature_store
from feature_repo.clock import system_clock
from foreview.local import local_servers
from foreview.settings import LocalSettings
from ingestion import feature_tables, materializing, warehouse
from ingestion.collecting import open_client, simulate
from ingestion.collector import Collector
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.forgetting import forget_synthetic_world
from ingestion.landing import Landing
from ingestion.parsing import parse_video
from ingestion.settings import IngestionSettings
from ingestion.youtube import MAX_IDS, YouTubeClient

SEED, DAYS, CHANNELS = 7, 120, 45
HORIZON = timedelta(days=7)
SHOWN_VIDEOS = 12
READY_SECONDS = 60

MIN_WIDTH = 132

console = Console(width=None if Console().width >= MIN_WIDTH else MIN_WIDTH)


class Forecasted(NamedTuple):
    """A video, what was forecast of its views, and what then happened."""

    video_id: str
    title: str
    then: int
    p10: int
    p50: int
    p90: int
    truth: int | None

    @property
    def is_hit(self) -> bool:
        """Tell whether the truth lies in the interval; False for a video that is gone."""
        return self.truth is not None and self.p10 <= self.truth <= self.p90


def run(*, keep: bool = False) -> None:
    """Run the demo: it ends by itself, or with Ctrl-C when the API is to be kept up."""
    began = time.monotonic()
    with _step("starting PostgreSQL, Redis and MLflow"):
        servers = local_servers(LocalSettings().state_dir)
        environment = servers.__enter__()
    try:
        os.environ.update(environment)
        _story(began, keep)
    finally:
        with _step("stopping the servers"):
            servers.__exit__(None, None, None)


def _story(began: float, keep: bool) -> None:
    settings = IngestionSettings()
    engine = warehouse.open_warehouse(settings.database, settings.database_schema)
    with _step("preparing the warehouse"):
        warehouse.migrate(settings.database, settings.database_schema)
        forget_synthetic_world(engine, os.environ["FOREVIEW_REDIS_URL"])
    end = system_clock().replace(minute=0, second=0, microsecond=0)
    asked_at = end - HORIZON
    world = synthetic_world(SEED, days=DAYS, channels=CHANNELS, end=end)
    with (
        running_emulator(world) as emulator,
        open_client(
            engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
        ) as client,
    ):
        landing = Landing(settings.landing)
        collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
        collector.add(channel.channel_id for channel in world.channels.each)
        _collect(collector, emulator, asked_at, f"collecting {DAYS - HORIZON.days} days of YouTube")
        store = feature_store.open_feature_store()
        _bring_online(engine, store)
        _train(store, asked_at)
        forecasts = _ask(emulator.now, world, asked_at)
        _collect(collector, emulator, end, f"a week passes: {HORIZON.days} more days")
        _bring_online(engine, store)
        judged = _compared(client, forecasts)
    _show(judged, asked_at)
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. All of it is kept:")
    if keep:
        _serve()
    else:
        console.print("  make up && .venv/bin/foreview serve    serves it again; see /docs and /")


def _collect(collector: Collector, emulator: RunningEmulator, until: datetime, title: str) -> None:
    begin = emulator.now()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(title, total=(until - begin).total_seconds(), rows="")

        def show(now: datetime, totals: Any) -> None:
            rows = f"{now:%F}, {totals.ingested.loaded:,} rows"
            progress.update(task, completed=(now - begin).total_seconds(), rows=rows)

        simulate(collector, emulator, end=until, progress=show)


def _bring_online(engine: Engine, store: Any) -> None:
    with _step("building features") as say:
        counts = feature_tables.build(engine, report=lambda table: say(f"building {table}"))
        say(f"built {sum(counts.values()):,} feature rows")
    with _step("feast apply"):
        feature_store.apply(store)
    with _step("feast materialize: PostgreSQL to Redis"):
        materializing.materialize(store, materializing.built_window(engine))


def _train(store: Any, now: datetime) -> None:
    from training.params import read_params, smaller
    from training.pipeline import train_each
    from training.registry import Registry
    from training.settings import TrainingSettings

    settings = TrainingSettings()
    with _step("training") as say:
        registry = Registry(settings.mlflow_tracking_uri)
        params = smaller(read_params(settings.params))
        outcomes = train_each(store, registry, params, "synthetic", now, lambda step: say(step))
        say(" and ".join(f"{o.version.name} version {o.version.version}" for o in outcomes))
    for outcome in outcomes:
        verdict = "champion" if outcome.verdict.promote else "challenger"
        console.print(f"  {outcome.version.name} is {verdict}: {outcome.verdict.reason}")
    _show_scores(outcomes[0].rows)


def _ask(clock: Callable[[], datetime], world: World, asked_at: datetime) -> list[dict[str, Any]]:
    """Ask the API, over HTTP, for forecasts of the videos of the last days."""
    from serving.app import run_in_thread
    from serving.settings import ServingSettings

    with (
        _step("serving, and asking for forecasts") as say,
        run_in_thread(ServingSettings(world="synthetic"), clock) as server,
        httpx.Client(base_url=server.address, timeout=30) as api,
    ):
        _await_ready(api)
        question = {"days": [HORIZON.days], "metrics": ["views"]}
        answers = api.post(
            "/v1/forecasts", json={"video_ids": _recent_videos(world, asked_at), **question}
        )
        forecasts = [a for a in answers.raise_for_status().json()["forecasts"] if _is_answered(a)]
        say(f"{len(forecasts)} answered")
        return forecasts


def _is_answered(forecast: dict[str, Any]) -> bool:
    """Tell whether there are views to compare: some videos are unknown, some hide their counts."""
    views = forecast.get("metrics", {}).get("views")
    return views is not None and views["forecasts"][0]["p50"] is not None


def _await_ready(api: httpx.Client) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not (answer := api.get("/readyz")).is_success:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the API is not ready: {answer.text}")
        time.sleep(0.2)


def _compared(client: YouTubeClient, forecasts: list[dict[str, Any]]) -> list[Forecasted]:
    """Ask YouTube, a week later, what became of the videos."""
    ids = [forecast["video_id"] for forecast in forecasts]
    truths: dict[str, tuple[str, int | None]] = {}
    for start in range(0, len(ids), MAX_IDS):
        answer = client.videos(ids[start : start + MAX_IDS])
        for item in answer.items:
            metadata, snapshot = parse_video(item, answer.fetched_at)
            truths[item["id"]] = (metadata.title if metadata else "", snapshot.view_count)
    return [_beside(f, truths.get(f["video_id"], ("(deleted)", None))) for f in forecasts]


def _beside(forecast: dict[str, Any], truth: tuple[str, int | None]) -> Forecasted:
    views = forecast["metrics"]["views"]
    answer = views["forecasts"][0]
    return Forecasted(
        forecast["video_id"], truth[0], views["current"], answer["p10"], answer["p50"],
        answer["p90"], truth[1],
    )  # fmt: skip


def _show(judged: list[Forecasted], asked_at: datetime) -> None:
    table = Table(title=f"Asked on {asked_at:%F %H:%M} UTC for views {HORIZON.days} days later")
    table.add_column("video", no_wrap=True)
    table.add_column("title", max_width=36, no_wrap=True)
    for column in ("views then", "forecast", "80 % interval", "what then happened"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for row in judged[:: max(len(judged) // SHOWN_VIDEOS, 1)][:SHOWN_VIDEOS]:
        interval = f"{row.p10:,} - {row.p90:,}"
        happened = "gone" if row.truth is None else f"{row.truth:,}"
        table.add_row(
            row.video_id, row.title, f"{row.then:,}", f"{row.p50:,}", interval, happened, _mark(row)
        )
    console.print(table)
    there = [row for row in judged if row.truth is not None]
    hits = sum(row.is_hit for row in there)
    console.print(
        f"{hits} of all {len(there)} videos asked about ended inside their 80 % interval "
        f"({hits / max(len(there), 1):.0%})"
    )


def _mark(row: Forecasted) -> str:
    if row.truth is None:
        return ""
    return "[green]hit[/]" if row.is_hit else "[red]miss[/]"


def _show_scores(rows: list[dict[str, Any]]) -> None:
    table = Table(title="Views on held-out time, RMSE of log10")
    table.add_column("model")
    days = sorted({row["horizon_days"] for row in rows})
    chosen = [row for row in rows if row["subset"] == "all" and row["metric"] == "views"]
    for day in days:
        table.add_column(f"{day} d", justify="right")
    for model in dict.fromkeys(row["model"] for row in chosen):
        scores = {r["horizon_days"]: r["rmse_log10"] for r in chosen if r["model"] == model}
        table.add_row(model, *(f"{scores[day]:.3f}" if day in scores else "" for day in days))
    console.print(table)


def _serve() -> None:
    from serving.app import run_in_thread
    from serving.settings import ServingSettings

    settings = ServingSettings(world="synthetic")
    with run_in_thread(settings, system_clock, port=settings.api_port) as server:
        console.print(f"  page {server.address}/   API {server.address}/docs   Ctrl-C ends it")
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("stopping")


def _recent_videos(world: World, asked_at: datetime) -> list[str]:
    """Name the videos published in the ten days before a moment."""
    published = world.videos.published_at
    recent = (published > (asked_at - timedelta(days=10)).timestamp()) & (
        published < (asked_at - timedelta(hours=12)).timestamp()
    )
    return [
        video_id for video_id, chosen in zip(world.videos.video_ids, recent, strict=True) if chosen
    ]


@contextmanager
def _step(title: str) -> Iterator[Callable[[str], None]]:
    """Show a step while it runs, and how long it took."""
    began, last = time.monotonic(), title
    with console.status(title) as status:

        def say(text: str) -> None:
            nonlocal last
            last = f"{title}: {text}"
            status.update(last)
            if not console.is_terminal:
                console.print(f"  {last}")

        yield say
    console.print(f"{last} [dim]({time.monotonic() - began:.1f} s)[/]")
