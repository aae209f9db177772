"""What was landed comes in again with the very same rows."""

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from feature_repo.clock import fixed_clock
from ingestion import warehouse as w
from ingestion.loading import load
from ingestion.replaying import replay
from tests.ingestion.conftest import LOADED_AT

CLOCK = fixed_clock(LOADED_AT)
SEEN = datetime(2026, 1, 5, 11)  # noqa: DTZ001 - recordings write UTC without an offset
PLAIN, ANNOUNCED = "abcdefghij1", "abcdefghij2"


@pytest.fixture
def pair(tmp_path):
    """A recording of a plain video, and of one that is announced for the day after the look."""
    directory = tmp_path / "pair"
    directory.mkdir()
    videos = {"video_id": [PLAIN, ANNOUNCED]}
    counts = pa.array([1, 1], pa.int64())
    snapshots = videos | {
        "observed_at": [SEEN] * 2,
        "view_count": counts,
        "like_count": counts,
        "comment_count": counts,
        "live_broadcast_content": ["none", "upcoming"],
    }
    versions = videos | {
        "first_observed_at": [SEEN] * 2,
        "last_observed_at": [SEEN] * 2,
        "published_at": [f"{SEEN + timedelta(days=days):%FT%TZ}" for days in (-1, 1)],
        "channel_id": ["UCaaaaaaaaaaaaaaaaaaaaaa"] * 2,
        "title": ["One", "Two"],
        "description": ["", ""],
        "tags": ["a", "b"],
        "category_id": pa.array([1, 1], pa.int16()),
        "default_language": ["en", "en"],
        "default_audio_language": ["en", "en"],
        "has_maxres": [True, True],
    }
    pq.write_table(pa.table(snapshots), directory / "snapshots.parquet")
    pq.write_table(pa.table(versions), directory / "video_versions.parquet")
    return directory


def _rows(warehouse):
    return w.read_snapshots(warehouse), w.read_metadata(warehouse)


def _empty(warehouse):
    tables = "video_snapshots, video_metadata, video_metadata_seen, quarantine"
    with warehouse.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables}"))


def _refused(warehouse):
    with warehouse.connect() as connection:
        return connection.scalars(text("SELECT reasons FROM quarantine")).all()


def _land_as_before(landing, pair):
    """Land a pair as it was before files of versions named their snapshots."""
    for name in ("snapshots.parquet", "video_versions.parquet"):
        content = (pair / name).read_bytes()
        landing.put(content, request={"file": name}, fetched_at=None, world="real")


def test_a_replayed_pair_keeps_the_states_of_its_broadcasts(pair, warehouse, landing):
    load([pair], warehouse, landing, "real", CLOCK)
    before, refs = _rows(warehouse), list(landing.refs())
    replay(warehouse, landing, CLOCK)
    over_itself = _rows(warehouse)
    _empty(warehouse)
    replay(warehouse, landing, CLOCK)

    assert before[0]["view_count"].to_pylist() == [1, None]  # nobody could see the announced one
    assert before[1]["live_broadcast_content"].to_pylist() == ["none", "upcoming"]
    assert over_itself == before
    assert _rows(warehouse) == before
    assert _refused(warehouse) == []
    assert list(landing.refs()) == refs


def test_a_pair_landed_before_versions_named_their_snapshots_keeps_them_too(
    pair, warehouse, landing
):
    _land_as_before(landing, pair)
    damaged = {"file": "snapshots.parquet"}
    landing.put(b"PAR1 and no more", request=damaged, fetched_at=None, world="real")
    refs = list(landing.refs())
    replay(warehouse, landing, CLOCK)

    states = w.read_metadata(warehouse)["live_broadcast_content"].to_pylist()
    assert states == ["none", "upcoming"]
    assert _refused(warehouse) == []
    assert list(landing.refs()) == refs


def test_snapshots_that_only_told_states_are_not_replayed_as_rows(pair, warehouse, landing):
    load([pair / "video_versions.parquet"], warehouse, landing, "real", CLOCK)
    before = _rows(warehouse)
    _empty(warehouse)
    replay(warehouse, landing, CLOCK)

    assert len(before[0]) == 0
    assert _rows(warehouse) == before
