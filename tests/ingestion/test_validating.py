"""Two engines, one verdict; tables as a whole; the report for people."""

import json
from datetime import timedelta

import numpy as np
import pytest
from click.testing import CliRunner

from ingestion import commands, landing_commands, suites
from ingestion import warehouse as w
from ingestion.checks import failing_rows
from ingestion.data_docs import Examined, failures
from ingestion.quarantine import Rejected, quarantine
from tests.ingestion.conftest import LOADED_AT, NOON, look, looks, snapshot, snapshots
from tests.ingestion.test_loading import VIDEOS


def _spoilt_snapshots(seed):
    random = np.random.default_rng(seed)
    ids = ["abcdefghij1", "short", "abcdefghij1\n", None, "", "ÀÀÀÀÀÀÀÀÀÀÀ"]
    counts = [None, 0, -1, 10**15]
    late = [0, 10**4, -(10**4)]
    return snapshots(
        [
            snapshot(
                ids[int(random.integers(6))] if random.random() < 0.3 else "abcdefghij1",
                hours=int(random.choice(late)),
                views=counts[int(random.integers(4))],
                like_count=counts[int(random.integers(4))],
            )
            for _ in range(60)
        ]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_fast_checks_and_great_expectations_agree(seed):
    suite = suites.SUITES["video_snapshots"]
    columns = suite.prepare(_spoilt_snapshots(seed), LOADED_AT)
    ours = {}
    for check in suite.checks:
        if rows := failing_rows(columns[check.column], check):
            ours[check.reason] = rows
    assert failures(f"s{seed}", Examined(columns, suite.checks)) == ours
    assert len(ours) >= 4


def test_metadata_checks_agree_too():
    rows = [look(), look(title=None), look(tags=["a\x00"]), look(channel_id="x"),
            look(published_at=LOADED_AT), look(duration_seconds=-1.0)]  # fmt: skip
    suite = suites.SUITES["video_metadata"]
    columns = suite.prepare(looks(rows), LOADED_AT)
    ours = {c.reason: rows for c in suite.checks if (rows := failing_rows(columns[c.column], c))}
    assert failures("metadata", Examined(columns, suite.checks)) == ours
    assert set(ours) == {
        "title_null", "text_with_nul", "channel_id_malformed", "published_after_observation",
        "duration_negative",
    }  # fmt: skip


@pytest.fixture
def run(database_url, schema, tmp_path, monkeypatch):
    """Runs a command against a warehouse of one's own; gives its JSON."""
    for name, value in {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_LANDING_URL": str(tmp_path / "landing"),
        "FOREVIEW_CLOCK": LOADED_AT.isoformat(),
    }.items():
        monkeypatch.setenv(name, value)

    def told(command, *arguments, code=0):
        outcome = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
        assert outcome.exit_code == code, outcome.output
        return json.loads(outcome.stdout)

    return told


def test_what_went_stale_or_fell_off_is_told_as_a_warning(run, warehouse):
    every_day = [snapshot(hours=24 * day) for day in range(20)]
    w.append_metadata(warehouse, looks([look()]))
    w.append_snapshots(warehouse, snapshots(every_day))
    whole = {t["table"]: t for t in run(commands.validate)["tables"]}["warehouse"]
    assert whole["reasons"] == {}
    assert set(whole["warnings"]) == {"stale", "volume_fell"}


def test_views_that_fell_lately_are_told_and_fail_nothing(run, warehouse):
    w.append_metadata(warehouse, looks([look()]))
    lately = (LOADED_AT - NOON) / timedelta(hours=1)
    rows = [snapshot(hours=lately - ago, views=views) for ago, views in ((50, 10), (25, 9), (1, 9))]
    w.append_snapshots(warehouse, snapshots(rows))
    whole = {t["table"]: t for t in run(commands.validate)["tables"]}["warehouse"]
    assert whole["warnings"] == {"views_fell": 1.0}


def test_features_out_of_their_range_fail(run, warehouse):
    w.append_metadata(warehouse, looks([look()]))
    w.append_snapshots(warehouse, snapshots([snapshot()]))
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE video_performance_all PARTITION OF video_performance DEFAULT"
        )
        connection.exec_driver_sql(
            "INSERT INTO video_performance (video_id, event_timestamp, created_timestamp, "
            "view_definition, are_likes_hidden) VALUES "
            "('abcdefghij1', '2026-02-01Z', '2026-01-01Z', 'views_1', 7)"
        )
    tables = {t["table"]: t for t in run(commands.validate, code=1)["tables"]}
    assert tables["video_performance"]["reasons"] == {"are_likes_hidden_out_of_range": 1}
    assert tables["warehouse"]["reasons"] == {"features_known_too_early": 1}
    assert "features_stale" in tables["warehouse"]["warnings"]


def test_data_docs_are_written(run, warehouse, tmp_path):
    w.append_metadata(warehouse, looks([look()]))
    w.append_snapshots(warehouse, snapshots([snapshot()]))
    run(commands.validate, "--docs", str(tmp_path / "docs"))
    page = (tmp_path / "docs" / "index.html").read_text()
    assert "video_snapshots" in page
    assert "warehouse" in page


def test_quarantined_rows_are_listed_retried_and_dropped(run, warehouse, landing, tmp_path):
    body = json.dumps(VIDEOS).encode()
    ref = landing.put(
        body, request={"method": "videos.list"}, fetched_at=LOADED_AT - timedelta(hours=1),
        world="real",
    )  # fmt: skip
    items = [Rejected(ref, item, ("once_refused",)) for item in VIDEOS["items"][:2]]
    items.append(Rejected(ref, {"id": "never"}, ("title_null",)))
    told = {"world": "real", "source": VIDEOS["kind"], "quarantined_at": LOADED_AT}
    quarantine(warehouse, items, **told)
    listed = run(landing_commands.quarantine, "list")
    assert {r["reason"]: r["rows"] for r in listed["reasons"]} == {
        "once_refused": 2, "title_null": 1,
    }  # fmt: skip
    retried = run(landing_commands.quarantine, "retry", "--reason", "once_refused")
    assert (retried["loaded"], retried["quarantined"]) == (2, 0)
    kept = w.read_snapshots(warehouse).to_pylist()
    assert {row["ingested_at"] for row in kept} == {LOADED_AT}
    assert len(kept) == 2
    assert run(landing_commands.quarantine, "drop") == {"dropped": 1}
    assert run(landing_commands.quarantine, "list")["rows"] == []
