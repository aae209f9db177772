"""The recorded world shows what was recorded, and nothing else."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feature_repo.clock import fixed_clock
from ingestion import warehouse as w
from ingestion.collecting import EmulatorClock, open_client, simulate_recorded, world_of
from ingestion.collector import Collector
from ingestion.emulator.recorded import RecordedSite
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.errors import IngestionError
from ingestion.landing import Landing
from ingestion.loading import load
from ingestion.replaying import replay
from ingestion.youtube import YouTubeError
from tests.ingestion.test_parsing import GOLDEN

SHARED = Path(os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared_data = pytest.mark.skipif(
    not (SHARED / "raw_api").is_dir(), reason=f"needs the recorded API bodies in {SHARED}"
)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
# What a copy is called and when it was written differ between two ways in; nothing else may.
WAY_IN = ("raw_ref", "loaded_at")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    directory = tmp_path / "recording"
    directory.mkdir()
    for name in ("a.json", "b.json"):
        shutil.copy(GOLDEN / "videos.json", directory / name)
    shutil.copy(GOLDEN / "channels.json", directory / "c.json")
    (directory / "observed_at.csv").write_text(
        "file,region_code,observed_at\na.json,GB,2026-01-05T12:00:00Z\n"
        "b.json,GB,2026-01-06T12:00:00Z\nc.json,,2026-01-06T12:00:00Z\n"
    )
    return directory


@contextmanager
def collected(site: RecordedSite, engine, landing: Landing) -> Iterator[RunningEmulator]:
    """Collect all that a recorded world shows, over HTTP."""
    with running_emulator(site) as emulator:
        clock = EmulatorClock(emulator.address)
        with open_client(
            engine, clock=emulator.now, world="real", api_key=None, endpoint=emulator.address
        ) as client:
            collector = Collector(engine, client, landing, clock=emulator.now, world="real")
            simulate_recorded(collector, clock, end=site.end)
        yield emulator


def tables(engine):
    read = (w.read_snapshots(engine), w.read_metadata(engine), w.read_channels(engine))
    return [table.drop_columns(list(WAY_IN)).to_pylist() for table in read]


def test_the_clock_stands_on_recorded_instants_only(recording):
    with running_emulator(RecordedSite([recording])) as emulator:
        assert emulator.now() == datetime(2026, 1, 5, 12, tzinfo=UTC)
        assert emulator.advance(datetime(2026, 1, 5, 18, tzinfo=UTC)) == emulator.app.site.end
        clock = EmulatorClock(emulator.address)
        with pytest.raises(IngestionError, match="nothing was recorded after"):
            clock.step()
        assert world_of(emulator.address) == "real"


def test_only_what_was_recorded_at_the_instant_is_answered(recording, warehouse):
    with (
        running_emulator(RecordedSite([recording])) as emulator,
        open_client(
            warehouse, clock=emulator.now, world="real", api_key=None, endpoint=emulator.address
        ) as client,
    ):
        assert client.chart("GB").body == (recording / "a.json").read_bytes()
        assert client.chart("FR").items == []
        known = client.chart("GB").items[0]
        assert client.videos([known["id"], "abcdefghijk"]).items == [known]
        assert client.channels(["UC" + "a" * 22]).items == []
        with pytest.raises(YouTubeError):
            client.search("anything")


def test_nothing_recorded_is_said(tmp_path):
    with pytest.raises(IngestionError, match="no API bodies"):
        RecordedSite([tmp_path])


def test_collected_over_http_and_loaded_from_files_are_the_same_tables(
    recording, warehouse, landing, tmp_path
):
    with collected(RecordedSite([recording]), warehouse, landing):
        over_http = tables(warehouse)
    assert over_http[0]
    assert over_http[2]
    _empty(warehouse)
    load([recording], warehouse, Landing(str(tmp_path / "other")), "real", fixed_clock(NOW))
    assert tables(warehouse) == over_http


@needs_shared_data
def test_real_bodies_collected_over_http_make_the_tables_that_loading_them_makes(
    warehouse, landing, tmp_path
):
    days = ("20250630", "20260105", "20260106")
    recording = tmp_path / "recording"
    recording.mkdir()
    shutil.copy(SHARED / "raw_api" / "observed_at.csv", recording)
    for day in days:
        for path in (SHARED / "raw_api").glob(f"*_{day}.json.gz"):
            (recording / path.name).symlink_to(path)
    with collected(RecordedSite([recording]), warehouse, landing) as emulator:
        over_http = tables(warehouse)
        assert emulator.app.quota.spent("list") == len(list(recording.glob("*.gz")))
    _empty(warehouse)
    load([recording], warehouse, Landing(str(tmp_path / "other")), "real", fixed_clock(NOW))
    assert tables(warehouse) == over_http
    assert len(over_http[0]) > 1_500
    _empty(warehouse)
    replay(warehouse, landing, fixed_clock(NOW))
    assert tables(warehouse) == over_http


def _empty(engine) -> None:
    names = "video_snapshots, video_metadata, video_metadata_seen, channel_snapshots"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {names}, quarantine, ingested_responses")
