"""`foreview emulate`: a local YouTube, thin."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ingestion.options import JSON, instant


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8090,
    show_default=True,
    help="Where to listen.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The interface to listen on.")
@click.option("--seed", default=7, show_default=True, help="Which synthetic world.")
@click.option("--days", default=130, show_default=True, help="How long it lasts.")
@click.option("--channels", default=60, show_default=True, help="How many channels it has.")
@click.option("--end", default="now", show_default=True, help="When it ends: now or ISO 8601.")
@click.option(
    "--raw",
    "recordings",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Show recorded API bodies instead, at the instants of their recording; repeatable.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:SHARE[:SECONDS]]",
    help="429, 500, 503, rate, quota, daily_limit, slow or cut; hits a share of requests.",
)
@click.option("--fault-seed", default=0, show_default=True, help="Of which requests are hit.")
@JSON
def emulate(
    port: int,
    host: str,
    seed: int,
    days: int,
    channels: int,
    end: str,
    recordings: tuple[Path, ...],
    faults: tuple[str, ...],
    fault_seed: int,
    as_json: bool,
) -> None:
    """Serve a local YouTube Data API over a synthetic or a recorded world, until Ctrl-C.

    The world's clock stands at its start and moves when told to: POST {"now": ISO 8601},
    {"advance_seconds": N} or {"step": true} (to the next recorded instant) to /emulator/clock, or
    `foreview collect --advance-to +7d`. Faults can also be asked for while it runs: POST
    {"kind": "503", "share": 0.1, "count": 5} to /emulator/faults, DELETE ends them.
    """
    from feature_repo.clock import system_clock
    from ingestion.emulator.api import EmulatorApp, WorldClock
    from ingestion.emulator.faults import Fault, Faults, InvalidFault
    from ingestion.emulator.queries import Site
    from ingestion.emulator.recorded import RecordedSite
    from ingestion.emulator.running import serve
    from ingestion.emulator.synthetic import SyntheticSite
    from ingestion.emulator.world import synthetic_world

    try:
        asked = Faults(fault_seed, [Fault.parse(text) for text in faults])
    except InvalidFault as error:
        raise click.UsageError(str(error)) from error
    names: list[str] = []
    site: Site
    if recordings:
        site = RecordedSite(recordings)
    else:
        ends_at = system_clock() if end == "now" else instant(end)
        world = synthetic_world(seed, days=days, channels=channels, end=ends_at)
        names, site = [c.channel_id for c in world.channels.each], SyntheticSite(world)
    address = f"http://{host}:{port}"
    about = {"address": address, "start": site.start.isoformat(), "end": site.end.isoformat()}
    told = (
        json.dumps({**about, "world": site.world, "channels": names})
        if as_json
        else _how_to_use(address, names)
    )
    app = EmulatorApp(site, WorldClock(site, site.start), faults=asked)
    serve(app, host=host, port=port, begun=lambda: click.echo(told))


def _how_to_use(address: str, channel_ids: Sequence[str]) -> str:
    told = f"export FOREVIEW_YOUTUBE_ENDPOINT={address} FOREVIEW_CLOCK={address}"
    begin = f"  foreview targets add {channel_ids[0]}\n" if channel_ids else ""
    what = "A synthetic" if channel_ids else "A recorded"
    return (
        f"{what} YouTube answers at {address} (any key). In another terminal:\n"
        f"  {told}\n{begin}"
        f"  foreview collect --advance-to {'+7d' if channel_ids else 'end'}\n"
        "Ctrl-C stops it."
    )
