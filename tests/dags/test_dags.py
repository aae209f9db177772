"""Every DAG, run for real: in Airflow's environment, on private servers, against the emulator."""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import psutil
import psycopg
import pytest
import redis
import yaml

from feature_repo import store as feature_store
from ingestion import feature_tables, materializing
from ingestion.collecting import collect_due, simulate
from ingestion.landing import Landing
from ingestion.leasing import LEASE
from tests.dags.conftest import (
    END,
    ROOT,
    Airflow,
    OpenWorld,
    Running,
    Scheduler,
    running_scheduler,
    wait_for,
)

pytestmark = [pytest.mark.trial, pytest.mark.timeout(2400)]

DAGS = {path.stem for path in (ROOT / "dags").glob("*.py")}
DAY = timedelta(days=1)
AFTER_LEASES = LEASE + timedelta(minutes=1)
# What a look says, without when it was read and stored by the machine's own clock.
LOOKS = """
    SELECT video_id, observed_at, view_count, like_count, comment_count
    FROM {schema}.video_snapshots ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def world(open_world: OpenWorld) -> Running:
    """Seventy days of twelve channels, of which the last two weeks are still to come."""
    running: Running = open_world("dags_world", 8, days=70, channels=12)
    simulate(running.collector, running.emulator, end=END - 14 * DAY)
    return running


def open_store(running: Running) -> Any:
    return feature_store.open_feature_store(running.airflow.settings)


def online(running: Running) -> dict[bytes, dict[bytes, bytes]]:
    """Everything in a world's online store."""
    with closing(redis.Redis.from_url(running.airflow.settings["FOREVIEW_REDIS_URL"])) as client:
        return {key: client.hgetall(key) for key in client.scan_iter()}


def forget_online(running: Running) -> None:
    with closing(redis.Redis.from_url(running.airflow.settings["FOREVIEW_REDIS_URL"])) as client:
        client.flushdb()


def rows(running: Running, query: str) -> list[Any]:
    return execute(running, query).fetchall()


def execute(running: Running, query: str, *values: Any) -> Any:
    settings = running.airflow.settings
    filled = query.format(schema=settings["FOREVIEW_DATABASE_SCHEMA"])
    with psycopg.connect(settings["FOREVIEW_DATABASE_URL"]) as connection:
        return connection.execute(filled.encode(), values)


@pytest.mark.full
def test_every_dag_parses_quickly_and_alone(airflow_home: Any) -> None:
    parsed = Airflow(airflow_home).drive("parse")
    assert set(parsed) == DAGS
    for name, file in parsed.items():
        assert file["errors"] == []
        assert list(file["dags"]) == [name]
        assert file["seconds"] < 2
        facts = file["dags"][name]
        assert facts["heavy"] == []
        assert min(facts["retries"]) >= 1
        assert all(facts["tells"])
    assert parsed["collect"]["dags"]["collect"]["timetable"] == "CronDataIntervalTimetable"
    assert parsed["collect"]["dags"]["collect"]["retry_seconds"][0] > LEASE.total_seconds()
    assert parsed["retrain"]["dags"]["retrain"]["timetable"] == "AssetOrTimeSchedule"


@pytest.mark.full
def test_the_executor_and_auth_manager_of_the_cluster_are_in_the_lock(airflow_home: Any) -> None:
    values = yaml.safe_load((ROOT / "k8s" / "airflow" / "values.yaml").read_text())
    auth_manager = values["config"]["core"]["auth_manager"]
    found = Airflow(airflow_home).drive(
        "classes",
        AIRFLOW__CORE__EXECUTOR=values["executor"],
        AIRFLOW__CORE__AUTH_MANAGER=auth_manager,
    )
    assert found["executor"] == values["executor"]
    assert found["auth_manager"] == auth_manager.rpartition(".")[2]


