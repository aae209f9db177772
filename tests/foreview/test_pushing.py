"""What was just collected is forecast from at once, and is what a build would have made of it."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from feature_repo import schemas
from feature_repo.bundle import bundle_digest
from feature_repo.online_writer import ViewLayout, write
from ingestion import feature_tables, warehouse
from ingestion.collecting import collect_due, open_client, simulate
from ingestion.collector import Collector
from ingestion.copying import copy_out
from ingestion.emulator.running import running_emulator
from ingestion.emulator.world import synthetic_world
from ingestion.landing import Landing
from ingestion.pushing import Pusher
from serving.app import run_in_thread
from serving.registry import model_name
from serving.settings import ServingSettings
from tests.reliability.tcp_proxy import proxied
from tests.serving.bundles import copy_bundle, write_bundle
from tests.serving.conftest import register

END = datetime(2026, 7, 1, tzinfo=UTC)
WORLD = "real"  # as far as stores know: no other module has a champion of that world


@pytest.fixture(scope="module")
def redis_address(redis_url):
    """A Redis database of one's own, emptied before and after."""
    address = urlsplit(redis_url)._replace(path="/11").geturl()
    with redis.Redis.from_url(address) as client:
        client.flushdb()
        yield address
        client.flushdb()


@pytest.fixture
def online(redis_address):
    with redis.Redis.from_url(redis_address) as client:
        client.flushdb()
        yield client


@pytest.fixture
def engine(database_url, schema):
    engine = warehouse.open_warehouse(database_url, schema)
    yield engine
    engine.dispose()


@pytest.fixture
def emulator():
    """A small world that stands some days before its end."""
    with running_emulator(synthetic_world(5, days=9, channels=2, end=END)) as emulator:
        yield emulator


@pytest.fixture
def collecting(engine, emulator, tmp_path):
    """A way to make a collector that pushes, over connections that are closed afterwards."""
    landing = Landing(str(tmp_path / "landing"))
    with open_client(
        engine, clock=emulator.now, world=WORLD, api_key=None, endpoint=emulator.address
    ) as client:

        def collector(pusher):
            return Collector(engine, client, landing, clock=emulator.now, world=WORLD, after=pusher)

        first = collector(lambda videos, channels: None)
        first.add(page.channel_id for page in synthetic_world(5, days=9, channels=2, end=END)
                  .channels.each)  # fmt: skip
        yield collector


def dump(client):
    return {key: client.hgetall(key) for key in client.scan_iter(count=1000)}


def stored(engine):
    """Read every feature table, in the order of its key."""
    read = {}
    with engine.connect() as connection:
        for name, schema in schemas.FEATURE_TABLES.items():
            columns = ", ".join(f'"{column}"' for column in schema.names)
            query = f"SELECT {columns} FROM {name} ORDER BY 1, 2, 3"
            read[name] = copy_out(connection, query, [], schema)
    return read


def built(engine, client):
    """Give what a whole build makes of the warehouse: its tables, and what of them is online."""
    client.flushdb()
    feature_tables.build(engine)
    tables = stored(engine)
    for name, rows in tables.items():
        write(client, rows, ViewLayout.of(name))
    return tables, dump(client)


def test_every_batch_leaves_online_and_in_the_tables_what_a_build_would(
    engine, emulator, collecting, online
):
    pusher = Pusher(engine, online)
    collector = collecting(pusher)
    simulate(collector, emulator, end=END - timedelta(days=3), step=timedelta(days=1))
    pushed, tables = dump(online), stored(engine)
    assert len(pushed) > 5
    rebuilt, rewritten = built(engine, online)
    assert pushed == rewritten
    for name, table in rebuilt.items():
        assert tables[name].equals(table), name
    assert pusher.behind == 0


def test_a_store_that_is_away_stops_no_collection_and_is_caught_up_with(
    engine, emulator, collecting, online
):
    with redis.Redis(port=1, retry=Retry(NoBackoff(), 0)) as nobody:
        pusher = Pusher(engine, nobody)
        emulator.advance(END - timedelta(days=4))
        collect_due(collecting(pusher))
        assert pusher.behind > 3
        assert "Redis is away" in pusher.told()[-1]
        pusher._client = online
        assert pusher.finish()["behind"] == 0
    pushed = dump(online)
    assert built(engine, online)[1] == pushed


