"""Exported feature tables give, through DuckDB, the answers that PostgreSQL gives, to the bit."""

import functools
import hashlib
import importlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from feast import FeatureStore, FileSource, RepoConfig
from moto.server import ThreadedMotoServer
from sqlalchemy import text

import feature_repo
from feature_repo import schemas
from feature_repo.errors import NoFeatureTables
from feature_repo.parquet.sources import on_files
from feature_repo.repository import OBJECTS
from feature_repo.store import open_exported_store, read_source
from foreview.cli import cli
from ingestion import feature_export
from ingestion.feature_export import export, whole_days
from ingestion.feature_tables import build
from ingestion.materializing import built_window
from tests.contracts.parity import doubles, feature_names
from tests.exactness import differing
from tests.worlds import DAY, NOON, TITLES, channel_ids, forget, small_world, store, video_ids

SERVICES = ("published_v2", "draft_v2")


@pytest.fixture(scope="module")
def built(warehouse, feature_store):
    """A feature store with a small world in its tables."""
    forget(warehouse)
    store(warehouse, small_world("e"))
    build(warehouse)
    return feature_store


@pytest.fixture(scope="module")
def questions():
    """Videos and drafts, each asked about at moments before, between and after late rows."""
    rows = [
        {
            "video_id": video,
            "channel_id": channel_ids("e")[at % 5],
            "event_timestamp": NOON - timedelta(days=ago, microseconds=ago),
            "title": TITLES[at % len(TITLES)],
            "description": "",
            "tags": "",
            "draft_category_id": 10.0,
            "draft_duration_seconds": 61.0,
        }
        for at, video in enumerate([*video_ids("e"), "nobody"])
        for ago in (-20, 0, 2, 9, 30)
    ]
    asked = pd.DataFrame(rows).sample(frac=1.0, random_state=5)  # in no order
    return asked.assign(as_of=asked["event_timestamp"])


