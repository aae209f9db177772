"""What collection will cost is foreseen, and kept within the quota."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ingestion import planner
from ingestion.leasing import Leases
from ingestion.metrics import IngestionMetrics
from ingestion.quota import LIST, STATISTICS, QuotaExhausted, QuotaLedger, usage
from ingestion.quota_forecast import (
    Load,
    QuotaTooSmall,
    forecast,
    looks_per_day,
    most_channels,
    outlook,
    read_load,
    require_capacity,
)
from ingestion.targets import Target, save_targets

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOTHING = Load(np.array([]), np.array([]))


def usual(channels: int) -> Load:
    return NOTHING.scaled_to(channels)


def test_the_forecast_follows_the_planner() -> None:
    age, looks = timedelta(0), np.zeros(100)
    while age < timedelta(days=100):
        looks[age.days] += 1
        wait = planner.interval(age)
        if wait is None:
            break
        age += wait
    often, _ = looks_per_day(np.arange(100) + 0.5)
    assert often[:30].tolist() == looks[:30].tolist()
    assert often.sum() == pytest.approx(looks.sum(), abs=2)


def test_twice_the_channels_cost_twice_the_units() -> None:
    once, twice = forecast(usual(1_000)), forecast(usual(2_000))
    for bucket in (LIST, STATISTICS):
        assert twice[bucket][-1] == pytest.approx(2 * once[bucket][-1], rel=0.02)


def test_ten_thousand_usual_channels_fit_and_fifty_thousand_are_refused() -> None:
    require_capacity(usual(10_000))
    with pytest.raises(QuotaTooSmall, match="--force"):
        require_capacity(usual(50_000))
    assert 10_000 < most_channels(NOTHING) < 50_000
    fits = {row["channels"]: row["fits"] for row in outlook(NOTHING, (10_000, 50_000), 14)}
    assert (fits[10_000], fits[50_000]) == (True, False)


def test_new_channels_are_read_for_the_first_time_over_days() -> None:
    units = forecast(NOTHING.with_channels(10_000))[LIST]
    assert units[0] <= 10_000
    assert units[-1] < units[0]


def video(name: str, due: datetime, **columns: object) -> Target:
    published = NOW - timedelta(days=5)
    return Target("video", name, "synthetic", published, due, published_at=published, **columns)


def test_the_load_is_read_from_the_targets(warehouse) -> None:
    channel = Target("channel", "UC1", "synthetic", NOW, NOW, last_observed_at=NOW)
    with warehouse.begin() as connection:
        save_targets(connection, [channel, video("a", NOW, channel_id="UC1")])
    load = read_load(warehouse, "synthetic", NOW)
    assert load.video_ages_days.tolist() == [5.0]
    assert load.uploads_per_day.tolist() == [1 / 28]


def test_units_kept_for_labels_are_for_labels_only(warehouse) -> None:
    with closing(QuotaLedger(warehouse, lambda: NOW, world="real", limit=10, block=1)) as ledger:
        ledger.reserve(STATISTICS, 4)
        for _ in range(6):
            ledger.charge(STATISTICS)
        with pytest.raises(QuotaExhausted):
            ledger.charge(STATISTICS)
        for _ in range(4):
            ledger.charge(STATISTICS, True)
        with pytest.raises(QuotaExhausted):
            ledger.charge(STATISTICS, True)
        ledger.charge(LIST)
    (bucket,) = [b for b in usage(warehouse, NOW) if b.bucket == STATISTICS]
    assert (bucket.used, bucket.reserved, bucket.left) == (10, 4, 0)


def test_once_youtube_says_no_nobody_asks_again_that_day(warehouse) -> None:
    first, second = (QuotaLedger(warehouse, lambda: NOW, world="real", block=1) for _ in range(2))
    first.charge(LIST)
    first.refused(LIST)
    with pytest.raises(QuotaExhausted):
        second.charge(LIST)


def test_a_forecast_makes_its_video_due_when_it_meets_the_truth(warehouse) -> None:
    with warehouse.begin() as connection:
        later = NOW + timedelta(days=1)
        save_targets(connection, [video(n, later) for n in ("asked", "other")])
        connection.exec_driver_sql(
            "INSERT INTO forecast_log (forecast_id, asked_at, as_of, situation, world, video_id, "
            "model_version, model_digest, request, vector, feature_times, answer) VALUES "
            "(gen_random_uuid(), %(at)s, %(at)s, 'published', 'synthetic', 'asked', '1', 'd', "
            """'{"days": [1, 7]}', '{}', '{}', '{}')""",
            {"at": NOW - timedelta(days=7) + timedelta(hours=2)},
        )
    leases, label = Leases(warehouse, "synthetic"), NOW + timedelta(hours=2)
    # Never looked at: once before the moment, at once, and once after it.
    assert leases.schedule_labels(NOW, NOW + timedelta(hours=12)) == 1
    (early,) = leases.due("video", NOW, limit=10)
    with warehouse.begin() as connection:
        save_targets(connection, [planner.observed(early, NOW, 5)])
    assert leases.schedule_labels(NOW, NOW + timedelta(hours=12)) == 1
    assert leases.due("video", NOW, limit=10) == []
    (due,) = leases.due("video", label, limit=10)
    assert (due.target_id, due.label_due_at) == ("asked", label)
    (request,) = planner.due([due], label)
    assert request.has_label
    assert leases.due("video", label, limit=10) == []
    after_lease = label + timedelta(minutes=16)
    assert [t.target_id for t in leases.due("video", after_lease, limit=10)] == ["asked"]
    with warehouse.begin() as connection:
        save_targets(connection, [planner.observed(due, after_lease, 6)])
    assert leases.schedule_labels(after_lease, NOW + timedelta(hours=12)) == 0


def test_a_video_that_doubles_in_a_day_is_looked_at_again_soon() -> None:
    before = video("v", NOW, last_observed_at=NOW - timedelta(days=1), last_count=1_000)
    slow, fast = (planner.observed(before, NOW, views).next_due_at for views in (1_100, 2_100))
    assert slow - NOW == timedelta(hours=24)
    assert fast - NOW == timedelta(hours=6)


def test_what_was_done_is_there_to_be_scraped(warehouse) -> None:
    with warehouse.begin() as connection:
        save_targets(connection, [video("a", NOW - timedelta(hours=3))])
        connection.exec_driver_sql(
            "INSERT INTO job_runs (job, world, started_at, duration_seconds, outcome, rows) VALUES "
            """('collect', 'synthetic', '2026-06-01Z', 1, 'succeeded', '{"loaded": 7}')"""
        )
    registry = CollectorRegistry()
    registry.register(IngestionMetrics(warehouse, lambda: NOW))
    told = generate_latest(registry).decode()
    assert 'ingestion_rows_total{outcome="loaded",world="synthetic"} 7.0' in told
    assert 'ingestion_overdue_targets{world="synthetic"} 1.0' in told
    assert 'youtube_quota_units_limit{bucket="search"} 100.0' in told
    # It is five days old and was never looked at: the label of day 3 is missed, 7 is to come.
    assert 'ingestion_label_coverage_ratio{horizon_days="3",world="synthetic"} 0.0' in told
    assert 'horizon_days="7"' not in told
