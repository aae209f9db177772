"""Everything a collection stands on is killed or broken at random moments, seeded and bounded.

Nothing that was landed is lost, nothing is there twice, units charged are units used but for a
block per kill, and collectors go on by themselves. A naive collector fails the same test.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from moto.server import ThreadedMotoServer

from foreview.local import Servers
from ingestion import warehouse
from ingestion.emulator.faults import Fault, Faults
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.errors import LandingError
from ingestion.landing import Landing
from tests.conftest import made_state_dir
from tests.reliability.collecting_process import command
from tests.reliability.tcp_proxy import HEALTHY, REFUSING, RESETTING, STALLING, proxied

END = datetime(2026, 6, 1, 12, tzinfo=UTC)
SEED, ROUNDS, BLOCK = 20260601, 9, 20
SCHEMA = "chaos"
SETTLE_SECONDS = 90
LANDING = "s3://chaos/landing"


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(5, days=12, channels=8, end=END)


@pytest.fixture
def private() -> Iterator[Servers]:
    """A PostgreSQL of one's own, which may be killed."""
    for directory in made_state_dir():
        servers = Servers(directory)
        servers.start(linked=True, mlflow=False)
        yield servers


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of an S3 with one bucket; every client of this test goes there."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    port = server.get_host_and_port()[1]
    import boto3

    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="chaos")
    yield port
    server.stop()


@dataclass
class Collecting:
    """Collector processes, what was done to them, and their output."""

    arguments: list[str]
    environment: dict[str, str]
    output: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kills: int = 0

    def start(self) -> None:
        with self.output.open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command(*self.arguments), env=self.environment, stdout=log, stderr=log
                )
            )

    def kill(self, place: int) -> None:
        process = self.processes.pop(place)
        process.kill()
        process.wait()
        self.kills += 1

    def kill_while_gathering(self) -> None:
        """Kill a naive collector in the gap between its plan and its rows, however long it takes.

        At random moments a slow machine may never hit it.
        """
        began = time.monotonic()
        while time.monotonic() < began + SETTLE_SECONDS:
            last = self.output.read_text().splitlines()[-1:]
            for place, process in enumerate(self.processes):
                if last == [f"gathering {process.pid}"]:
                    self.kill(place)
                    return
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Findings:
    """What was found when all was quiet again."""

    lost: int
    twice: int
    landed: int
    charged: int
    used: int
    kills: int
    survived: int
    log: str


def run_chaos(kind: str, seed: int, private: Servers, s3: int, world: World, tmp: Path) -> Findings:
    database = private.environment()["FOREVIEW_DATABASE_URL"]
    engine = warehouse.open_warehouse(database, SCHEMA)
    warehouse.migrate(engine, SCHEMA)
    faults = Faults(seed, [Fault("503", share=0.02), Fault("cut", share=0.02)])
    dice = random.Random(seed)
    with (
        proxied(s3, seed) as proxy,
        running_emulator(world, now=world.start, faults=faults) as emulator,
    ):
        collecting = Collecting(
            [kind, database, SCHEMA, LANDING, emulator.address],
            {**os.environ, "AWS_ENDPOINT_URL": proxy.address, "PYTHONPATH": str(Path.cwd())},
            tmp / "collectors.log",
        )
        try:
            _add_targets(engine, emulator, world)
            for _ in range(2):
                collecting.start()
            time.sleep(4)
            if kind == "naive":
                emulator.advance(emulator.now() + timedelta(hours=9))
                collecting.kill_while_gathering()
                collecting.start()
            for _ in range(ROUNDS):
                emulator.advance(emulator.now() + timedelta(hours=9))
                time.sleep(dice.uniform(0.2, 1.5))
                _strike(dice, collecting, private, proxy)
                time.sleep(dice.uniform(0.2, 1.0))
                proxy.mode = HEALTHY
            faults.clear()
            emulator.advance(emulator.now() + timedelta(hours=12))
            _settle(database, emulator, kind)
            survived = sum(process.poll() is None for process in collecting.processes)
        finally:
            collecting.end()
        engine.dispose()
        return _findings(database, emulator, collecting, survived)


