"""Recorded data goes through landing, validation and warehouse; nothing is lost silently."""

import copy
import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from sqlalchemy import text

from feature_repo.clock import fixed_clock
from ingestion import commands
from ingestion import warehouse as w
from ingestion.errors import NothingToLoad
from ingestion.ingesting import LandedResponse, ingest_responses
from ingestion.loading import load
from ingestion.recordings import find_files
from tests.ingestion.conftest import LOADED_AT
from tests.ingestion.test_parsing import GOLDEN, NOON

CLOCK = fixed_clock(LOADED_AT)
VIDEOS = json.loads((GOLDEN / "videos.json").read_text())
SHARED = Path(os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared_data = pytest.mark.skipif(
    not (SHARED / "snapshots.parquet").is_file(),
    reason=f"needs the recorded YouTube data in {SHARED}, which is not there",
)


@pytest.fixture
def recording(tmp_path):
    """A directory of three bodies, packed in three ways, and their sidecar."""
    directory = tmp_path / "recording"
    directory.mkdir()
    body = (GOLDEN / "videos.json").read_bytes()
    (directory / "a.json").write_bytes(body)
    (directory / "b.json.gz").write_bytes(gzip.compress(body))
    channels = (GOLDEN / "channels.json").read_bytes()
    (directory / "c.json.zst").write_bytes(zstandard.ZstdCompressor().compress(channels))
    (directory / "observed_at.csv").write_text(
        "file,region_code,observed_at\n"
        "a.json,GB,2026-01-05T12:00:00Z\nb.json.gz,GB,2026-01-06T12:00:00Z\n"
        "c.json.zst,GB,2026-01-06T12:00:00.5Z\n"
    )
    return directory


def _entries(report):
    return {Path(f.file).name: f.as_json() for f in report.files}


def _adds_up(entry):
    total = entry["loaded"] + entry["duplicate"] + entry["quarantined"]
    return entry["read"] == total and entry["quarantined"] == sum(entry["reasons"].values())


def test_bodies_are_landed_and_loaded_with_the_time_of_their_sidecar(recording, warehouse, landing):
    report = load([recording], warehouse, landing, "real", CLOCK)

    entries = _entries(report)
    assert {name: (e["read"], e["loaded"]) for name, e in entries.items()} == {
        "a.json": (4, 4),
        "b.json.gz": (4, 4),
        "c.json.zst": (2, 2),
    }
    table = w.read_snapshots(warehouse)
    assert set(table["observed_at"].to_pylist()) == {NOON, NOON.replace(day=6)}
    assert table["ingested_at"].equals(table["observed_at"])
    assert set(table["loaded_at"].to_pylist()) == {LOADED_AT}
    assert landing.get(table["raw_ref"][0].as_py()).body == (GOLDEN / "videos.json").read_bytes()
    assert report.clock == datetime(2026, 1, 6, 12, 0, 1, tzinfo=UTC)


def test_loading_twice_reports_duplicates_and_changes_nothing(recording, warehouse, landing):
    load([recording], warehouse, landing, "real", CLOCK)
    before = w.read_snapshots(warehouse), w.read_metadata(warehouse), list(landing.refs())
    report = load([recording], warehouse, landing, "real", CLOCK)

    assert all(e["duplicate"] == e["read"] for e in _entries(report).values())
    after = w.read_snapshots(warehouse), w.read_metadata(warehouse), list(landing.refs())
    assert after == before


def test_the_landing_rebuilds_the_warehouse(recording, warehouse, landing):
    load([recording], warehouse, landing, "synthetic", CLOCK)
    before = w.read_snapshots(warehouse), w.read_metadata(warehouse), w.read_channels(warehouse)
    with warehouse.begin() as connection:
        connection.execute(
            text("TRUNCATE video_snapshots, video_metadata, video_metadata_seen, channel_snapshots")
        )
    load([Path(landing.url)], warehouse, landing, "real", CLOCK)

    after = w.read_snapshots(warehouse), w.read_metadata(warehouse), w.read_channels(warehouse)
    assert after == before


def test_what_cannot_be_read_is_named_and_the_rest_loaded(recording, warehouse, landing):
    (recording / "corrupt.json.gz").write_bytes((recording / "b.json.gz").read_bytes()[:-20])
    (recording / "cut.json").write_text('{"kind": "youtube#videoListResponse", "items": [{')
    (recording / "error.json").write_text('{"error": {"code": 403}}')
    (recording / "undated.json").write_bytes((GOLDEN / "videos.json").read_bytes())
    (recording / "list.csv").write_text("a,b\n1,2\n")
    (recording / "bad.json.zst").write_bytes(b"no zstd")
    report = load([recording], warehouse, landing, "real", CLOCK)

    entries = _entries(report)
    assert {name: e["reasons"] for name, e in entries.items() if e["error"]} == {
        "bad.json.zst": {"corrupt_file": 1},
        "corrupt.json.gz": {"corrupt_file": 1},
        "cut.json": {"corrupt_file": 1},
        "error.json": {"not_a_list_response": 1},
        "list.csv": {"unknown_layout": 1},
        "undated.json": {"observed_at_missing": 1},
    }
    assert report.total.loaded == 10


def test_items_that_fail_are_quarantined_and_the_others_loaded(warehouse):
    body = copy.deepcopy(VIDEOS)
    body["items"][0]["statistics"]["viewCount"] = "-3"
    body["items"][1]["snippet"]["publishedAt"] = "2030-01-01T00:00:00Z"
    del body["items"][3]["id"]
    body["items"].append("nonsense")
    response = LandedResponse("2026/01/05/abc", json.dumps(body).encode(), NOON, NOON, "real")
    counts = ingest_responses(warehouse, [response], loaded_at=LOADED_AT)

    assert (counts.read, counts.loaded, counts.quarantined) == (5, 1, 4)
    assert counts.reasons == {
        "view_count_negative": 1,
        "published_after_observation": 1,
        "id_missing": 1,
        "item_malformed": 1,
    }
    with warehouse.connect() as connection:
        rows = connection.execute(text("SELECT raw_ref, reasons, item FROM quarantine")).all()
    assert {ref for ref, _, _ in rows} == {"2026/01/05/abc"}
    assert body["items"][0] in [item for _, _, item in rows]
    assert w.read_metadata(warehouse)["video_id"].to_pylist() == ["abcdefghij3"]


def test_an_observation_after_the_clock_is_refused(warehouse):
    response = LandedResponse("ref", json.dumps(VIDEOS).encode(), NOON, NOON, "real")
    counts = ingest_responses(warehouse, [response], loaded_at=NOON.replace(day=4))

    assert counts.reasons == {"observed_in_the_future": 4}


def _write_pair(directory, views=(10, 10, 12)):
    directory.mkdir()
    moment = datetime(2026, 1, 5, 11, tzinfo=UTC).replace(tzinfo=None)
    later = moment.replace(day=6)
    snapshots = {
        "country": ["US", "GB", "GB", "US"],
        "observed_at": [moment, moment, moment, later],
        "video_id": ["abcdefghij1"] * 3 + ["abcdefghij2"],
        "view_count": [*views, None],
        "like_count": pa.array([1, 1, 1, None], pa.int64()),
        "comment_count": pa.array([None] * 4, pa.int64()),
        "live_broadcast_content": ["none", "none", "none", "live"],
    }
    pq.write_table(pa.table(snapshots), directory / "snapshots.parquet")
    versions = {
        "video_id": ["abcdefghij1", "abcdefghij2"],
        "first_observed_at": [moment, later],
        "last_observed_at": [moment, later],
        "published_at": ["2026-01-04T10:00:00Z"] * 2,
        "channel_id": ["UCaaaaaaaaaaaaaaaaaaaaaa", "nobody"],
        "title": ["One", "Two"],
        "description": ["", "x"],
        "tags": ["a|b", None],
        "category_id": pa.array([10, 24], pa.int16()),
        "default_language": pa.array([None, "en"]),
        "default_audio_language": pa.array([None, None], pa.string()),
        "has_maxres": [True, False],
    }
    pq.write_table(pa.table(versions), directory / "video_versions.parquet")
    return directory


def test_snapshot_tables_are_loaded_with_their_rows_accounted_for(tmp_path, warehouse, landing):
    directory = _write_pair(tmp_path / "pair")
    (directory / "other.json").write_text("not read, as the directory has the pair")
    report = load([directory], warehouse, landing, "real", CLOCK)

    entries = _entries(report)
    assert set(entries) == {"snapshots.parquet", "video_versions.parquet"}
    assert all(_adds_up(entry) for entry in entries.values())
    counts = {n: (e["read"], e["loaded"], e["duplicate"], e["reasons"]) for n, e in entries.items()}
    assert counts == {
        "snapshots.parquet": (4, 2, 0, {"conflicting_counts": 2}),
        "video_versions.parquet": (2, 1, 0, {"channel_id_malformed": 1}),
    }
    table = w.read_snapshots(warehouse)
    assert table["view_count"].to_pylist() == [12, None]
    assert table["format"].to_pylist() == ["unknown", "live"]
    assert w.read_metadata(warehouse)["tags"].to_pylist() == [["a", "b"]]


def test_counts_that_conflict_are_no_failure(tmp_path, warehouse, landing):
    directory = _write_pair(tmp_path / "pair")
    report = load([directory / "snapshots.parquet"], warehouse, landing, "real", CLOCK)

    assert report.total.reasons == {"conflicting_counts": 2}
    assert report.rejected_rows == 0


def test_a_parquet_that_is_damaged_or_of_another_kind_is_named(tmp_path, warehouse, landing):
    damaged = tmp_path / "snapshots.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    paths = [damaged, tmp_path / "other.parquet"]
    report = load(paths, warehouse, landing, "real", CLOCK)

    assert [dict(f.counts.reasons) for f in report.files] == [
        {"corrupt_file": 1},
        {"unknown_layout": 1},
    ]


def test_a_directory_below_is_read_by_the_same_rule(tmp_path, recording):
    pair = _write_pair(tmp_path / "pair")
    names = [path.name for path, _ in find_files([tmp_path, recording / "a.json", pair])]

    assert names == [
        "video_versions.parquet",
        "snapshots.parquet",
        "a.json",
        "b.json.gz",
        "c.json.zst",
    ]


@pytest.fixture
def run(database_url, schema, tmp_path):
    """The command line, as a user has it."""
    environment = {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_LANDING_URL": str(tmp_path / "landing"),
        "FOREVIEW_CLOCK": "2026-03-01T00:00:00Z",
    }

    def invoke(command, *arguments):
        return CliRunner().invoke(command, [str(a) for a in arguments], env=environment)

    return invoke


def test_the_report_as_json_has_the_agreed_shape(run, recording):
    outcome = run(commands.load, recording, "--json")

    assert outcome.exit_code == 0
    report = json.loads(outcome.stdout)
    assert {"file", "read", "loaded", "duplicate", "quarantined", "reasons"} <= set(
        report["files"][0]
    )
    assert all(_adds_up(entry) for entry in report["files"])


def test_the_exit_code_tells_of_rejected_files_and_the_summary_of_the_clock(run, recording):
    (recording / "cut.json").write_text("{")
    outcome = run(commands.load, recording)

    assert outcome.exit_code == 1
    assert "cut.json" in outcome.stdout
    assert "export FOREVIEW_CLOCK=2026-01-06T12:00:01Z" in outcome.stdout


def test_views_that_fell_are_kept_and_told_and_the_run_is_recorded(run, tmp_path, warehouse):
    export = tmp_path / "falling"
    _write_pair(export)
    table = pq.read_table(export / "snapshots.parquet")
    last = table.num_rows - 1  # a day later, with fewer views than the day before
    for name, value in (("video_id", "abcdefghij1"), ("view_count", 4)):
        values = table[name].to_pylist()
        values[last] = value
        column = pa.array(values, table.schema.field(name).type)
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, export / "snapshots.parquet")

    outcome = run(commands.load, export, "--json")
    again = run(commands.load, export, "--json")

    assert json.loads(outcome.stdout)["views_fell"] == 1
    assert json.loads(again.stdout)["views_fell"] == 0
    assert w.read_snapshots(warehouse)["view_count"].to_pylist() == [12, 4]
    with warehouse.connect() as connection:
        query = text("SELECT world, outcome, rows FROM job_runs WHERE job = 'load' ORDER BY 1, 2")
        runs = connection.execute(query).all()
    loaded = json.loads(outcome.stdout)["files"]
    assert [(world, result) for world, result, _ in runs] == [("real", "succeeded")] * 2
    assert max(rows.get("loaded", 0) for *_, rows in runs) == sum(f["loaded"] for f in loaded)


