"""The DAG `drift`, run for real on a platform that forecasts: and what it decides."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from foreview.local import Servers
from tests.dags.conftest import Airflow
from tests.observability.conftest import ask
from tests.observability.platform import END, Platform, open_platform

pytestmark = [pytest.mark.trial, pytest.mark.timeout(1500)]


@pytest.fixture
def platform(servers: Servers, mlflow_uri: str, tmp_path: Path) -> Iterator[Platform]:
    """A champion whose forecasts were asked for today."""
    with open_platform(
        servers.environment(),
        tmp_path,
        schema="dags_drift",
        redis_database=13,
        days=60,
        channels=16,
    ) as opened:
        opened.collect(END - timedelta(days=1))
        opened.build()
        opened.materialize()
        opened.train()
        ask(opened, timedelta(days=60))
        yield opened


def test_drift_and_skew_are_looked_for_and_retraining_is_wanted_only_where_it_matters(
    platform: Platform, airflow_home: Path
) -> None:
    settings = platform.environment | {
        "FOREVIEW_STATE_DIR": str(platform.state_dir),
        "FOREVIEW_CLOCK": platform.emulator.address,
        "FOREVIEW_WORLD": "synthetic",
    }
    airflow = Airflow(airflow_home, settings)
    honest = airflow.test("drift")
    assert honest["state"] == "success"
    assert honest["answers"]["skew"]["skewed"] is False
    drifted = honest["answers"]["drift"]["drifted"]
    assert honest["tasks"]["want_retraining"] == ("success" if drifted else "skipped")
