"""`foreview targets`, `collect` and `quota`: live collection, thin."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ingestion.options import JSON, instant

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from feature_repo.job_runs import JobRun
    from ingestion.collect_report import CollectReport
    from ingestion.collecting import EmulatorClock, Progress
    from ingestion.collector import Collector
    from ingestion.pushing import Pusher, When
    from ingestion.settings import IngestionSettings

_AHEAD = re.compile(r"\+(\d+)([hd])")


@click.group()
def targets() -> None:
    """Say which videos and channels to watch."""


@targets.command("add")
@click.argument("references", nargs=-1, required=True, metavar="ID|@HANDLE|URL…")
@click.option("--force", is_flag=True, help="Also where the quota cannot serve them.")
@JSON
def add_targets(references: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Watch videos and channels, named by id, @handle or address; - reads them from stdin.

    Safe to repeat. Refused where the coming two weeks would cost more than the quota allows.
    """
    from ingestion.quota_forecast import read_load, require_capacity

    if "-" in references:
        words = (line.strip() for line in sys.stdin)
        references = tuple(word for word in (*references, *words) if word not in ("", "-"))
    with _open_collector() as (collector, context):
        if not force:
            watched = read_load(context.engine, context.world, context.clock())
            require_capacity(watched.with_channels(_channels_among(references)))
        added = collector.add(references)
    names = [target.target_id for target in added]
    click.echo(json.dumps({"added": names}) if as_json else f"{len(names)} added")


@targets.command("search")
@click.argument("query")
@click.option("--channel", "channel_id", metavar="UC…", help="Only within this channel.")
@click.option("--add", is_flag=True, help="Watch what is found.")
@JSON
def search_targets(query: str, channel_id: str | None, add: bool, as_json: bool) -> None:
    """Search YouTube for videos: one of the hundred searches of a day.

    Channels are cheaper found by @handle or address, and their videos through their uploads: a
    search is for what nothing else finds.
    """
    with _open_collector() as (collector, _):
        results = [_result(item) for item in collector.search(query, channel_id)]
        added = collector.add(str(result["video_id"]) for result in results) if add else []
    if as_json:
        click.echo(json.dumps({"results": results, "added": [t.target_id for t in added]}))
        return
    for result in results:
        click.echo("{video_id}  {published_at}  {channel_title}: {title}".format(**result))
    click.echo(f"{len(results)} found" + (f", {len(added)} added" if add else ""))


def _result(item: dict[str, Any]) -> dict[str, str | None]:
    snippet = item.get("snippet", {})
    return {
        "video_id": item["id"]["videoId"],
        "channel_id": snippet.get("channelId"),
        "channel_title": snippet.get("channelTitle"),
        "title": snippet.get("title"),
        "published_at": snippet.get("publishedAt"),
    }


@targets.command("list")
@JSON
def list_targets(as_json: bool) -> None:
    """List the videos and channels that are watched."""
    from ingestion.targets import listing, load_targets

    settings = _settings()
    with _warehouse(settings) as engine:
        found = listing([t for world in ("real", "synthetic") for t in load_targets(engine, world)])
    if as_json:
        click.echo(json.dumps(found))
        return
    for channel in found["channels"]:
        click.echo(f"channel {channel['channel_id']}")
    for video in found["videos"]:
        click.echo(f"video   {video['video_id']}  of {video['channel_id']}")


@click.command()
@click.option("--once", is_flag=True, help="Look once at what is due (the default).")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, looking again as things fall due.")
@click.option(
    "--advance-to",
    metavar="ISO|+7d|+12h|end",
    help="Move the emulator's clock there in steps, collecting at each.",
)
@click.option(
    "--step-hours",
    type=click.FloatRange(0.01),  # a clock that moves by nothing never arrives
    default=6.0,
    show_default=True,
    help="How far apart the steps are.",
)
@click.option(
    "--push/--no-push",
    default=True,
    show_default=True,
    help="Bring features of what was observed online at once, where FOREVIEW_REDIS_URL is set; "
    "with --advance-to, at its end.",
)
@JSON
def collect(
    once: bool,
    watch: bool,
    advance_to: str | None,
    step_hours: float,
    push: bool,
    as_json: bool,
) -> None:
    """Observe the targets that are due; where nothing is, do nothing.

    Any number of collectors may run at once. One that is killed loses nothing: start another.
    """
    if sum((once, watch, advance_to is not None)) > 1:
        raise click.UsageError("--once, --watch and --advance-to exclude each other")
    pushing: When = "never" if not push else "at once" if advance_to is None else "at the end"
    with _open_collector(pushing) as (collector, context), _recorded(context) as run:
        report = _collected(collector, context, watch, advance_to, timedelta(hours=step_hours))
        pushed = context.pusher.finish()
        counts = report.ingested
        run.rows.update(
            read=counts.read,
            loaded=counts.loaded,
            duplicate=counts.duplicate,
            quarantined=counts.quarantined,
        )
    if as_json:
        click.echo(json.dumps(report.as_json() | {"pushed": pushed}))
    else:
        click.echo("\n".join([_summary(report), *context.pusher.told()]))


def _collected(
    collector: "Collector", context: "_Context", watch: bool, until: str | None, step: timedelta
) -> "CollectReport":
    from ingestion import collecting

    if watch:
        return collecting.watch(collector, context.clock, tell=lambda x: click.echo(x, err=True))
    emulator = context.emulator
    if until is None:
        if emulator is not None and emulator.requests():
            return collecting.observe_recorded(collector, emulator)
        return collecting.collect_due(collector)
    if emulator is None:
        raise click.UsageError("--advance-to needs FOREVIEW_YOUTUBE_ENDPOINT: an emulator's")
    end = emulator.end if until == "end" else _moment_after(emulator.now(), until)
    with _progress(emulator.now(), end) as progress:
        if emulator.requests():
            return collecting.simulate_recorded(collector, emulator, end=end, progress=progress)
        return collecting.simulate(collector, emulator, end=end, step=step, progress=progress)