def test_a_path_that_is_not_there_is_wrong_use(run, tmp_path):
    assert run(commands.load, tmp_path / "nowhere").exit_code == 2


def test_a_directory_without_a_recording_is_told(run, tmp_path):
    (tmp_path / "notes.txt").write_text("not read")
    result = run(commands.load, tmp_path)
    assert result.exit_code == 1
    assert isinstance(result.exception, NothingToLoad)
    assert str(tmp_path) in str(result.exception)


def test_validate_tells_what_in_the_warehouse_does_not_hold(run, recording, warehouse):
    run(commands.load, recording)
    sound = run(commands.validate, "--json")
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE video_snapshots SET video_id = 'x' WHERE view_count = 7"))
    broken = run(commands.validate, "--json")

    assert (sound.exit_code, broken.exit_code) == (0, 1)
    tables = {table["table"]: table for table in json.loads(broken.stdout)["tables"]}
    assert tables["video_snapshots"]["rows"] == 8
    assert tables["video_snapshots"]["reasons"] == {"video_id_malformed": 2}


@needs_shared_data
def test_recorded_bodies_and_tables_of_one_day_agree(tmp_path, warehouse, landing):
    bodies = sorted((SHARED / "raw_api").glob("trending_videos_*_20260105.json.gz"))
    moments = {_observed_at(path.name) for path in bodies}
    table = pq.read_table(SHARED / "snapshots.parquet", filters=[("file_date", "=", "20260105")])
    pq.write_table(table, tmp_path / "snapshots.parquet")
    first = load([tmp_path / "snapshots.parquet"], warehouse, landing, "real", CLOCK)
    second = load(bodies, warehouse, landing, "real", CLOCK)

    assert first.rejected_rows == second.rejected_rows == 0
    assert second.total.read > 1000
    assert second.total.loaded == 0
    assert set(w.read_snapshots(warehouse)["observed_at"].to_pylist()) == moments


def _observed_at(name):
    lines = (SHARED / "raw_api" / "observed_at.csv").read_text().splitlines()
    stamp = next(line.split(",")[2] for line in lines if line.startswith(f"{name},"))
    return datetime.fromisoformat(stamp)


@needs_shared_data
@pytest.mark.full
@pytest.mark.timeout(900)
def test_all_recorded_data_is_loaded_and_every_row_accounted_for(warehouse, landing):
    clock = fixed_clock(datetime(2026, 11, 1, tzinfo=UTC))
    paths = [SHARED, SHARED / "raw_api", SHARED / "dirty_csv"]
    report = load(paths, warehouse, landing, "real", clock)

    entries = [file.as_json() for file in report.files]
    assert all(_adds_up(entry) for entry in entries)
    assert report.skipped == []
    assert sum(e["loaded"] for e in entries if e["file"].endswith("snapshots.parquet")) == 261_620
    bodies = [e for e in entries if e["file"].endswith(".json.gz")]
    assert sum(e["loaded"] for e in bodies) == 0
    assert set(report.total.reasons) == {
        "conflicting_counts",
        "date_missing",
        "record_cut",
        "video_id_malformed",
    }