@pytest.fixture(scope="module")
def s3():
    """An S3 with an empty bucket, its address in the usual variables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    with pytest.MonkeyPatch.context() as patch:
        server.start()
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        boto3.client("s3").create_bucket(Bucket="lake")
        yield "s3://lake/foreview/features"
        server.stop()


@pytest.fixture(scope="module")
def directory(built, warehouse, tmp_path_factory):
    """The tables exported to a directory."""
    path = tmp_path_factory.mktemp("exported")
    export(warehouse, str(path), built_window(warehouse))
    return path


def asked_of(feature_store, service, questions):
    job = feature_store.get_historical_features(
        questions, feature_store.get_feature_service(service), filter_by_created_timestamp=True
    )
    return job.to_df()


@pytest.mark.parametrize("service", SERVICES)
def test_a_directory_answers_as_postgresql_does(built, directory, questions, service, tmp_path):
    exported = open_exported_store(str(directory), tmp_path / "registry.db")
    right, answer = (asked_of(one, service, questions) for one in (built, exported))
    names = feature_names(built, service)
    assert feature_names(exported, service) == names
    assert differing(doubles(built, service, right), doubles(built, service, answer)) == set()
    assert list(answer["video_id"]) == list(questions["video_id"])  # in the order of the questions
    known = [name for name in names if right[name].notna().any()]
    assert len(known) > 0.9 * len(names)


def test_s3_answers_as_postgresql_does(built, warehouse, s3, questions, tmp_path):
    export(warehouse, s3, built_window(warehouse))
    exported = open_exported_store(s3, tmp_path / "registry.db")
    for service in SERVICES:
        right, answer = (asked_of(one, service, questions) for one in (built, exported))
        assert differing(doubles(built, service, right), doubles(built, service, answer)) == set()


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # of ibis
@pytest.mark.parametrize("service", SERVICES)
def test_feasts_own_duckdb_store_reads_them_too(built, directory, questions, service, tmp_path):
    ours = open_exported_store(str(directory), tmp_path / "registry.db")
    config = ours.config.model_dump(exclude={"offline_store", "repo_path"}, by_alias=True)
    stock = FeatureStore(
        config=RepoConfig(**config | {"offline_store": "duckdb", "repo_path": tmp_path})
    )
    numbered = questions.assign(number=range(len(questions)))
    answer = asked_of(stock, service, numbered).sort_values("number")
    right = asked_of(built, service, questions)
    assert differing(doubles(built, service, right), doubles(built, service, answer)) == set()


def test_every_row_is_exported_as_it_is(built, directory):
    window = (NOON - 400 * DAY, NOON + 400 * DAY)
    for name, schema in schemas.FEATURE_TABLES.items():
        columns = [c for c in schema.names[1:] if not c.endswith("_timestamp")]
        stored = read_source(built, name, columns, window).select(schema.names)
        order = [
            (c, "ascending") for c in (schema.names[0], "event_timestamp", "created_timestamp")
        ]
        files = sorted(directory.glob(f"{name}/event_date=*/rows.parquet"))
        exported = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
        assert exported.schema.equals(schema)
        assert exported.sort_by(order).equals(stored.cast(schema).sort_by(order))
        assert len(files) > 10


def hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_exporting_again_changes_nothing(built, warehouse, directory):
    before = hashes(directory)
    told = export(warehouse, str(directory), built_window(warehouse))
    assert hashes(directory) == before
    assert {table["removed"] for table in told.values()} == {0}


def test_small_groups_of_rows_make_the_same_table(built, warehouse, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_export, "ROW_GROUP", 3)
    told = export(warehouse, str(tmp_path), built_window(warehouse))
    for name, counts in told.items():
        files = [pq.ParquetFile(file) for file in tmp_path.glob(f"{name}/*/rows.parquet")]
        assert max(file.metadata.row_group(0).num_rows for file in files) == 3
        with warehouse.connect() as connection:
            stored = connection.scalar(text(f"SELECT count(*) FROM {name}"))
        assert sum(file.metadata.num_rows for file in files) == counts["rows"] == stored


def test_a_day_that_lost_its_rows_leaves_the_export(built, warehouse, tmp_path):
    window = built_window(warehouse)
    export(warehouse, str(tmp_path), window)
    gone = sorted((tmp_path / "video_performance").iterdir())[3]
    day = datetime.fromisoformat(gone.name.removeprefix("event_date=")).replace(tzinfo=UTC)
    with warehouse.connect() as connection:
        connection.begin()
        connection.execute(
            text("DELETE FROM video_performance WHERE event_timestamp::date = :day"), {"day": day}
        )
        kept = connection.scalar(text("SELECT count(*) FROM video_performance"))
        connection.commit()
    told = export(warehouse, str(tmp_path), (day, day + DAY))
    assert told["video_performance"] == {"rows": 0, "days": 0, "removed": 1}
    assert not gone.exists()
    build(warehouse)
    assert kept > 0


def test_two_exports_take_turns_and_never_write_one_file_at_once(built, warehouse, tmp_path):
    window, second = built_window(warehouse), []

    def begin_another(_):
        if not second:
            told = (warehouse, str(tmp_path), window)
            second.append(Thread(target=export, args=told))
            second[0].start()
            second[0].join(5)
            assert second[0].is_alive()

    try:
        first = export(warehouse, str(tmp_path), window, begin_another)
    finally:
        second[0].join()
    assert first == export(warehouse, str(tmp_path), window)
    assert list(tmp_path.rglob("*.partial")) == []


def test_a_window_is_widened_to_whole_days():
    first, second = (NOON.date() + timedelta(days=n) for n in (0, 1))
    assert whole_days((NOON, NOON + timedelta(hours=1))) == (first, second)
    assert whole_days((NOON, NOON + timedelta(hours=12))) == (first, second)
    assert whole_days((NOON, NOON + timedelta(hours=12, microseconds=1)))[1] > second


def test_where_nothing_was_exported_is_said_at_once(tmp_path):
    with pytest.raises(NoFeatureTables, match="cannot be read"):
        open_exported_store(str(tmp_path / "nowhere"), tmp_path / "registry.db")
    with pytest.raises(NoFeatureTables, match="directory or s3://"):
        open_exported_store("gs://bucket", tmp_path / "registry.db")


def test_what_cannot_be_written_is_one_clear_error(built, warehouse, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(feature_export.ExportFailed, match="cannot be written"):
        export(warehouse, str(tmp_path / "file"), built_window(warehouse))


def test_the_command_exports_and_says_what_it_wrote(
    built, warehouse, directory, database_url, module_schema, tmp_path, monkeypatch
):
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", database_url)
    monkeypatch.setenv("FOREVIEW_DATABASE_SCHEMA", module_schema)
    run = functools.partial(CliRunner().invoke, cli)
    result = run(["features", "export", str(tmp_path), "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["location"]) == (0, str(tmp_path))
    assert hashes(tmp_path) == hashes(directory)
    days = [len(list(tmp_path.glob(f"{name}/event_date=*"))) for name in schemas.FEATURE_TABLES]
    assert [told["tables"][name]["days"] for name in schemas.FEATURE_TABLES] == days
    nothing = ["--start", "2026-02-01", "--end", "2026-01-01"]
    assert run(["features", "export", str(tmp_path), *nothing]).exit_code == 2
    refused = run(["features", "export", "gs://bucket/features"])
    assert (refused.exit_code, "s3://bucket/prefix" in refused.output) == (1, True)


def test_feasts_command_line_finds_everything_in_the_directory_for_files(monkeypatch):
    monkeypatch.setenv("FOREVIEW_FEATURES_URL", "/data/features")
    found = vars(importlib.import_module("feature_repo.parquet.repository"))
    registered = {type(o).__name__: o for o in found.values() if hasattr(o, "to_proto")}
    names = {o.name for o in found.values() if hasattr(o, "to_proto")}
    assert names >= {o.name for o in OBJECTS} - {"video_metadata"}
    assert registered["FeatureView"].batch_source.path.startswith("/data/features/")
    here = Path(feature_repo.__file__).parent / "parquet"
    hidden = set((here / ".feastignore").read_text().split())
    assert {path.name for path in here.glob("*.py")} - hidden == {"repository.py"}


def test_definitions_for_files_leave_those_for_postgresql_as_they_are():
    before = [o.batch_source for o in OBJECTS if hasattr(o, "batch_source")]
    moved = [o for o in on_files("/data/features") if hasattr(o, "batch_source")]
    assert {type(view.batch_source) for view in moved} == {FileSource}
    assert [o.batch_source for o in OBJECTS if hasattr(o, "batch_source")] == before
