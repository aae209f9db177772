"""Every damaged export as people have it: what is read is loaded, a duplicate, or named."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from feature_repo.clock import fixed_clock
from ingestion.loading import load

SHARED = Path(os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXPORTS = sorted((SHARED / "dirty_csv").glob("*.csv*"))
CLOCK = fixed_clock(datetime(2026, 11, 1, tzinfo=UTC))
KNOWN = {"conflicting_counts", "date_missing", "record_cut", "video_id_malformed"}


@pytest.mark.skipif(not EXPORTS, reason=f"needs the damaged exports in {SHARED}/dirty_csv")
def test_every_damaged_export_adds_up_and_every_reason_is_named(warehouse, landing):
    report = load(EXPORTS, warehouse, landing, "real", CLOCK)
    assert len(report.files) == len(EXPORTS) >= 7
    for file in report.files:
        told = file.as_json()
        assert told["error"] is None, told
        assert told["read"] == told["loaded"] + told["duplicate"] + told["quarantined"] > 0, told
        assert sum(told["reasons"].values()) == told["quarantined"], told
        assert set(told["reasons"]) <= KNOWN, told
    with warehouse.connect() as connection:
        query = text("SELECT DISTINCT reasons[1] FROM quarantine")
        kept = set(connection.scalars(query))
    assert kept == set(report.total.reasons) - {"conflicting_counts"}
