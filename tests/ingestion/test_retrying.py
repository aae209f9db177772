"""What is refused is read again, and no row is lost or held up on the way."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from feature_repo.clock import fixed_clock
from ingestion.loading import load
from ingestion.quarantine import Rejected, quarantine
from ingestion.retrying import Choice, retry
from tests.ingestion.conftest import LOADED_AT
from tests.ingestion.test_loading import VIDEOS, _write_pair

CLOCK = fixed_clock(LOADED_AT)


class Died(Exception):
    """The process ended here."""


def _died():
    raise Died


def _refused(warehouse):
    with warehouse.connect() as connection:
        query = "SELECT raw_ref, reasons FROM quarantine ORDER BY quarantine_id"
        return [(ref, tuple(reasons)) for ref, reasons in connection.execute(text(query))]


@pytest.fixture
def refused_version(tmp_path, warehouse, landing):
    """Load a pair of which one version is refused; give the name of its file in the landing."""
    load([_write_pair(tmp_path / "pair")], warehouse, landing, "real", CLOCK)
    ((raw_ref, _),) = _refused(warehouse)
    return raw_ref


def test_a_retry_that_dies_before_a_file_is_read_loses_none_of_its_rows(
    refused_version, warehouse, landing
):
    with pytest.raises(Died):
        retry(warehouse, landing, _died, Choice())

    assert _refused(warehouse) == [(refused_version, ("channel_id_malformed",))]


def test_after_a_retry_of_a_file_only_what_it_still_refuses_is_left(
    refused_version, warehouse, landing
):
    with warehouse.begin() as connection:
        connection.execute(text("UPDATE quarantine SET reasons = ARRAY['once_refused']"))
    sound = Rejected(refused_version, {"video_id": "abcdefghij1"}, ("once_refused",))
    told = {"source": "video_versions.parquet", "quarantined_at": LOADED_AT}
    quarantine(warehouse, [sound], world="real", **told)
    retry(warehouse, landing, CLOCK, Choice(reason="once_refused"))

    assert _refused(warehouse) == [(refused_version, ("channel_id_malformed",))]


def test_an_answer_that_cannot_be_read_is_named_and_the_later_ones_are_retried(warehouse, landing):
    told = {"request": {"method": "videos.list"}, "world": "real"}
    seen = LOADED_AT - timedelta(hours=1)
    page = landing.put(b"<html>", fetched_at=seen - timedelta(days=1), **told)
    sound = landing.put(json.dumps(VIDEOS).encode(), fetched_at=seen, **told)
    gone = "2026/01/01/gone"
    for ref, item in ((gone, {"id": "x"}), (page, {"bytes": 6}), (sound, VIDEOS["items"][0])):
        refused = Rejected(ref, item, ("once_refused",))
        quarantine(warehouse, [refused], world="real", source="answer", quarantined_at=LOADED_AT)
    report = retry(warehouse, landing, CLOCK, Choice())

    assert report.counts.loaded == 1
    assert set(report.unreadable) == {gone, page}
    assert _refused(warehouse) == [(gone, ("once_refused",)), (page, ("once_refused",))]
