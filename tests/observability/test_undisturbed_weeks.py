"""Four weeks in which nothing goes wrong: whoever is woken by them stops listening."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from foreview.local import Servers
from observability import checks, pipeline
from observability.champion import ModelRegistry
from observability.database import connected
from serving.app import run_in_thread
from tests.observability.live import until
from tests.observability.platform import END, Platform, open_platform
from tests.observability.promtool import fired, scenario
from tests.observability.test_seeded import UP, exporter

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]

WEEKS = 4
DAYS = 7 * WEEKS
# A day's sample is held for so many half hours.
HELD = 47


@pytest.fixture(scope="module")
def platform(
    servers: Servers, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A platform with a fresh champion, four weeks before its world's end."""
    with open_platform(
        servers.environment(),
        tmp_path_factory.mktemp("quiet"),
        schema="quiet",
        redis_database=11,
        days=60 + DAYS,
        channels=16,
        seed=23,
    ) as platform:
        platform.collect(END - timedelta(days=DAYS))
        platform.build()
        platform.materialize()
        platform.train()
        yield platform


def test_four_undisturbed_weeks_raise_fewer_than_one_false_alarm_a_week(
    platform: Platform, mlflow_uri: str, tmp_path: Path
) -> None:
    """Each day is collected, built, materialized, asked about, judged and checked."""
    samples: dict[str, dict[int, float]] = {}
    with (
        run_in_thread(platform.serving_settings(), platform.clock) as server,
        httpx.Client(base_url=server.address, timeout=60) as api,
        ModelRegistry(mlflow_uri) as models,
    ):
        until(lambda: api.get("/readyz").is_success, "model")
        sources = checks.Sources(platform.url, platform.schema, models, platform.clock)
        for day in range(DAYS):
            platform.collect(END - timedelta(days=DAYS - 1 - day))
            platform.build()
            platform.materialize()
            ids = platform.videos(timedelta(days=30))
            asked = {"video_ids": ids, "days": [1, 7]}
            told = api.post("/v1/forecasts", json=asked).raise_for_status().json()["forecasts"]
            answered = sum("error" not in one for one in told)
            assert answered > 0.9 * len(ids)
            until(lambda answered=answered: logged(platform) == answered, "log")
            pipeline.outcomes(platform.url, platform.schema, platform.clock)
            checks.check_drift(sources, "synthetic", days=7)
            checks.check_skew(sources, platform.store, "synthetic", hours=24)
            for family in exporter(platform, platform.clock).collect():
                for sample in family.samples:
                    labels = ",".join(f'{k}="{v}"' for k, v in sample.labels.items())
                    name = f'{sample.name}{{{labels}{"," if labels else ""}instance="j"}}'
                    samples.setdefault(name, {})[day] = sample.value
    series = {name: _held(values) for name, values in samples.items()}
    series |= {name: f"1x{DAYS * (HELD + 1)}" for name in UP}
    whole = f"{DAYS * (HELD + 1) * 30}m"
    alarms = fired(tmp_path, scenario("quiet", series, {}, whole, interval="30m"), DAYS)
    assert len(alarms) < WEEKS, alarms


def logged(platform: Platform) -> int:
    """Count what was asked at this moment and has been logged."""
    with connected(platform.url, platform.schema) as connection:
        found = connection.execute(
            "SELECT count(*) FROM forecast_log WHERE asked_at >= %s", [platform.clock()]
        ).fetchone()
    return 0 if found is None else int(found[0])


def _held(values: dict[int, float]) -> str:
    parts = []
    for day in range(DAYS):
        value = values.get(day)
        shown = "_" if value is None else str(value).replace("inf", "Inf")
        parts.append(f"{shown}x{HELD}" if value is not None else f"_x{HELD + 1}")
    return " ".join(parts)
