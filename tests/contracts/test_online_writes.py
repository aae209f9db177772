"""What our writers put into Redis is what Feast's own store puts there, byte by byte."""

import threading
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import redis
from feast import RepoConfig, ValueType
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.utils import _convert_arrow_to_proto

from feature_repo import feature_views, online_writer, schemas
from feature_repo import online_layout as layout
from feature_repo.clock import fixed_clock
from feature_repo.online_layout import PROJECT
from feature_repo.online_writer import ViewLayout, Written, latest, write
from feature_repo.store import feast_environment
from feature_repo.stores.age_limited_redis import AgeLimitedRedisOnlineStore
from ingestion.feature_rows import feature_rows
from ingestion.feature_tables import build
from ingestion.materializing import backfill, built_window, materialize
from ingestion.online_expiry import Expiry
from tests.worlds import DAY, HOUR, NOON, forget, small_world, snapshot, store, version, world

VIEWS = {name: getattr(feature_views, name) for name in schemas.FEATURE_TABLES}
# Views learn their entities' columns when they are registered.
pytestmark = pytest.mark.usefixtures("feature_store")
OURS = "feature_repo.stores.age_limited_redis.AgeLimitedRedisOnlineStore"
VIDEO_KEY = layout.key_encoder("video_id")


@pytest.fixture(scope="module")
def tables():
    """Feature rows of a small world: late rows, nulls and texts of many scripts are in them."""
    return feature_rows(*small_world("o"))


@pytest.fixture
def client(online_url):
    with redis.Redis.from_url(online_url) as client:
        client.flushdb()
        yield client


def dump(client):
    return {key: client.hgetall(key) for key in client.scan_iter(count=1000)}


def config(url, kind):
    where = feast_environment("", "", url)["FOREVIEW_FEAST_REDIS"]
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry="unused.db",
        online_store={"type": kind, "connection_string": where},
        entity_key_serialization_version=3,
    )


def sdk_write(store, url, kind, view, rows):
    """Write rows as Feast's materialization hands them to an online store."""
    join_keys = dict.fromkeys(VIEWS[view].join_keys, ValueType.STRING)
    protos = _convert_arrow_to_proto(rows, VIEWS[view], join_keys)
    store.online_write_batch(config(url, kind), VIEWS[view], protos, None)
    store._get_client(config(url, kind).online_store).close()


def fast(url, view, rows):
    with redis.Redis.from_url(url) as client:
        write(client, rows, ViewLayout.of(view))


def plug_in(url, view, rows):
    sdk_write(AgeLimitedRedisOnlineStore(), url, OURS, view, rows)


def stock(url, view, rows):
    sdk_write(RedisOnlineStore(), url, "redis", view, rows)


def strange_rows():
    """Rows of extreme values, with texts and moments at the edges of their encodings."""
    random, numbers = np.random.default_rng(5), [0.0, -0.0, 1e-320, np.inf, -np.inf, 1e308, np.nan]
    texts = ["", "é" * 100, "x" * 127, "x" * 128, "\0", "🎉", "views_1"]
    columns = {
        "video_id": [f"strange-{n}" for n in range(6)] + ["Ünïted"],
        "event_timestamp": [NOON, NOON.replace(microsecond=1), NOON.replace(microsecond=999_999),
                            NOON - 20_400 * DAY, NOON + 30_000 * DAY, NOON, NOON],
        "created_timestamp": [NOON] * 7,
        "view_definition": texts,
    }  # fmt: skip
    for field in schemas.VIDEO_PERFORMANCE:
        if field.name not in columns:
            values = [None if random.random() < 0.3 else random.choice(numbers) for _ in texts]
            columns[field.name] = pa.array(values, pa.float64())  # a NaN stays one here
    return pa.table(columns, schema=schemas.VIDEO_PERFORMANCE)


@pytest.mark.parametrize("ours", [fast, plug_in])
@pytest.mark.parametrize("view", VIEWS)
def test_rows_are_written_as_feast_writes_them(ours, view, tables, client, online_url):
    rows = tables[view].take(pa.array(latest(tables[view], ViewLayout.of(view).join_key)))
    stock(online_url, view, rows)
    expected = dump(client)
    assert len(expected) == len(rows) > 0
    client.flushdb()
    ours(online_url, view, rows)
    assert dump(client) == expected