def _add_targets(engine, emulator: RunningEmulator, world: World) -> None:
    from ingestion.collecting import open_client
    from ingestion.collector import Collector

    with open_client(
        engine, clock=emulator.now, world="synthetic", api_key=None, endpoint=emulator.address
    ) as client:
        collector = Collector(
            engine, client, Landing(LANDING), clock=emulator.now, world="synthetic"
        )
        collector.add(channel.channel_id for channel in world.channels.each)


def _strike(dice: random.Random, collecting: Collecting, private: Servers, proxy) -> None:
    what = dice.choice(["collector", "collector", "postgresql", REFUSING, RESETTING, STALLING])
    if what == "collector":
        collecting.kill(dice.randrange(len(collecting.processes)))
        collecting.start()
    elif what == "postgresql":
        private._process("postgresql").kill()
        time.sleep(dice.uniform(0.1, 1.0))
        private.start(linked=True, mlflow=False)
    else:
        proxy.mode = what


def _settle(database: str, emulator: RunningEmulator, kind: str) -> None:
    """Wait until nothing is due, nobody asks any more, and what is landed is in.

    A collector that waits for PostgreSQL to come back may sleep for a quarter of a minute; a naive
    one does not say what it brought in, and is given that long too.
    """
    began, calls = time.monotonic(), -1
    while time.monotonic() < began + SETTLE_SECONDS:
        refs = set(Landing(LANDING).refs())
        with psycopg.connect(database, options=f"-c search_path={SCHEMA}") as connection:
            due = connection.execute(
                "SELECT count(*) FROM collection_targets WHERE gone_at IS NULL "
                "AND next_due_at <= %s",
                (emulator.now(),),
            ).fetchone()[0]
            refs -= {ref for (ref,) in connection.execute("SELECT raw_ref FROM ingested_responses")}
        before, calls = calls, sum(emulator.app.quota.used.values())
        is_in = not refs if kind == "real" else time.monotonic() > began + 20
        if due == 0 and calls == before and is_in:
            return
        # What a dead collector landed is taken up when its lease is over, by the world's clock.
        if kind == "real":
            emulator.advance(emulator.now() + timedelta(minutes=20))
        time.sleep(1.5)


def _findings(
    database: str, emulator: RunningEmulator, collecting: Collecting, survived: int
) -> Findings:
    landing = Landing(LANDING)
    landed: set[tuple[str, datetime]] = set()
    for ref in landing.refs():
        body = landing.get(ref)
        document = json.loads(body.body)
        if document["kind"] in ("youtube#videoListResponse", "youtube#batchGetStatsResponse"):
            landed |= {(item["id"], body.fetched_at) for item in document["items"]}
    with psycopg.connect(database, options=f"-c search_path={SCHEMA}") as connection:
        rows = connection.execute(
            "SELECT video_id, observed_at, raw_ref FROM video_snapshots"
        ).fetchall()
        charged = connection.execute("SELECT sum(used) FROM quota_ledger").fetchone()[0]
    known = {(video_id, observed_at.astimezone(UTC)) for video_id, observed_at, _ in rows}
    # While the clock stands still a video may truly be looked at twice at one moment, in two
    # answers; an answer may be in but once.
    items = [(video_id, raw_ref) for video_id, _, raw_ref in rows]
    return Findings(
        lost=len(landed - known),
        twice=len(items) - len(set(items)),
        landed=len(landed),
        charged=charged,
        used=sum(emulator.app.quota.used.values()),
        kills=collecting.kills,
        survived=survived,
        log=collecting.output.read_text()[-3000:],
    )


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_nothing_landed_is_lost_or_doubled_whatever_dies(
    seed: int, private: Servers, s3: int, world: World, tmp_path: Path
) -> None:
    found = run_chaos("real", seed, private, s3, world, tmp_path)
    assert found.landed > 100, found  # how many a slow machine gets to, while it is shot at
    assert (found.lost, found.twice) == (0, 0), found
    assert found.survived == 2, found
    # Each process that dies leaves up to a block per bucket and urgency; those alive hold as much.
    blocks = (found.kills + found.survived + 1) * 3
    assert found.used <= found.charged <= found.used + blocks * BLOCK, found


