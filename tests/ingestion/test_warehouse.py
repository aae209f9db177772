"""The warehouse is the same in whatever order, and however often, observations come."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from feature_repo.schemas import CHANNEL_SNAPSHOTS, VIDEO_METADATA, VIDEO_SNAPSHOTS
from ingestion import warehouse as w
from ingestion.errors import IngestionError, WarehouseUnavailable
from tests.ingestion.conftest import LOADED_AT, NOON, look, looks, snapshot, snapshots

ON_POSTGRES = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_snapshots_come_back_as_they_were_sorted_by_video_and_time(warehouse):
    rows = [
        snapshot("bbbbbbbbbb1", 30, None, live_broadcast_content="live", format="live"),
        snapshot("aaaaaaaaaa1", 25, 2**53 + 1, ingested_at=NOON + timedelta(microseconds=5)),
        snapshot("aaaaaaaaaa1", 0, 0, raw_ref=None, live_broadcast_content=None),
    ]
    w.append_snapshots(warehouse, snapshots(rows))

    expected = snapshots([rows[2], rows[1], rows[0]])
    assert w.read_snapshots(warehouse).equals(expected)


def test_metadata_comes_back_as_it_was(warehouse):
    rows = [
        look("aaaaaaaaaa1", 0, "", tags=[], description=None, duration_seconds=0.1),
        look("aaaaaaaaaa1", 1, 'x\r\n"y",\\N \\.', has_captions=True, category_id=3),
        look("bbbbbbbbbb1", 0, "فيديو 🎉", tags=None, is_made_for_kids=False),
    ]
    w.append_metadata(warehouse, looks(rows))

    assert w.read_metadata(warehouse).equals(looks(rows))


def test_a_window_is_half_open_and_ids_and_world_choose_rows(warehouse):
    w.append_snapshots(warehouse, snapshots([snapshot(hours=h) for h in range(4)]))
    other = snapshot("bbbbbbbbbb1", 1, world="synthetic")
    w.append_snapshots(warehouse, snapshots([other]))

    window = w.read_snapshots(
        warehouse, start=NOON + timedelta(hours=1), end=NOON + timedelta(hours=3)
    )
    assert window.num_rows == 3
    assert w.read_snapshots(warehouse, video_ids=["bbbbbbbbbb1"]).to_pylist()[0] == other
    assert w.read_snapshots(warehouse, world="synthetic").num_rows == 1
    assert w.read_snapshots(warehouse, video_ids=[]).schema == VIDEO_SNAPSHOTS


def test_channels_come_back_as_they_were(warehouse):
    row = {name: None for name in CHANNEL_SNAPSHOTS.names} | {
        "channel_id": "UCaaaaaaaaaaaaaaaaaaaaaa",
        "observed_at": NOON,
        "ingested_at": NOON,
        "world": "real",
        "loaded_at": LOADED_AT,
        "view_count": 5,
    }
    table = pa.Table.from_pylist([row], schema=CHANNEL_SNAPSHOTS)

    assert w.append_channels(warehouse, table) == w.AppendCounts(loaded=1)
    assert w.append_channels(warehouse, table) == w.AppendCounts(duplicate=1)
    assert w.read_channels(warehouse).equals(table)


def test_appending_twice_changes_nothing(warehouse):
    table = snapshots([snapshot(hours=h) for h in range(5)])

    assert w.append_snapshots(warehouse, table) == w.AppendCounts(loaded=5)
    assert w.append_snapshots(warehouse, table) == w.AppendCounts(duplicate=5)
    assert w.read_snapshots(warehouse).equals(table)


@pytest.mark.parametrize("views", [(5, 9), (9, 5)])
def test_of_two_counts_at_one_moment_the_larger_views_are_kept(warehouse, views):
    first, second = views
    w.append_snapshots(warehouse, snapshots([snapshot(views=first)]))
    counts = w.append_snapshots(warehouse, snapshots([snapshot(views=second)]))

    assert counts == w.AppendCounts(conflicting=1)
    assert w.read_snapshots(warehouse)["view_count"].to_pylist() == [9]


@pytest.mark.parametrize("likes", [(None, 0), (0, None)])
def test_of_a_hidden_count_and_a_told_one_the_told_one_is_kept(warehouse, likes):
    for count in likes:
        w.append_snapshots(warehouse, snapshots([snapshot(like_count=count)]))

    assert w.read_snapshots(warehouse)["like_count"].to_pylist() == [0]


def test_rows_of_many_months_find_their_partitions(warehouse):
    rows = [snapshot(hours=24 * 20 * n) for n in range(8)]
    w.append_snapshots(warehouse, snapshots(rows))

    with warehouse.connect() as connection:
        query = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'video_snapshots'::regclass"
        assert connection.scalar(text(query)) == 6
    assert w.read_snapshots(warehouse).num_rows == 8


SNAPSHOT_ROWS = st.lists(
    st.builds(
        snapshot,
        video_id=st.sampled_from(["aaaaaaaaaa1", "bbbbbbbbbb1"]),
        hours=st.sampled_from([0, 1, 24]),
        views=st.none() | st.integers(0, 3),
        like_count=st.none() | st.integers(0, 2),
        format=st.sampled_from(["unknown", "long"]),
    ),
    min_size=1,
    max_size=12,
)
LOOK_ROWS = st.lists(
    st.builds(
        look,
        video_id=st.sampled_from(["aaaaaaaaaa1", "bbbbbbbbbb1"]),
        hours=st.integers(0, 5),
        title=st.sampled_from(["A", "B"]),
        ingested_at=st.sampled_from([NOON + timedelta(hours=h) for h in (5, 9)]),
        live_broadcast_content=st.sampled_from([None, "none", "live"]),
    ),
    min_size=1,
    max_size=10,
)


def _emptied(engine):
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE video_snapshots, video_metadata, video_metadata_seen"))


@ON_POSTGRES
@given(data=st.data(), rows=SNAPSHOT_ROWS)
def test_snapshots_are_the_same_in_whatever_order_they_come(warehouse, data, rows):
    _emptied(warehouse)
    counts = w.append_snapshots(warehouse, snapshots(rows))
    at_once = w.read_snapshots(warehouse)
    assert counts.loaded + counts.duplicate + counts.conflicting == len(rows)
    assert counts.loaded == at_once.num_rows

    _emptied(warehouse)
    for row in data.draw(st.permutations(rows)):
        w.append_snapshots(warehouse, snapshots([row]))
    assert w.read_snapshots(warehouse).equals(at_once)


@ON_POSTGRES
@given(data=st.data(), rows=LOOK_ROWS)
def test_the_history_of_metadata_is_the_same_in_whatever_order_looks_come(warehouse, data, rows):
    _emptied(warehouse)
    w.append_metadata(warehouse, looks(rows))
    at_once = w.read_metadata(warehouse)
    w.append_metadata(warehouse, looks(rows))
    assert w.read_metadata(warehouse).equals(at_once)

    _emptied(warehouse)
    shuffled = data.draw(st.permutations(rows))
    middle = len(shuffled) // 2
    for part in (shuffled[:middle], shuffled[middle:]):
        w.append_metadata(warehouse, looks(part))
    assert w.read_metadata(warehouse).equals(at_once)


def _titles(engine):
    return [(r["observed_at"].hour - 12, r["title"]) for r in w.read_metadata(engine).to_pylist()]


def test_metadata_gains_a_row_only_where_something_changed(warehouse):
    w.append_metadata(warehouse, looks([look(hours=h, title=t) for h, t in enumerate("AABBA")]))

    assert _titles(warehouse) == [(0, "A"), (2, "B"), (4, "A")]


def test_a_version_that_arrives_late_parts_the_one_around_it(warehouse):
    w.append_metadata(warehouse, looks([look(hours=h, title="A") for h in (0, 1, 3, 4)]))
    assert _titles(warehouse) == [(0, "A")]

    w.append_metadata(warehouse, looks([look(hours=2, title="B")]))
    assert _titles(warehouse) == [(0, "A"), (2, "B"), (3, "A")]


def test_a_look_known_before_the_one_it_repeats_is_kept(warehouse):
    late = look(hours=1, title="B", ingested_at=NOON + timedelta(hours=50))
    w.append_metadata(warehouse, looks([look(title="A"), late, look(hours=2, title="B")]))

    assert _titles(warehouse) == [(0, "A"), (1, "B"), (2, "B")]


def test_a_broadcast_that_ends_makes_a_row_though_nothing_was_written(warehouse):
    states = ("upcoming", "live", "none", "none")
    rows = [look(hours=h, live_broadcast_content=state) for h, state in enumerate(states)]
    w.append_metadata(warehouse, looks(rows))

    assert _titles(warehouse) == [(hours, "A title") for hours in (0, 1, 2)]


def test_of_two_versions_of_one_moment_the_one_known_first_stays(warehouse):
    late = [look(title=t, ingested_at=NOON + timedelta(hours=50)) for t in "CDEFGH"]
    w.append_metadata(warehouse, looks(late))
    w.append_metadata(warehouse, looks([look(title="A")]))
    w.append_metadata(warehouse, looks(late))

    assert _titles(warehouse) == [(0, "A")]


def test_concurrent_writers_of_the_same_rows_load_each_once(warehouse):
    table = snapshots([snapshot(f"aaaaaaaaa{n:02d}", h) for n in range(50) for h in (0, 800)])
    metadata = looks([look(f"aaaaaaaaa{n:02d}", h) for n in range(50) for h in (0, 1)])

    def write(_):
        w.append_metadata(warehouse, metadata)
        return w.append_snapshots(warehouse, table)

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(write, range(4)))
    assert sum(c.loaded for c in counts) == 100
    assert sum(c.duplicate for c in counts) == 300
    assert w.read_snapshots(warehouse).num_rows == 100
    assert w.read_metadata(warehouse).num_rows == 50


def test_writers_of_the_same_rows_in_other_orders_do_not_lock_each_other_out(warehouse):
    rows = [snapshot(f"{number:011d}") for number in range(20_000)]
    tables = [snapshots(rows), snapshots(rows[::-1])]
    w.ensure_partitions(warehouse, tables[0])

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            counts = list(pool.map(lambda table: w.append_snapshots(warehouse, table), tables))
        assert sum(c.loaded for c in counts) == len(rows)
        with warehouse.begin() as connection:
            connection.execute(text("DELETE FROM video_snapshots"))


def test_a_failing_append_leaves_nothing_behind(warehouse):
    with pytest.raises(Exception, match="view_count"):
        w.append_snapshots(warehouse, snapshots([snapshot(), snapshot(hours=1, views=-1)]))

    assert w.read_snapshots(warehouse).num_rows == 0


def test_refused_rows_are_kept_once_per_response_whatever_they_hold(warehouse):
    nasty = {"title": "a\x00b\ud83d", "views": float("nan"), "at": NOON, "tags": ("x",)}
    rows = [w.Rejected("ref", nasty, ("title_null",)), w.Rejected("ref", {}, ("id_missing",))]

    def put():
        return w.quarantine(warehouse, rows, world="real", source="test", quarantined_at=LOADED_AT)

    assert (put(), put()) == (2, 0)
    with warehouse.connect() as connection:
        found = connection.execute(text("SELECT item->>'title' FROM quarantine ORDER BY 1")).all()
    assert found == [("a\ufffdb?",), (None,)]


def test_migrating_at_once_from_many_sides_works(database_url, empty_schema):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: w.migrate(database_url, empty_schema), range(4)))

    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
            (empty_schema,),
        )
        names = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", (f"{empty_schema}_registry",))
        assert cursor.fetchone() == (True,)
    connection.close()
    assert names >= {"video_metadata", "video_snapshots", "quarantine", "forecast_log"}


def test_the_tables_have_the_columns_of_the_schemas(warehouse):
    with warehouse.connect() as connection:
        for name, schema in (
            ("video_metadata", VIDEO_METADATA),
            ("video_snapshots", VIDEO_SNAPSHOTS),
            ("channel_snapshots", CHANNEL_SNAPSHOTS),
        ):
            columns = connection.execute(text(f"SELECT * FROM {name} LIMIT 0")).keys()
            assert list(columns)[: len(schema)] == schema.names


def test_a_server_that_does_not_answer_is_named_with_its_setting():
    with pytest.raises(WarehouseUnavailable, match="FOREVIEW_DATABASE_URL"):
        w.migrate("postgresql://nobody@127.0.0.1:1/none", "foreview")


def test_a_schema_name_that_is_no_identifier_is_refused():
    with pytest.raises(IngestionError, match="FOREVIEW_DATABASE_SCHEMA"):
        w.open_warehouse("postgresql://nobody@127.0.0.1:1/none", "a; DROP TABLE x")
