"""PostgreSQL is away for a moment: whoever works with it waits, and does what it was about to."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine, make_url

from ingestion.collecting import watch
from ingestion.collector import Collector
from ingestion.copying import copy_out
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.landing import Landing
from ingestion.patience import through_outages
from ingestion.quota import QuotaLedger, usage
from ingestion.warehouse import open_warehouse
from ingestion.youtube import GoogleYouTubeClient
from tests.reliability.tcp_proxy import LOSING_A_COMMIT, TcpProxy, proxied

END = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(5, days=9, channels=2, end=END)


@pytest.fixture
def emulator(world: World) -> Iterator[RunningEmulator]:
    with running_emulator(world) as running:
        yield running


@pytest.fixture
def client(emulator: RunningEmulator) -> Iterator[GoogleYouTubeClient]:
    one = GoogleYouTubeClient(
        "key", clock=emulator.now, charge=lambda bucket, urgent: None, endpoint=emulator.address
    )
    yield one
    one.close()


@pytest.fixture
def proxy(database_url: str) -> Iterator[TcpProxy]:
    port = make_url(database_url).port
    assert port is not None
    with proxied(port, seed=1) as one:
        yield one


@pytest.fixture
def engine(proxy: TcpProxy, database_url: str, schema: str) -> Iterator[Engine]:
    """The warehouse behind the proxy."""
    one = open_warehouse(proxy.before(database_url), schema)
    yield one
    one.dispose()


@pytest.mark.parametrize("landed", [0, 1])
def test_a_watching_collector_outlives_an_outage_at_the_start_of_a_round(
    landed: int,
    emulator: RunningEmulator,
    client: GoogleYouTubeClient,
    proxy: TcpProxy,
    engine: Engine,
    world: World,
    tmp_path: Path,
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    landing = Landing(str(tmp_path / "landing"))
    there = world.visible(world.uploads(0, emulator.now().timestamp()), emulator.now().timestamp())
    for video in there[:landed].tolist():
        answer = client.videos([world.videos.video_ids[video]])
        landing.put(
            answer.body,
            request=answer.request,
            headers=answer.headers,
            etag=answer.etag,
            fetched_at=answer.fetched_at,
            world="synthetic",
        )
    emulator.advance(emulator.now() + timedelta(hours=1))
    collector = Collector(engine, client, landing, clock=emulator.now, world="synthetic")
    proxy.refuse_for(0.5)
    report = watch(collector, emulator.now, tell=pytest.fail, pause=interrupt)
    assert proxy.broken > 0
    assert report.ingested.loaded == landed


def test_a_copy_whose_connection_is_lost_is_repeated(engine: Engine) -> None:
    queries = ["SELECT 1 AS n", "SELECT 1 AS n WHERE pg_terminate_backend(pg_backend_pid())"]

    def read() -> pa.Table:
        with engine.connect() as connection:
            return copy_out(connection, queries.pop(), [], pa.schema([("n", pa.int64())]))

    assert through_outages(read).to_pylist() == [{"n": 1}]


def test_units_are_given_back_once_when_nobody_hears_that_they_were(
    proxy: TcpProxy, engine: Engine
) -> None:
    first, second = (QuotaLedger(engine, lambda: END, world="real", block=20) for _ in range(2))
    first.charge()
    with closing(second):
        second.charge()
        proxy.mode = LOSING_A_COMMIT
        first.close()
        assert proxy.broken == 1
    assert {b.bucket: b.used for b in usage(engine, END)}["list"] == 2


def test_units_are_given_back_after_an_outage(proxy: TcpProxy, engine: Engine) -> None:
    with closing(QuotaLedger(engine, lambda: END, world="real", block=20)) as ledger:
        ledger.charge()
        engine.dispose()
        proxy.refuse_for(0.5)
    assert proxy.broken > 0
    assert {b.bucket: b.used for b in usage(engine, END)}["list"] == 1