@pytest.mark.trial
@pytest.mark.timeout(300)
def test_a_naive_collector_is_caught(
    private: Servers, s3: int, world: World, tmp_path: Path
) -> None:
    found = run_chaos("naive", SEED, private, s3, world, tmp_path)
    assert found.lost > 0 or found.twice > 0, found


@pytest.mark.timeout(120)
def test_a_disk_that_fills_up_or_is_made_read_only_stops_clearly_and_is_resumed(
    database_url: str, schema: str, world: World, tmp_path: Path
) -> None:
    from ingestion.collecting import collect_due, open_client
    from ingestion.collector import Collector

    directory = tmp_path / "disk"
    directory.mkdir()
    if not _mount(directory, "size=64k"):
        pytest.skip("needs the right to mount a small disk")
    engine = warehouse.open_warehouse(database_url, schema)
    try:
        with (
            running_emulator(world, now=world.start) as emulator,
            open_client(
                engine, clock=emulator.now, world="synthetic", api_key=None,
                endpoint=emulator.address,
            ) as client,
        ):  # fmt: skip
            landing = Landing(str(directory))
            collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
            collector.add([world.channels.each[0].channel_id])
            with pytest.raises(LandingError, match="FOREVIEW_LANDING_URL"):
                _collect_until_full(collector, emulator)
            assert _mount(directory, "remount,size=32m")
            assert collect_due(collector).calls > 0
            emulator.advance(emulator.now() + timedelta(hours=13))
            assert _mount(directory, "remount,ro")
            with pytest.raises(LandingError, match="FOREVIEW_LANDING_URL"):
                collector.look()
            assert _mount(directory, "remount,rw")
            assert collect_due(collector).calls > 0
            assert not list(directory.rglob(".writing-*"))
            landed, known = _landed_and_known(landing, engine)
        assert landed == known
        assert landed
    finally:
        engine.dispose()
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _collect_until_full(collector, emulator: RunningEmulator) -> None:
    for _ in range(60):
        collector.look()
        emulator.advance(emulator.now() + timedelta(hours=4))


def _mount(directory: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _landed_and_known(landing: Landing, engine) -> tuple[set, set]:
    """Give what answers in the landing and rows in the warehouse say was observed."""
    landed = set()
    for ref in landing.refs():
        body = landing.get(ref)
        document = json.loads(body.body)
        if document["kind"] in ("youtube#videoListResponse", "youtube#batchGetStatsResponse"):
            landed |= {(item["id"], body.fetched_at) for item in document["items"]}
    rows = warehouse.read_snapshots(engine).to_pylist()
    return landed, {(row["video_id"], row["observed_at"].astimezone(UTC)) for row in rows}


@pytest.mark.timeout(120)
def test_two_collectors_share_the_work_and_the_quota(
    database_url: str, schema: str, world: World, tmp_path: Path
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ingestion.collecting import open_client
    from ingestion.collector import Collector
    from ingestion.quota import usage

    engine = warehouse.open_warehouse(database_url, schema)
    with running_emulator(world) as emulator:

        def collected(_: int) -> int:
            with open_client(
                engine, clock=emulator.now, world="synthetic", api_key=None,
                endpoint=emulator.address,
            ) as client:  # fmt: skip
                landing = Landing(str(tmp_path / "landing"))
                one = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
                one.add(c.channel_id for c in world.channels.each)
                return one.look().videos

        with ThreadPoolExecutor(3) as threads:
            looks = sum(threads.map(collected, range(3)))
        rows = warehouse.read_snapshots(engine)
        charged = sum(b.used for b in usage(engine, emulator.now()) if "@" in b.bucket)
        assert charged == sum(emulator.app.quota.used.values())
    assert looks == rows.num_rows == len(set(rows["video_id"].to_pylist()))
    engine.dispose()
