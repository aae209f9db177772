"""A month of 10,000 channels: units used of each bucket and day, looks, labels covered.

The collector, its planner, its discovery and the quota ledger in PostgreSQL are the real ones. What
is left out is what costs time and decides nothing here: HTTP, the landing and the rows; the targets
are kept in memory by the rules of `collection_targets`.
"""

import os
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from benchmarks.simulations.collection import (
    Forecasts,
    MemoryCollector,
    MemoryTargets,
    SimulatedYouTube,
)
from foreview.local import local_servers
from ingestion import warehouse
from ingestion.emulator.world import World, synthetic_world
from ingestion.quota import DAILY_LIMITS, LIST, STATISTICS, QuotaExhausted, QuotaLedger, quota_day

CHANNELS = int(os.environ.get("BENCH_CHANNELS", "10000"))
DAYS, SEED, SCHEMA = 30, 7, "bench_month"
# Of each channel one forecast in five days, for 1, 3 and 7 days ahead.
FORECASTS_PER_CHANNEL = 0.2
# Midnight in California; its clocks go back within the month.
END = datetime(2026, 11, 10, 8, tzinfo=UTC)
ROUND, DAY = timedelta(hours=1), timedelta(days=1)
_console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Give a row per simulated day: units, looks, and the labels that can be read."""
    _console.print(f"making a world of {CHANNELS:,} channels")
    world = synthetic_world(SEED, days=DAYS, channels=CHANNELS, end=END)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with local_servers(Path(scratch) / "state") as environment:
            engine = warehouse.open_warehouse(environment["FOREVIEW_DATABASE_URL"], SCHEMA)
            warehouse.migrate(engine, SCHEMA)
            rows = simulate(engine, world, DAYS, tell=_console.print)
            engine.dispose()
    return rows


def simulate(
    engine: Engine,
    world: World,
    days: int,
    *,
    limit: int | None = None,
    tell: Any = lambda row: None,
) -> list[dict[str, Any]]:
    """Collect every hour for some days, beginning with channels of which nothing is known."""
    now, channels = [world.start], len(world.channels.each)
    forecasts = Forecasts(world, round(FORECASTS_PER_CHANNEL * channels), SEED)
    kept = MemoryTargets(world, forecasts)
    rows = []
    with closing(QuotaLedger(engine, lambda: now[0], world="synthetic", limit=limit)) as ledger:
        youtube = SimulatedYouTube(world, lambda: now[0], ledger.charge)
        collector = MemoryCollector(engine, youtube, lambda: now[0], ledger, kept, forecasts)
        kept.add_channels(now[0])
        for day in range(1, days + 1):
            began, looks, waits = now[0], youtube.looks, 0
            forecasts.ask(began, kept)
            while now[0] < began + DAY:
                try:
                    collector.look()
                except QuotaExhausted:
                    waits += 1
                now[0] += ROUND
            row: dict[str, Any] = {"day": day, **_units(youtube, began + 12 * ROUND)}
            row |= {"rounds out of units": waits, "looks": youtube.looks - looks}
            # A label is read from both sides: the look after one may come up to six hours later.
            read, labels = forecasts.covered(began - 6 * ROUND, now[0] - 6 * ROUND)
            row["labels"] = labels
            row["covered"] = round(read / labels, 3) if labels else None
            row["overdue"] = sum(t.next_due_at < now[0] - 2 * ROUND for t in kept.watched(now[0]))
            rows.append(row)
            tell(row)
    return rows


def _units(youtube: SimulatedYouTube, moment: datetime) -> dict[str, int]:
    """Give the requests that were sent on a day of California's; never more than it allows."""
    day, told = quota_day(moment), {}
    for bucket in (LIST, STATISTICS):
        told[bucket] = youtube.sent[bucket][day]
        assert told[bucket] <= DAILY_LIMITS[bucket]
    return told