def test_an_outage_of_postgresql_is_waited_for_wherever_it_begins(
    engine, emulator, collecting, online, database_url, schema
):
    with proxied(make_url(database_url).port, seed=1) as proxy:
        behind = warehouse.open_warehouse(proxy.before(database_url), schema)

        def outage():
            behind.dispose()
            proxy.broken = 0
            proxy.refuse_for(0.3)

        outages = [outage]
        pusher = Pusher(behind, online, lambda: outages and outages.pop()(), when="at the end")
        emulator.advance(END - timedelta(days=4))
        collect_due(collecting(pusher))
        outage()  # before features are computed; the other comes before they are written
        assert pusher.finish()["behind"] == 0
        assert proxy.broken > 0
        behind.dispose()
    pushed, tables = dump(online), stored(engine)
    assert (tables, pushed) == built(engine, online)


def test_what_the_tables_refused_is_pushed_again(engine, emulator, collecting, online):
    pusher = Pusher(engine, online, when="at the end")
    emulator.advance(END - timedelta(days=4))
    collect_due(collecting(pusher))
    refuse = "ALTER TABLE video_performance ADD CONSTRAINT closed CHECK (false) NOT VALID"
    with engine.begin() as connection:
        connection.execute(text(refuse))
    with pytest.raises(IntegrityError):
        pusher.push()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE video_performance DROP CONSTRAINT closed"))
    assert pusher.finish()["behind"] == 0
    tables = stored(engine)
    assert tables == built(engine, online)[0]


def test_nothing_is_pushed_where_there_is_no_online_store(engine):
    pusher = Pusher(engine, None)
    pusher({"a video"}, {"a channel"})
    assert (pusher.finish(), pusher.told(), pusher.behind) == (None, [], 0)


@pytest.fixture
def api(engine, schema, database_url, redis_address, mlflow_uri, emulator, tmp_path):
    """The service with a small model, by the emulator's clock."""
    (tmp_path / "trained").mkdir()
    write_bundle(tmp_path / "trained", "synthetic")
    contract = copy_bundle(tmp_path / "trained", tmp_path / "bundle", WORLD)
    register(mlflow_uri, tmp_path / "bundle", WORLD, {"bundle_digest": bundle_digest(contract)})
    settings = ServingSettings(
        _env_file=None,
        state_dir=tmp_path / "state",
        redis_url=redis_address,
        database_url=database_url,
        database_schema=schema,
        mlflow_tracking_uri=mlflow_uri,
        world=WORLD,
        redis_timeout_seconds=2.0,
    )
    with (
        run_in_thread(settings, emulator.now) as server,
        httpx.Client(base_url=server.address, timeout=30) as client,
    ):
        yield client
    name = {"name": model_name(WORLD)}
    httpx.request(
        "DELETE", f"{mlflow_uri}/api/2.0/mlflow/registered-models/delete", json=name, timeout=30
    ).raise_for_status()


def test_a_forecast_is_made_from_what_was_just_collected(engine, emulator, collecting, online, api):
    collector = collecting(Pusher(engine, online))
    simulate(collector, emulator, end=END - timedelta(days=3), step=timedelta(days=2))
    before = current_views(api, latest_views(engine))
    simulate(collector, emulator, end=END - timedelta(days=1), step=timedelta(days=1))
    expected = latest_views(engine)
    assert current_views(api, expected) == expected
    moved = {video for video, seen in before.items() if expected[video] != seen}
    assert moved
    assert all(expected[video][0] > before[video][0] for video in moved)


def latest_views(engine):
    """Read when each video was last observed, and with how many views."""
    query = (
        "SELECT DISTINCT ON (video_id) video_id, observed_at, view_count FROM video_snapshots"
        " ORDER BY video_id, observed_at DESC"
    )
    with engine.connect() as connection:
        return {video: (seen, views) for video, seen, views in connection.exec_driver_sql(query)}


def current_views(api, video_ids):
    """Ask the service for the same."""
    asked = {"video_ids": sorted(video_ids), "days": [1]}
    answers = api.post("/v1/forecasts", json=asked).raise_for_status().json()["forecasts"]
    return {
        one["video_id"]: (
            datetime.fromisoformat(one["observed_at"]),
            one["metrics"]["views"]["current"],
        )
        for one in answers
    }
