"""The use cases of collection: a round over what is due, or a simulated stretch of time."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.error import URLError

from sqlalchemy import Engine

from feature_repo.clock import Clock
from ingestion.collect_report import CollectReport
from ingestion.collector import Collector
from ingestion.errors import IngestionError, LandingError, WarehouseUnavailable
from ingestion.landing import Landing
from ingestion.quota import QuotaExhausted, QuotaLedger, reset_after
from ingestion.youtube import GoogleYouTubeClient, YouTubeClient, YouTubeUnavailable

STEP = timedelta(hours=6)
# Between two looks at what is due, and at most while there is no quota.
_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
# The emulator accepts any key.
_EMULATOR_KEY = "emulator"

Progress = Callable[[datetime, CollectReport], None]


class RetentionNotSet(IngestionError):
    """Data of the real API may not be collected before somebody said how long it is kept."""


class SteppedClock(Protocol):
    """A world's clock that moves when told to: an emulator, here or over HTTP."""

    def now(self) -> datetime:
        """Give the world's present."""

    def advance(self, to: datetime) -> datetime:
        """Move the clock on to a moment."""


class EmulatorClock:
    """The clock of an emulator at an address."""

    def __init__(self, address: str) -> None:
        self._url = f"{address.rstrip('/')}/emulator"

    def now(self) -> datetime:
        """Give the world's present."""
        return self._ask(None)

    def advance(self, to: datetime) -> datetime:
        """Move the clock on to a moment; raises IngestionError beyond the world's end."""
        return self._ask(json.dumps({"now": to.isoformat()}).encode())

    def step(self) -> datetime:
        """Move a recorded world on to its next instant; raises IngestionError at the end."""
        return self._ask(json.dumps({"step": True}).encode())

    @property
    def world(self) -> str:
        """Name the world that is shown: `real` or `synthetic`."""
        return str(self._answer("clock", None)["world"])

    @property
    def end(self) -> datetime:
        """Give the last moment that can be shown."""
        return datetime.fromisoformat(self._answer("clock", None)["end"])

    def requests(self) -> list[dict[str, str]]:
        """Give the requests that cover what a recorded world shows now; none of a synthetic one."""
        found: list[dict[str, str]] = self._answer("requests", None)["requests"]
        return found

    def _ask(self, content: bytes | None) -> datetime:
        return datetime.fromisoformat(self._answer("clock", content)["now"])

    def _answer(self, what: str, content: bytes | None) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._url}/{what}", content, timeout=10) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            raise IngestionError(json.load(error)["error"]) from error
        except URLError as error:
            raise IngestionError(
                f"no emulator answers at {self._url}: start `foreview emulate`"
            ) from error


def collect(
    engine: Engine, client: YouTubeClient, landing: Landing, *, clock: Clock, world: str
) -> CollectReport:
    """Collect what is due of a world, as `collect_due` does."""
    return collect_due(Collector(engine, client, landing, clock=clock, world=world))


def collect_due(collector: Collector) -> CollectReport:
    """Look once at everything that is due and ingest it; doing it again at once does nothing.

    Raises:
        QuotaExhausted: The day's units are used up; what was landed before is ingested.
    """
    recovered = collector.recover()
    report = collector.look()
    report.ingested += recovered
    return report