@click.command()
@click.option("--days", default=14, show_default=True, help="How far to look ahead.")
@click.option(
    "--channels", "numbers", multiple=True, type=int, help="Also for so many channels; repeatable."
)
@JSON
def quota(days: int, numbers: tuple[int, ...], as_json: bool) -> None:
    """Show the YouTube quota used and left today, and what the coming days will cost.

    A day ends at midnight Pacific. The forecast is by number of channels: those watched, twice as
    many, and those asked for with --channels.
    """
    from feature_repo.clock import open_clock
    from ingestion.collecting import world_of
    from ingestion.quota import usage
    from ingestion.quota_forecast import most_channels, outlook, read_load

    settings = _settings()
    world, now = world_of(settings.youtube_endpoint), open_clock(settings.clock)()
    with _warehouse(settings) as engine:
        buckets, load = usage(engine, now), read_load(engine, world, now)
    ahead, most = outlook(load, numbers, days), most_channels(load)
    if as_json:
        rows = [
            {**asdict(b), "left": b.left, "resets_at": b.resets_at.isoformat()} for b in buckets
        ]
        answer = {"buckets": rows, "forecast": ahead, "most_channels": most}
        click.echo(json.dumps(answer, default=str))
        return
    for bucket in buckets:
        reset = bucket.resets_at.isoformat()
        kept = f", {bucket.reserved} kept for labels" if bucket.reserved else ""
        click.echo(f"{bucket.bucket}: {bucket.used} used, {bucket.left} left until {reset}{kept}")
    click.echo(f"\nUnits a day, over the next {days} days:")
    for row in ahead:
        listed, counted = row["list"], row["batchGetStats"]
        verdict = "" if row["fits"] else "  more than there are"
        click.echo(
            f"  {row['channels']:>7,} channels: list {listed[0]:,} to {listed[-1]:,}, "
            f"batchGetStats {counted[0]:,} to {counted[-1]:,}{verdict}"
        )
    click.echo(f"At most about {most:,} channels of these kinds can be served.")


@dataclass(frozen=True)
class _Context:
    """What a command of collection works with."""

    engine: "Engine"
    settings: "IngestionSettings"
    world: str
    clock: Callable[[], datetime]
    emulator: "EmulatorClock | None"
    pusher: "Pusher"


@contextmanager
def _recorded(context: _Context) -> Iterator["JobRun"]:
    """Keep what becomes of the run, for the metrics."""
    from feature_repo.job_runs import job_run

    settings = context.settings
    with job_run(
        settings.database, settings.database_schema, "collect", context.clock, context.world
    ) as run:
        yield run


def _channels_among(references: Sequence[str]) -> int:
    from ingestion.targets import parse_reference

    return sum(parse_reference(written).kind != "video" for written in references)


def _settings() -> "IngestionSettings":
    from ingestion.settings import IngestionSettings

    return IngestionSettings()


@contextmanager
def _warehouse(settings: "IngestionSettings") -> Iterator["Engine"]:
    from ingestion.warehouse import migrate, open_warehouse

    migrate(settings.database, settings.database_schema)
    engine = open_warehouse(settings.database, settings.database_schema)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _open_collector(pushing: "When" = "never") -> Iterator[tuple["Collector", _Context]]:
    """Open a collector as the settings say: of the real API, or of an emulator."""
    from feature_repo.clock import open_clock
    from ingestion.collecting import (
        EmulatorClock,
        emulated_world,
        open_metered_client,
        require_retention,
        world_of,
    )
    from ingestion.collector import Collector
    from ingestion.landing import Landing
    from ingestion.pushing import Pusher

    settings = _settings()
    endpoint, clock = settings.youtube_endpoint, open_clock(settings.clock)
    world = world_of(endpoint)
    require_retention(world, settings.retention_days, endpoint)
    emulator = EmulatorClock(endpoint) if endpoint and emulated_world(endpoint) else None
    with (
        _warehouse(settings) as engine,
        open_metered_client(
            engine,
            clock=clock,
            world=world,
            api_key=settings.youtube_api_key,
            endpoint=endpoint,
        ) as (client, ledger),
    ):
        landing = Landing(settings.landing)
        pusher = Pusher.by(settings, engine, clock, pushing)
        collector = Collector(
            engine, client, landing, clock=clock, world=world, ledger=ledger, after=pusher
        )
        yield collector, _Context(engine, settings, world, clock, emulator, pusher)


@contextmanager
def _progress(start: datetime, end: datetime) -> Iterator["Progress"]:
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Collecting", total=max((end - start).total_seconds(), 1))

        def show(now: datetime, report: "CollectReport") -> None:
            about = f"{now:%Y-%m-%d}, {report.videos:,} observations"
            bar.update(task, completed=(now - start).total_seconds(), description=about)

        yield show


def _summary(report: "CollectReport") -> str:
    return (
        f"{report.calls} calls: {report.videos} looks at videos, {report.channels} at channels, "
        f"{report.discovered} videos discovered, {report.gone} gone; "
        f"views fell in {report.views_fell}; "
        f"{report.ingested.loaded} rows loaded, {report.ingested.quarantined} quarantined"
    )


def _moment_after(now: datetime, text: str) -> datetime:
    ahead = _AHEAD.fullmatch(text)
    if ahead is None:
        return instant(text)
    unit = timedelta(hours=1) if ahead[2] == "h" else timedelta(days=1)
    return now + int(ahead[1]) * unit