def test_a_collection_that_is_killed_is_retried_and_loses_nothing(open_world: OpenWorld) -> None:
    killed, twin = (
        open_world(f"dags_{name}", number, days=12, channels=6)
        for number, name in ((10, "killed"), (11, "twin"))
    )
    for running in (killed, twin):
        simulate(running.collector, running.emulator, end=END - 2 * DAY)
        running.emulator.advance(END - DAY)
    collect_due(twin.collector)
    before = len(rows(killed, LOOKS))
    killed.emulator.app.faults.add({"kind": "slow", "share": 1.0, "seconds": 1.0})

    with killed.airflow.driving("test", "collect") as driver:
        kill_amid_its_work(driver, killed)
        result = killed.airflow.result(driver)

    assert result["state"] == "success"
    assert result["tries"]["collect"] == 2
    # What the first try had not asked for was seen once its leases had ended.
    twin.emulator.advance(END - DAY + AFTER_LEASES)
    collect_due(twin.collector)
    assert len(rows(killed, LOOKS)) > before
    assert videos_since(killed, END - DAY) == videos_since(twin, END - DAY)
    landed = {ref for ref in Landing(str(killed.landing)).refs() if ref > f"{END - DAY:%Y/%m/%d}"}
    known = "SELECT raw_ref FROM {schema}.ingested_responses"
    assert landed <= {ref for (ref,) in rows(killed, known)}, "an answer was landed and lost"

    again = killed.airflow.test("collect")
    assert again["answers"]["collect"]["ingested"]["loaded"] == 0


def videos_since(running: Running, moment: datetime) -> set[str]:
    return {video for video, observed_at, *_ in rows(running, LOOKS) if observed_at >= moment}


def kill_amid_its_work(driver: subprocess.Popen[str], running: Running) -> None:
    """Kill the task's process once it has asked YouTube something, and let its leases end."""
    before = sum(1 for _ in running.landing.rglob("*.zst"))
    give_up = time.monotonic() + 240
    while sum(1 for _ in running.landing.rglob("*.zst")) == before:
        assert driver.poll() is None, "the task ended before it landed anything"
        assert time.monotonic() < give_up, "the task never landed anything"
        time.sleep(0.01)
    children = psutil.Process(driver.pid).children(recursive=True)
    (worker,) = [child for child in children if "script.in" in " ".join(child.cmdline())]
    # It does nothing between the world's moving on and its own end.
    worker.send_signal(signal.SIGSTOP)
    running.emulator.app.faults.clear()
    running.emulator.advance(running.emulator.now() + AFTER_LEASES)
    worker.send_signal(signal.SIGKILL)


def test_a_backfill_of_two_weeks_makes_what_two_weeks_live_made(world: Running) -> None:
    store = open_store(world)
    feature_store.apply(store)
    for day in range(14):
        moment = END - (14 - day) * DAY
        simulate(world.collector, world.emulator, end=moment + DAY)
        feature_tables.build(world.engine)
        materializing.materialize(store, (moment, moment + DAY))
    live = online(world)
    assert len(live) > 50
    forget_online(world)

    window = {"start": f"{END - 14 * DAY:%F}", "end": f"{END:%F}", "chunk_days": 5}
    result = world.airflow.test("backfill", window)

    assert result["state"] == "success"
    assert len(result["answers"]["plan"]) == 3
    assert online(world) == live


def test_materialize_brings_every_built_row_online(world: Running) -> None:
    feature_tables.build(world.engine)
    forget_online(world)
    result = world.airflow.test("materialize")
    assert result["state"] == "success"
    videos = rows(world, "SELECT count(DISTINCT video_id) FROM {schema}.video_profile")[0][0]
    channels = rows(world, "SELECT count(DISTINCT channel_id) FROM {schema}.channel_track_record")
    assert len(online(world)) == videos + channels[0][0]


@pytest.fixture(scope="module")
def trained(world: Running) -> list[Any]:
    """Three trainings: behind a gate, the first that counts, and the same again."""
    simulate(world.collector, world.emulator, end=END)
    gated = world.airflow.test("retrain", FOREVIEW_PROMOTION="manual")
    return [gated, world.airflow.test("retrain"), world.airflow.test("retrain")]


