"""The DAG `drift`, run for real on a platform that forecasts: what it decides."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from foreview.local import Servers
from tests.dags.conftest import Airflow, small_params
from tests.observability.conftest import ask
from tests.observability.platform import END, Platform, open_platform

pytestmark = [pytest.mark.trial, pytest.mark.timeout(1500)]

DAY = timedelta(days=1)


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
