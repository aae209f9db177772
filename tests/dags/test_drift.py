"""The DAG `drift`, run for real on a platform that forecasts: what it decides, and starts."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from foreview.local import Servers
from observability.database import connected
from serving.registry import model_name
from tests.dags.conftest import Airflow, running_scheduler, small_params, wait_for
from tests.observability.conftest import ask
from tests.observability.platform import END, Platform, open_platform

pytestmark = [pytest.mark.trial, pytest.mark.timeout(2400)]

DAY = timedelta(days=1)
TENFOLD = """
    UPDATE forecast_log SET answer = jsonb_set(answer::jsonb, '{metrics,views,forecasts}', (
        SELECT jsonb_agg(jsonb_set(one, '{p50}', to_jsonb(10 * (one->>'p50')::float)))
        FROM jsonb_array_elements(answer::jsonb #> '{metrics,views,forecasts}') AS one
    ))::json WHERE answer #> '{metrics,views,forecasts}' IS NOT NULL
"""


@pytest.fixture(scope="module")
def platform(
    servers: Servers, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A champion whose forecasts were asked for two days ago and today."""
    with open_platform(
        servers.environment(),
        tmp_path_factory.mktemp("drift"),
        schema="dags_drift",
        redis_database=13,
        days=60,
        channels=16,
    ) as opened:
        opened.collect(END - 2 * DAY)
        opened.build()
        opened.materialize()
        opened.train()
        ask(opened, timedelta(days=60))
        opened.collect(END)
        opened.build()
        opened.materialize()
        ask(opened, timedelta(days=60))
        yield opened


@pytest.fixture
def airflow(platform: Platform, airflow_home: Path) -> Airflow:
    settings = platform.environment | {
        "FOREVIEW_STATE_DIR": str(platform.state_dir),
        "FOREVIEW_CLOCK": platform.emulator.address,
        "FOREVIEW_WORLD": "synthetic",
        "FOREVIEW_PARAMS": str(small_params(platform.state_dir)),
    }
    return Airflow(airflow_home, settings)


def test_drift_and_skew_are_looked_for_and_retraining_is_wanted_only_where_it_matters(
    airflow: Airflow,
) -> None:
    honest = airflow.test("drift")
    assert honest["state"] == "success"
    assert honest["answers"]["skew"]["skewed"] is False
    drifted = honest["answers"]["drift"]["drifted"]
    assert honest["tasks"]["want_retraining"] == ("success" if drifted else "skipped")


def test_drift_starts_a_training_whose_model_waits_for_a_person(
    platform: Platform, airflow: Airflow, mlflow_uri: str
) -> None:
    # As if it had begun to promise ten times the views.
    with connected(platform.url, platform.schema) as connection:
        connection.execute(TENFOLD)
    before, champion = versions(mlflow_uri)

    with running_scheduler(airflow, FOREVIEW_PROMOTION="manual") as scheduler:
        # Switched on, it trains for the last week, in the one slot that there is; only then comes
        # what drift asks for.
        scheduler.unpause("retrain", "drift")
        wait_for(
            lambda: ("asset_triggered", "success") in scheduler.runs("retrain"),
            seconds=1200,
            found=lambda: (scheduler.runs("drift"), scheduler.runs("retrain")),
        )
        assert ("scheduled", "success") in scheduler.runs("drift")
        started = [run for run in scheduler.runs("retrain") if run[0] != "manual"]  # others' tests
        assert sorted(started) == [("asset_triggered", "success"), ("scheduled", "success")]

    after, still = versions(mlflow_uri)
    assert len(after) == len(before) + 2
    assert still == champion


def versions(mlflow_uri: str) -> tuple[set[str], str]:
    """Give the versions of the model for published videos, and the champion's."""
    name = model_name("synthetic", "published")
    with httpx.Client(base_url=f"{mlflow_uri}/api/2.0/mlflow", timeout=30) as api:
        asked = {"filter": f"name='{name}'", "max_results": 1000}
        found = api.get("/model-versions/search", params=asked).raise_for_status().json()
        alias = {"name": name, "alias": "champion"}
        champion = api.get("/registered-models/alias", params=alias).raise_for_status().json()
    return {one["version"] for one in found["model_versions"]}, champion["model_version"]["version"]