@pytest.mark.parametrize("ours", [fast, plug_in])
def test_strange_values_are_written_as_feast_writes_them(ours, client, online_url):
    stock(online_url, "video_performance", strange_rows())
    expected = dump(client)
    client.flushdb()
    ours(online_url, "video_performance", strange_rows())
    assert dump(client) == expected


def rows_of(*moments, video_id="one"):
    """Rows of a video: when observed, when known, how many views."""
    rows = [
        {"video_id": video_id, "event_timestamp": event, "created_timestamp": created,
         "view_definition": "views_1", "view_count": views}
        for event, created, views in moments
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schemas.VIDEO_PERFORMANCE)


def views_online(client, video_id="one"):
    field = layout.feature_field("video_performance", "view_count")
    return layout.decode_value(client.hget(VIDEO_KEY(video_id), field))


@pytest.mark.parametrize("ours", [fast, plug_in])
def test_the_latest_row_stands_however_they_come(ours, client, online_url):
    def put(*moments):
        ours(online_url, "video_performance", rows_of(*moments))
        return views_online(client)

    assert put((NOON, NOON, 1.0)) == 1.0
    assert put((NOON - HOUR, NOON + DAY, 2.0)) == 1.0  # older, though known later
    assert put((NOON, NOON + HOUR, 3.0)) == 3.0  # a correction
    late = timedelta(microseconds=1)
    assert put((NOON + late, NOON + late, 4.0), (NOON + late, NOON + HOUR, 5.0),
               (NOON, NOON + DAY, 6.0)) == 5.0  # fmt: skip
    assert put((NOON, NOON, 7.0)) == 5.0


def test_what_became_of_each_row_is_counted(client):
    view = ViewLayout.of("video_performance")
    assert write(client, rows_of((NOON, NOON, 1.0)), view) == Written(1, 0, 0)
    assert write(client, rows_of((NOON - DAY, NOON, 1.0)), view) == Written(0, 1, 0)
    assert write(client, rows_of(), view) == Written()


def test_rows_are_written_in_parts_of_bounded_size(tables, client, monkeypatch, online_url):
    fast(online_url, "video_performance", tables["video_performance"])
    expected = dump(client)
    client.flushdb()
    monkeypatch.setattr(online_writer, "ROWS_AT_ONCE", 4)
    fast(online_url, "video_performance", tables["video_performance"])
    assert dump(client) == expected


