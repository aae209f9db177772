"""The raw landing keeps responses as they were received, under what they say."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.errors import LandingError
from ingestion.landing import Landing, unpack

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def _put(landing, body=b'{"items": []}', fetched_at=NOON, **parts):
    request = {"method": "videos.list", "id": "a"}
    return landing.put(body, request=request, fetched_at=fetched_at, world="real", **parts)


def test_a_response_comes_back_as_it_was_received(landing):
    raw_ref = _put(landing, headers={"Server": "scaffolding"}, etag='"x"')

    landed = landing.get(raw_ref)
    assert landed.body == b'{"items": []}'
    assert landed.request == {"method": "videos.list", "id": "a"}
    assert (landed.etag, landed.headers) == ('"x"', {"Server": "scaffolding"})
    assert (landed.fetched_at, landed.world, landed.raw_ref) == (NOON, "real", raw_ref)


def test_responses_are_parted_by_the_day_they_were_fetched(landing):
    assert _put(landing).startswith("2026/01/05/")
    assert _put(landing, fetched_at=None).startswith("imports/")


def test_landing_twice_stores_once_and_another_moment_is_another_response(landing):
    first, again = _put(landing), _put(landing)
    later = _put(landing, fetched_at=NOON.replace(minute=1))

    assert first == again != later
    assert sorted(landing.refs()) == sorted({first, later})


@given(body=st.binary(max_size=200))
def test_any_bytes_survive(tmp_path_factory, body):
    landing = Landing(str(tmp_path_factory.mktemp("landing")))

    assert landing.get(_put(landing, body)).body == body


def test_a_damaged_object_is_refused(landing):
    raw_ref = _put(landing)
    path = Path(landing.url) / f"{raw_ref}.zst"
    packed = path.read_bytes()

    with pytest.raises(LandingError, match="damaged"):
        unpack(packed, "0" * 64)
    path.write_bytes(packed[:-9])
    with pytest.raises(LandingError):
        landing.get(raw_ref)


def test_what_was_never_landed_is_not_found(landing):
    with pytest.raises(LandingError, match="not in the landing"):
        landing.get("2026/01/05/missing")


def test_no_half_written_object_is_left(landing, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LandingError, match="FOREVIEW_LANDING_URL"):
        _put(landing)
    assert [path for path in Path(landing.url).rglob("*") if path.is_file()] == []


def test_a_directory_that_cannot_be_made_is_named_with_its_setting(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(LandingError, match="FOREVIEW_LANDING_URL"):
        _put(Landing(str(tmp_path / "file" / "landing")))


def test_an_object_store_works_the_same():
    landing = Landing("memory://bucket/prefix")
    raw_ref = _put(landing)

    assert landing.get(raw_ref).body == b'{"items": []}'
    assert list(landing.refs()) == [raw_ref]
