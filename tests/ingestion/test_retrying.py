"""What is refused is read again, and no row is lost or held up on the way."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from threading import Barrier

import pytest
from sqlalchemy import text

from feature_repo.clock import fixed_clock
from ingestion.landing import Landing
from ingestion.loading import load
from ingestion.quarantine import Rejected, quarantine
from ingestion.retrying import Choice, retry
from ingestion.warehouse import read_snapshots
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


def test_two_retries_at_once_load_each_row_once(warehouse, landing):
    told = {"request": {"method": "videos.list"}, "world": "real"}
    ref = landing.put(
        json.dumps(VIDEOS).encode(), fetched_at=LOADED_AT - timedelta(hours=1), **told
    )
    refused = [Rejected(ref, item, ("once_refused",)) for item in VIDEOS["items"]]
    quarantine(warehouse, refused, world="real", source="answer", quarantined_at=LOADED_AT)
    read, moments = Barrier(2), count()

    class Slow(Landing):
        def get(self, raw_ref):
            read.wait(10)  # both know what is in quarantine
            return super().get(raw_ref)

    def clock():
        return LOADED_AT + timedelta(seconds=next(moments))

    with ThreadPoolExecutor(2) as threads:
        retries = [
            threads.submit(retry, warehouse, Slow(landing.url), clock, Choice()) for _ in "ab"
        ]
    assert sum(one.result().counts.loaded for one in retries) == len(refused)
    assert read_snapshots(warehouse).num_rows == len(refused)
    assert _refused(warehouse) == []