def test_of_two_writers_at_once_the_newer_row_stands(client, online_url):
    moments = [NOON + n * HOUR for n in range(60)]
    start = threading.Barrier(2)

    def put(order):
        start.wait()
        for moment in order:
            fast(online_url, "video_performance", rows_of((moment, moment, moment.timestamp())))

    writers = [threading.Thread(target=put, args=(order,)) for order in (moments, moments[::-1])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert views_online(client) == moments[-1].timestamp()


def test_a_refused_write_is_an_error_and_leaves_no_reply_behind(client):
    client.set(VIDEO_KEY("one"), "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        write(client, rows_of((NOON, NOON, 1.0)), ViewLayout.of("video_performance"))
    assert client.get(VIDEO_KEY("one")) == b"no hash"


def test_entities_are_kept_for_their_lifetime(client):
    rows = pa.concat_tables(
        rows_of((NOON, NOON, 1.0), video_id=name) for name in ("soon", "never", "gone", "now")
    )
    view = ViewLayout.of("video_performance")
    write(client, rows, view)
    lifetimes = np.array([500.0, np.nan, -1.0, 0.2])
    assert write(client, rows, view, lifetimes) == Written(3, 0, 1)
    left = [client.ttl(VIDEO_KEY(name)) for name in ("soon", "never", "gone", "now")]
    assert 0 < left[0] <= 500
    assert left[1:3] == [-1, -2]  # without an end; not there
    assert left[3] in (1, -2)


@pytest.fixture(scope="module")
def built(warehouse, feature_store):
    """A feature store over built tables."""
    forget(warehouse)
    store(warehouse, small_world("o"))
    build(warehouse)
    return feature_store


def test_materializing_gives_what_feasts_own_does(built, warehouse, client):
    window = built_window(warehouse)
    done = materialize(built, window)
    ours, told = dump(client), intervals(built)
    assert sum(one.written for one in done.values()) == 30 + 30 + 5
    client.flushdb()
    assert type(built._get_provider().online_store) is AgeLimitedRedisOnlineStore
    built.materialize(window[0], window[1] - timedelta(microseconds=1))
    assert dump(client) == ours
    assert intervals(built) == {name: 2 * spans for name, spans in told.items()}
    again = materialize(built, window)
    assert dump(client) == ours
    assert sum(one.outdated for one in again.values()) == 0


def intervals(built):
    return {view.name: view.materialization_intervals for view in built.list_batch_feature_views()}


def test_a_window_holds_its_start_and_not_its_end(built, warehouse, client):
    times = small_world("o").snapshots["observed_at"].to_pylist()
    cut = sorted(times)[len(times) // 2]
    materialize(built, (built_window(warehouse)[0], cut))
    newest = [layout.decode_timestamp(v) for v in stamps(client)]
    assert max(newest) < cut.timestamp()
    client.flushdb()
    materialize(built, (cut, cut + timedelta(microseconds=1)))
    assert set(map(layout.decode_timestamp, stamps(client))) == {cut.timestamp()}


def test_a_chunk_counts_as_done_only_where_all_of_it_was(built, warehouse, client):
    start = built_window(warehouse)[0] - 100 * DAY  # no other test's window
    assert backfill(built, (start, start + 2 * DAY), DAY) == 2
    assert backfill(built, (start, start + 2 * DAY), DAY) == 0
    assert backfill(built, (start + DAY, start + 5 * DAY), 4 * DAY) == 1


def stamps(client):
    kept = (client.hget(key, "_ts:video_performance") for key in client.scan_iter(count=1000))
    return [stamp for stamp in kept if stamp]


def test_videos_leave_when_they_are_too_old(built, warehouse, client):
    window = built_window(warehouse)
    materialize(built, window)
    published = {
        row["video_id"]: row["published_at"] for row in small_world("o").metadata.to_pylist()
    }
    now, limit = NOON + 2 * DAY, 20 * DAY
    materialize(built, window, Expiry(limit, fixed_clock(now)()))
    for video_id, moment in published.items():
        left = client.ttl(VIDEO_KEY(video_id))
        ends = (moment + limit - now).total_seconds()
        assert left == -2 if ends <= 0 else 0 < left <= ends + 1, video_id
    assert {client.ttl(layout.key_encoder("channel_id")(f"UCo-{n}")) for n in range(5)} == {-1}
    assert any(moment + limit <= now for moment in published.values())


def test_an_older_version_of_a_profile_takes_no_video_out():
    """Published again, or a premiere announced long ago: the latest says how old it is."""
    view, now = ViewLayout.of("video_profile"), NOON + 2 * DAY
    moments = [NOON, NOON + DAY]
    rows = pa.table(
        {
            "video_id": ["v", "v"],
            "event_timestamp": moments,
            "created_timestamp": moments,
            "published_at": [(now - age * DAY).timestamp() for age in (420, 1)],
        }
    )
    expiry = Expiry(400 * DAY, now)
    left = expiry.lifetimes(None, view, rows)
    assert left.tolist() == [-20 * 86_400.0, 399 * 86_400.0]
    assert not expiry.gone
    expiry.lifetimes(None, view, rows.slice(0, 1))
    assert expiry.gone == {"v"}
    expiry.lifetimes(None, view, rows.slice(1))  # it was corrected since
    assert not expiry.gone


def test_an_older_window_takes_out_no_video_that_was_published_again_since(
    warehouse, feature_store, client
):
    """What is online is newer than all that the window holds, also that the video was too old."""
    again = world(
        [
            version("again", NOON - 40 * DAY, "UC-again", published_at=NOON - 400 * DAY),
            version("again", NOON, "UC-again", published_at=NOON - DAY),
        ],
        [snapshot("again", moment, 10) for moment in (NOON - 40 * DAY, NOON)],
    )
    forget(warehouse)
    store(warehouse, again)
    build(warehouse)
    window = built_window(warehouse)
    materialize(feature_store, window, Expiry(100 * DAY, NOON))
    before = dump(client)
    assert VIDEO_KEY("again") in before
    older = materialize(feature_store, (window[0], NOON), Expiry(100 * DAY, NOON))
    assert dump(client) == before
    assert older["video_profile"] == older["video_performance"] == Written(outdated=1)


def test_a_video_without_a_profile_is_kept_while_its_counts_may_be_read(client):
    view, rows = ViewLayout.of("video_performance"), rows_of((NOON, NOON, 1.0))
    (left,) = Expiry(400 * DAY, NOON + 10 * DAY).lifetimes(client, view, rows)
    assert left == 20 * 86_400.0