def test_retrain_ends_with_a_champion_and_then_with_a_refusal_and_says_why(
    trained: list[Any],
) -> None:
    assert [result["state"] for result in trained] == ["success"] * 3
    verdicts = [
        {model["model"]: model for model in result["answers"]["train"]["models"]}
        for result in trained
    ]
    published = [found["foreview-published-synthetic"] for found in verdicts]
    assert [model["promoted"] for model in published] == [False, True, False]
    assert "waits for a person" in published[0]["reason"]
    assert all(model["reason"] for model in published)


def test_outcomes_judges_what_is_due(world: Running) -> None:
    result = world.airflow.test("outcomes")
    assert result["state"] == "success"
    assert set(result["answers"]["outcomes"]) == {"judged"}


def test_purge_deletes_what_is_too_old_and_leaves_a_certificate(open_world: OpenWorld) -> None:
    running = open_world("dags_purge", 12, days=12, channels=3)
    simulate(running.collector, running.emulator, end=END)
    counted = "SELECT count(*) FROM {schema}.video_snapshots WHERE observed_at "
    old, young = (rows(running, f"{counted} {side} '{END - 5 * DAY}'") for side in ("<", ">="))
    assert old[0][0] > 0
    # As if they had been collected from the real YouTube, a moment after they were seen.
    collected = "world = 'real', ingested_at = observed_at + interval '1 second'"
    execute(running, f"UPDATE {{schema}}.video_snapshots SET {collected}")
    result = running.airflow.test("purge", FOREVIEW_RETENTION_DAYS="5")
    assert result["state"] == "success"
    certificate = result["answers"]["purge"]
    assert sum(certificate["deleted"].values()) >= old[0][0]
    assert not any(certificate["remaining"].values())
    assert rows(running, "SELECT count(*) FROM {schema}.video_snapshots") == young


def test_a_task_that_fails_for_good_is_told_to_alertmanager(
    world: Running, alertmanager: str
) -> None:
    result = world.airflow.test(
        "materialize",
        FOREVIEW_REDIS_URL="redis://127.0.0.1:9/0",
        FOREVIEW_ALERTMANAGER_URL=alertmanager,
        DRIVER_RETRIES="0",
    )
    assert result["state"] == "failed"
    with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts", timeout=10) as response:
        labels = [alert["labels"] for alert in json.load(response)]
    assert {
        "alertname": "AirflowTaskFailed",
        "severity": "warning",
        "dag_id": "materialize",
        "task_id": "materialize",
    } in labels


def test_a_command_that_hangs_is_given_up_when_its_time_is_over(open_world: OpenWorld) -> None:
    running = open_world("dags_hangs", 14, days=12, channels=3)
    settings = running.airflow.settings
    table = f"{settings['FOREVIEW_DATABASE_SCHEMA']}.forecast_log"
    with psycopg.connect(settings["FOREVIEW_DATABASE_URL"]) as holder:
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        began = time.monotonic()
        with running.airflow.driving(
            "test", "outcomes", "{}", DRIVER_RETRIES="0", DRIVER_TIMEOUT="20"
        ) as driver:
            try:
                driver.wait(timeout=120)
            finally:
                holder.rollback()
            assert running.airflow.result(driver)["state"] == "failed"
    assert time.monotonic() - began < 120


@pytest.fixture
def scheduler(world: Running) -> Iterator[Scheduler]:
    with running_scheduler(world.airflow) as running:
        yield running


def test_new_observations_start_materialize_by_way_of_an_asset(
    world: Running, scheduler: Scheduler
) -> None:
    forget_online(world)
    scheduler.unpause("materialize", "collect")
    wait_for(
        lambda: ("asset_triggered", "success") in scheduler.runs("materialize"),
        seconds=600,
        found=lambda: (scheduler.runs("collect"), scheduler.runs("materialize")),
    )
    assert online(world)
