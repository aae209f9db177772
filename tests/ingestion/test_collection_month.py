"""Weeks of simulated operation: everything is looked at in time, and never more than is allowed."""

import pytest

from benchmarks.collection_month import END, simulate
from ingestion import planner
from ingestion.emulator.world import World, synthetic_world

DAYS = 14


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=DAYS, channels=60, end=END)


@pytest.mark.full
def test_two_weeks_are_served_in_time_and_labels_can_be_read(warehouse, world: World) -> None:
    rows = simulate(warehouse, world, DAYS)
    assert all(row["overdue"] == row["rounds out of units"] == 0 for row in rows)
    labels = sum(row["labels"] for row in rows)
    covered = sum(row["labels"] * (row["covered"] or 0) for row in rows)
    assert labels > 150
    assert covered / labels > 0.98, (covered, labels)


@pytest.mark.full
def test_where_units_run_out_no_more_are_used_and_labels_come_first(
    warehouse, world: World
) -> None:
    limit = 25
    rows = simulate(warehouse, world, DAYS, limit=limit)
    assert max(max(row["list"], row["batchGetStats"]) for row in rows) <= limit
    assert sum(row["rounds out of units"] for row in rows) > 10
    covered = [row["covered"] for row in rows if row["labels"]]
    assert sum(covered) / len(covered) > 0.6, rows


@pytest.mark.full
def test_without_looks_for_labels_fewer_can_be_read(
    warehouse, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "label_look", lambda *_: None)
    rows = simulate(warehouse, world, DAYS)
    labels = sum(row["labels"] for row in rows)
    assert sum(row["labels"] * (row["covered"] or 0) for row in rows) / labels < 0.97