def watch(
    collector: Collector,
    clock: Clock,
    *,
    tell: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> CollectReport:
    """Collect what falls due until interrupted, going on after whatever passes by itself.

    A bad key and a setting that is missing end it; a used-up quota, a YouTube, PostgreSQL or
    landing that does not answer are told and waited for.
    """
    total = CollectReport()
    with suppress(KeyboardInterrupt):
        while True:
            try:
                total += collect_due(collector)
            except QuotaExhausted as error:
                tell(str(error))
                wait = (reset_after(clock()) - clock()).total_seconds()
                pause(min(max(wait, 1.0), _LONGEST_PAUSE))
            except (YouTubeUnavailable, WarehouseUnavailable, LandingError) as error:
                tell(f"{error}; trying again in {_PAUSE:.0f} s")
            pause(_PAUSE)
    return total


def simulate(
    collector: Collector,
    clock: SteppedClock,
    *,
    end: datetime,
    step: timedelta = STEP,
    progress: Progress | None = None,
) -> CollectReport:
    """Step a world's clock to `end`, collecting at each step.

    Args:
        collector: Collects that world by that clock.
        clock: The world's clock.
        end: Where to stop; the last step may be shorter.
        step: How far apart the rounds are.
        progress: Called after each round with the moment and the totals so far.

    Raises:
        QuotaExhausted: The day's units are used up; what was landed before is ingested.
    """
    total, now = CollectReport(), clock.now()
    while True:
        total += collector.look()
        if progress is not None:
            progress(now, total)
        if now >= end:
            return total
        now = clock.advance(min(now + step, end))


def simulate_recorded(
    collector: Collector,
    clock: EmulatorClock,
    *,
    end: datetime,
    progress: Progress | None = None,
) -> CollectReport:
    """Step a recorded world's clock to `end` and observe at each instant all that was recorded."""
    total, now = CollectReport(), clock.now()
    while True:
        total += observe_recorded(collector, clock)
        if progress is not None:
            progress(now, total)
        if now >= min(end, clock.end):
            return total
        now = clock.step()


def observe_recorded(collector: Collector, clock: EmulatorClock) -> CollectReport:
    """Observe what a recorded world shows at its clock's instant, asking as it was asked then."""
    total = CollectReport()
    for request in clock.requests():
        if "regionCode" in request:
            total += collector.chart(request["regionCode"])
        elif request["method"] == "channels.list":
            total += collector.channels_once(request["id"].split(","))
        else:
            total += collector.videos_once(request["id"].split(","))
    return total


def world_of(endpoint: str | None) -> str:
    """Tell which world an API endpoint shows: an emulator says so, YouTube is real."""
    return "real" if endpoint is None else (emulated_world(endpoint) or "real")


def emulated_world(endpoint: str | None) -> str | None:
    """Tell which world an emulator shows; null where an endpoint is none."""
    if endpoint is None:
        return None
    try:
        return EmulatorClock(endpoint).world
    except (IngestionError, ValueError, KeyError):
        return None


@contextmanager
def open_client(
    engine: Engine, *, clock: Clock, world: str, api_key: str | None, endpoint: str | None
) -> Iterator[YouTubeClient]:
    """Give a client whose requests are charged to the ledger.

    Raises:
        IngestionError: No key is set, and the endpoint is no emulator.
    """
    with open_metered_client(
        engine, clock=clock, world=world, api_key=api_key, endpoint=endpoint
    ) as (client, _):
        yield client


@contextmanager
def open_metered_client(
    engine: Engine, *, clock: Clock, world: str, api_key: str | None, endpoint: str | None
) -> Iterator[tuple[YouTubeClient, QuotaLedger]]:
    """Give a client and the ledger it charges; an emulator's units are counted apart.

    Raises:
        IngestionError: No key is set, and the endpoint is no emulator.
    """
    emulated = world == "synthetic" or emulated_world(endpoint) is not None
    key = api_key or (_EMULATOR_KEY if emulated else None)
    if key is None:
        raise IngestionError(
            "YOUTUBE_API_KEY is not set: create a key at "
            "https://console.cloud.google.com/apis/credentials, or start `foreview emulate` and "
            "set FOREVIEW_YOUTUBE_ENDPOINT to its address"
        )
    whose = "recorded" if emulated and world == "real" else world
    with (
        closing(QuotaLedger(engine, clock, world=whose)) as ledger,
        closing(
            GoogleYouTubeClient(
                key,
                clock=clock,
                charge=ledger.charge,
                refused=ledger.refused,
                endpoint=endpoint,
            )
        ) as client,
    ):
        yield client, ledger


def require_retention(world: str, retention_days: int | None, endpoint: str | None = None) -> None:
    """Refuse to collect from the real API without a retention; what an emulator shows is exempt."""
    if emulated_world(endpoint) is not None:
        return
    if world == "real" and retention_days is None:
        raise RetentionNotSet(
            "FOREVIEW_RETENTION_DAYS is not set: YouTube's default policy allows statistics to be "
            "kept for 30 days unless refreshed, so set 30, or what your audit allows"
        )
