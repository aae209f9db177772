"""A warehouse, and forecasts as serving logs them."""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from sqlalchemy import Engine

from foreview.local import Servers
from ingestion.warehouse import open_warehouse
from observability.database import Connection, connected
from serving.app import run_in_thread
from tests.observability.live import until
from tests.observability.platform import END, Platform, open_platform

Log = Callable[..., uuid.UUID]


@pytest.fixture
def warehouse(database_url: str, schema: str) -> Iterator[Engine]:
    engine = open_warehouse(database_url, schema)
    yield engine
    engine.dispose()


@pytest.fixture
def database(database_url: str, schema: str) -> Iterator[Connection]:
    with connected(database_url, schema) as connection:
        yield connection


@pytest.fixture
def log_forecast(database: Connection) -> Log:
    """Gives the function that logs a forecast: one metric, (days, p10, p50, p90) each."""

    def log(
        video_id: str | None,
        as_of: datetime,
        *answers: tuple[int, int | None, int | None, int | None],
        metric: str = "views",
        current: int | None = 1000,
        **columns: Any,
    ) -> uuid.UUID:
        forecast_id = uuid.uuid4()
        forecasts = [
            {"horizon_days": days, "at": as_of.isoformat(), "p10": p10, "p50": p50, "p90": p90}
            for days, p10, p50, p90 in answers
        ]
        row = {
            "forecast_id": forecast_id,
            "asked_at": as_of,
            "as_of": as_of,
            "situation": "published",
            "world": "synthetic",
            "video_id": video_id,
            "channel_id": "UC-1",
            "model_version": "1",
            "model_digest": "d1",
            "request": "{}",
            "vector": orjson.dumps({"counts": {}, "tier": "1e3"}).decode(),
            "feature_times": "{}",
            "answer": orjson.dumps(
                {"metrics": {metric: {"current": current, "forecasts": forecasts}}}
            ).decode(),
            "degraded": [],
        } | columns
        names, values = ", ".join(row), ", ".join(["%s"] * len(row))
        database.execute(
            psycopg.sql.SQL(f"INSERT INTO forecast_log ({names}) VALUES ({values})"),  # type: ignore[arg-type]
            list(row.values()),
        )
        return forecast_id

    return log


@pytest.fixture(scope="session")
def observed_platform(
    servers: Servers, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A small platform a week after forecasts were asked for; its newest rows are not online."""
    directory = tmp_path_factory.mktemp("platform")
    with open_platform(
        servers.environment(),
        directory,
        schema="observed",
        redis_database=10,
        days=60,
        channels=16,
    ) as platform:
        run_a_week(platform, timedelta(days=60))
        yield platform


@pytest.fixture(scope="session")
def healthy_platform(
    servers: Servers, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The same with enough videos for a model that keeps what it promises."""
    directory = tmp_path_factory.mktemp("healthy")
    with open_platform(
        servers.environment(),
        directory,
        schema="healthy",
        redis_database=14,
        days=80,
        channels=30,
    ) as platform:
        run_a_week(platform, timedelta(days=30))  # as old as those it is trained on
        yield platform


def run_a_week(platform: Platform, asked_about: timedelta) -> None:
    platform.collect(END - timedelta(days=8))
    platform.build()
    platform.materialize()
    platform.train()
    ask(platform, asked_about)
    platform.collect(END)
    platform.build()


def ask(platform: Platform, younger_than: timedelta) -> None:
    ids = platform.videos(younger_than)
    with (
        run_in_thread(platform.serving_settings(), platform.clock) as server,
        httpx.Client(base_url=server.address, timeout=30) as api,
    ):
        until(lambda: api.get("/readyz").is_success, "model")
        for start in range(0, len(ids), 500):
            question = {"video_ids": ids[start : start + 500], "days": [1, 7]}
            api.post("/v1/forecasts", json=question).raise_for_status()
