"""A warehouse and a landing of one's own, and observations to put there."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from feature_repo.schemas import VIDEO_METADATA, VIDEO_SNAPSHOTS
from ingestion.landing import Landing
from ingestion.warehouse import open_warehouse

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOADED_AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(database_url, schema):
    engine = open_warehouse(database_url, schema)
    yield engine
    engine.dispose()


@pytest.fixture
def landing(tmp_path):
    return Landing(str(tmp_path / "landing"))


def snapshot(video_id="abcdefghij1", hours=0, views=10, **columns):
    """A row of VIDEO_SNAPSHOTS, observed some hours after noon."""
    moment = NOON + timedelta(hours=hours)
    return {
        "video_id": video_id,
        "observed_at": moment,
        "ingested_at": moment,
        "world": "real",
        "raw_ref": "2026/01/31/abc",
        "loaded_at": LOADED_AT,
        "view_count": views,
        "like_count": 1,
        "comment_count": None,
        "live_broadcast_content": "none",
        "format": "unknown",
        "view_definition": "views_1",
    } | columns


def look(video_id="abcdefghij1", hours=0, title="A title", **columns):
    """A row of VIDEO_METADATA, seen some hours after noon."""
    moment = NOON + timedelta(hours=hours)
    return {
        "video_id": video_id,
        "observed_at": moment,
        "ingested_at": moment,
        "world": "real",
        "raw_ref": "2026/01/31/abc",
        "loaded_at": LOADED_AT,
        "channel_id": "UCaaaaaaaaaaaaaaaaaaaaaa",
        "published_at": NOON - timedelta(days=1),
        "title": title,
        "description": 'two\nlines, "quoted"',
        "tags": ["a,b", 'c"d', "e\\f", ""],
        "live_broadcast_content": "none",
    } | columns


def snapshots(rows):
    return pa.Table.from_pylist(rows, schema=VIDEO_SNAPSHOTS)


def looks(rows):
    return pa.Table.from_pylist(rows, schema=VIDEO_METADATA)
