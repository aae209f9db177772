from datetime import timedelta
from itertools import pairwise

import pytest

from feature_repo import schemas
from ingestion.copying import copy_out
from ingestion.errors import IngestionError
from ingestion.feature_rows import feature_rows
from ingestion.feature_tables import build
from ingestion.materializing import built_window, chunks
from ingestion.warehouse import open_warehouse
from tests.worlds import (
    DAY,
    HOUR,
    NOON,
    channel_ids,
    forget,
    small_world,
    snapshot,
    store,
    version,
    video_ids,
    world,
)

WORLD = small_world("b")


@pytest.fixture
def warehouse(database_url, schema):
    """A warehouse of one's own with a small world in it."""
    engine = open_warehouse(database_url, schema)
    store(engine, WORLD)
    yield engine
    engine.dispose()


def tables(engine):
    """Read every feature table, in the order of its key."""
    read = {}
    with engine.connect() as connection:
        for name, schema in schemas.FEATURE_TABLES.items():
            columns = ", ".join(f'"{column}"' for column in schema.names)
            key = ", ".join(f'"{column}" COLLATE "C"' if at == 0 else column
                            for at, column in enumerate(schema.names[:3]))  # fmt: skip
            query = f"SELECT {columns} FROM {name} ORDER BY {key}"
            read[name] = copy_out(connection, query, [], schema)
    return read


def assert_same_tables(actual, expected):
    for name, table in expected.items():
        assert actual[name].equals(table), name


def test_what_is_built_is_what_the_rows_of_the_warehouse_make(warehouse):
    written = build(warehouse)
    built = tables(warehouse)
    for name, rows in feature_rows(*WORLD).items():
        order = [(column, "ascending") for column in rows.column_names[:3]]
        assert built[name].equals(rows.sort_by(order)), name
        assert written[name] == len(rows)


def test_building_twice_changes_nothing(warehouse):
    first = build(warehouse)
    built = tables(warehouse)
    assert build(warehouse) == first
    assert_same_tables(tables(warehouse), built)


def test_rebuilding_any_one_video_changes_nothing(warehouse):
    build(warehouse)
    built = tables(warehouse)
    for video_id in (video_ids("b")[0], video_ids("b")[4], video_ids("b")[6]):
        build(warehouse, [video_id])
        assert_same_tables(tables(warehouse), built)


def test_building_video_by_video_gives_what_building_all_at_once_does(warehouse):
    for video_id in video_ids("b"):
        build(warehouse, [video_id])
    step_by_step = tables(warehouse)
    build(warehouse)
    assert_same_tables(step_by_step, tables(warehouse))


def test_new_observations_need_only_their_videos_rebuilt(warehouse):
    build(warehouse)
    touched = video_ids("b")[:2]
    late = NOON + 3 * DAY
    news = world(
        [version(touched[0], late, channel_ids("b")[2], title="Moved and renamed")],
        [
            snapshot(touched[0], late, 10**8),
            snapshot(touched[1], NOON - 5 * DAY, 10**8, ingested_at=late),
        ],
    )
    store(warehouse, news)
    build(warehouse, touched)
    in_part = tables(warehouse)
    build(warehouse)
    assert_same_tables(in_part, tables(warehouse))


def test_a_channel_that_a_video_turns_out_never_to_have_been_in_loses_its_rows(warehouse):
    seen = snapshot("lost", NOON, 5)
    first_told = version("lost", NOON, "UCwrong", ingested_at=NOON + DAY)
    store(warehouse, world([first_told], [seen | {"ingested_at": NOON + DAY}]))
    build(warehouse)
    store(warehouse, world([first_told | {"channel_id": "UCright", "ingested_at": NOON}]))
    build(warehouse, ["lost"])
    in_part = tables(warehouse)
    build(warehouse)
    assert_same_tables(in_part, tables(warehouse))
    assert "UCwrong" not in in_part["channel_track_record"]["channel_id"].to_pylist()


def test_a_row_of_an_unknown_video_is_not_made(warehouse):
    build(warehouse)
    built = tables(warehouse)
    assert build(warehouse, ["never seen"]) == dict.fromkeys(schemas.FEATURE_TABLES, 0)
    assert_same_tables(tables(warehouse), built)


def test_an_empty_warehouse_has_empty_feature_tables(warehouse):
    forget(warehouse)
    assert build(warehouse) == dict.fromkeys(schemas.FEATURE_TABLES, 0)
    with pytest.raises(IngestionError, match="foreview features build"):
        built_window(warehouse)


def test_the_built_window_holds_every_row(warehouse):
    build(warehouse)
    start, end = built_window(warehouse)
    for table in tables(warehouse).values():
        assert all(start <= moment < end for moment in table["event_timestamp"].to_pylist())


def test_a_window_is_cut_into_parts_that_cover_it_once():
    start, end = NOON, NOON + 7 * DAY + HOUR
    parts = list(chunks((start, end), 3 * DAY))
    assert parts[0][0] == start
    assert parts[-1] == (NOON + 6 * DAY, end)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    assert list(chunks((start, start), timedelta(days=1))) == []
