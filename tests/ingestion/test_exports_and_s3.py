"""Every export as people have them adds up; an S3 landing is the landing of a directory."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from feature_repo.clock import fixed_clock
from ingestion.errors import LandingError
from ingestion.landing import Landing
from ingestion.loading import load
from tests.object_stores import moto, seaweedfs

SHARED = Path(os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXPORTS = sorted((SHARED / "dirty_csv").glob("*.csv.gz"))
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def loaded(path, warehouse, landing):
    (file,) = load([path], warehouse, landing, "real", fixed_clock(NOW)).files
    return file.as_json()


@pytest.mark.full
@pytest.mark.skipif(not EXPORTS, reason=f"needs the trending exports in {SHARED}/dirty_csv")
@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name)
def test_every_row_of_an_export_is_loaded_known_or_refused_for_a_reason(
    path, warehouse, landing
) -> None:
    (told,) = [
        file.as_json() for file in load([path], warehouse, landing, "real", fixed_clock(NOW)).files
    ]
    assert told["error"] is None
    assert told["read"] == told["loaded"] + told["duplicate"] + told["quarantined"] > 500
    assert told["quarantined"] == sum(told["reasons"].values())
    (again,) = [
        file.as_json() for file in load([path], warehouse, landing, "real", fixed_clock(NOW)).files
    ]
    assert (again["read"], again["loaded"]) == (told["read"], 0)
    assert again["reasons"] == told["reasons"]


@pytest.fixture(scope="module", params=["moto", "seaweedfs"])
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """An S3: AWS's imitation, and a real server, which words refusals otherwise."""
    opened = {"moto": moto, "seaweedfs": seaweedfs}[request.param]
    with opened(tmp_path_factory.mktemp(request.param)) as address:
        yield address


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty bucket `landing`, which the environment leads to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="landing")
    yield
    for one in client.list_objects_v2(Bucket="landing").get("Contents", []):
        client.delete_object(Bucket="landing", Key=one["Key"])
    client.delete_bucket(Bucket="landing")


def put(landing: Landing, body: bytes = b"{}") -> str:
    return landing.put(
        body, request={"method": "videos.list"}, headers={"a": "b"}, etag="e", fetched_at=NOW,
        world="real",
    )  # fmt: skip


def test_s3_holds_what_a_directory_holds(s3: None, tmp_path: Path) -> None:
    on_s3, on_disk = Landing("s3://landing/raw"), Landing(str(tmp_path))
    ref = put(on_s3)
    assert ref == put(on_disk)
    assert on_s3.get(ref) == on_disk.get(ref)
    on_s3.put_manifest([ref], NOW, "real")
    assert list(on_s3.refs()) == on_s3.refs_of(NOW) == [ref]
    assert on_s3.ingestion_times() == {ref: NOW}
    on_s3.delete(ref)
    assert list(on_s3.refs()) == []


def test_an_object_that_is_there_is_never_written_again(s3: None) -> None:
    landing = Landing("s3://landing/raw")
    ref = put(landing)
    client = boto3.client("s3")
    key = f"raw/{ref}.zst"
    before = client.head_object(Bucket="landing", Key=key)["LastModified"]
    client.put_object(Bucket="landing", Key=key, Body=b"already here")
    landing._create(f"landing/{key}", b"another")
    assert client.get_object(Bucket="landing", Key=key)["Body"].read() == b"already here"
    assert before is not None


def test_an_s3_that_cannot_be_reached_is_one_clear_error(
    s3: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingestion import landing as module

    quick = {"config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 1}}
    monkeypatch.setattr(module, "_S3_OPTIONS", quick)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(LandingError, match="FOREVIEW_LANDING_URL"):
        put(Landing("s3://landing/raw"))
