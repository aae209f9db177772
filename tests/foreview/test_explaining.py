"""Unreachable servers and refused settings are explained in one line, without passwords."""

from pathlib import Path

import httpx
import psycopg
import pytest
import redis
import requests
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from feature_repo.clock import InvalidClock, open_clock
from feature_repo.store import open_feature_store
from foreview.explaining import explain
from foreview.servers.state import free_port
from training.settings import TrainingSettings


@pytest.fixture
def nowhere() -> dict[str, str]:
    """Addresses at which nobody answers."""
    port = free_port()
    return {
        "FOREVIEW_DATABASE_URL": f"postgresql://me:secret@127.0.0.1:{port}/x",
        "FOREVIEW_REDIS_URL": f"redis://:secret@127.0.0.1:{port}/0",
        "FOREVIEW_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
    }


def explained(raised: BaseException, environment: dict[str, str]) -> str:
    line = explain(raised, environment)
    assert line is not None
    assert "\n" not in line
    assert "secret" not in line
    return line


def test_postgresql_that_does_not_answer(nowhere: dict[str, str]) -> None:
    url = nowhere["FOREVIEW_DATABASE_URL"]
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect(url)
    line = explained(raised.value, nowhere)
    assert line.startswith("PostgreSQL does not answer at 127.0.0.1:")
    assert "check FOREVIEW_DATABASE_URL, or run 'foreview up'" in line


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_postgresql_behind_sqlalchemy(nowhere: dict[str, str], driver: str) -> None:
    url = nowhere["FOREVIEW_DATABASE_URL"].replace("postgresql:", f"postgresql+{driver}:")
    engine = create_engine(url)
    with pytest.raises(Exception, match="onnection") as raised:
        engine.connect()
    assert "PostgreSQL does not answer" in explained(raised.value, nowhere)


def test_a_password_postgresql_refuses(database_url: str) -> None:
    wrong = database_url.replace(":" + database_url.split(":")[2].split("@")[0], ":secret")
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect(wrong)
    assert "refuses the password" in explained(raised.value, {"FOREVIEW_DATABASE_URL": wrong})


def test_a_query_that_fails_is_not_called_a_server_that_does_not_answer() -> None:
    full = psycopg.errors.DiskFull("could not extend file: No space left on device")
    line = explained(full, {"FOREVIEW_DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    assert line == "PostgreSQL at 127.0.0.1:1 failed: could not extend file: " + (
        "No space left on device"
    )


def test_a_setting_that_is_missing() -> None:
    line = explained(psycopg.OperationalError("connection failed"), {})
    assert line.startswith("FOREVIEW_DATABASE_URL is not set")


def test_redis_that_does_not_answer(nowhere: dict[str, str]) -> None:
    with (
        redis.Redis.from_url(nowhere["FOREVIEW_REDIS_URL"]) as client,
        pytest.raises(redis.ConnectionError) as raised,
    ):
        client.ping()
    assert "Redis does not answer at 127.0.0.1:" in explained(raised.value, nowhere)


def test_mlflow_that_does_not_answer(nowhere: dict[str, str]) -> None:
    address = nowhere["FOREVIEW_MLFLOW_TRACKING_URI"]
    with pytest.raises(httpx.ConnectError) as by_httpx:
        httpx.get(address)
    with pytest.raises(requests.ConnectionError) as by_requests:
        requests.get(address, timeout=1)
    for raised in (by_httpx, by_requests):
        line = explained(raised.value, nowhere)
        assert line.startswith("MLflow does not answer at 127.0.0.1:")
        assert "FOREVIEW_MLFLOW_TRACKING_URI" in line


def test_an_address_of_no_setting_is_named() -> None:
    address = f"http://127.0.0.1:{free_port()}/v1/model"
    with pytest.raises(httpx.ConnectError) as raised:
        httpx.get(address)
    assert address in explained(raised.value, {})


def test_our_own_errors_speak_for_themselves() -> None:
    with pytest.raises(InvalidClock) as raised:
        open_clock("noon")
    assert explained(raised.value, {}) == str(raised.value)


def test_a_setting_of_the_wrong_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class PortSettings(BaseSettings):
        api_port: int = 8080

    with pytest.raises(ValueError, match="api_port") as raised:
        PortSettings(api_port="eighty")  # type: ignore[arg-type]
    assert explained(raised.value, {}).startswith("FOREVIEW_API_PORT: ")


def handle_badly() -> None:
    try:
        raise redis.ConnectionError("refused")
    except redis.ConnectionError:
        {}["forgotten"]


def test_a_world_that_there_is_not_is_not_trained_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOREVIEW_WORLD", "mars")
    with pytest.raises(ValidationError) as raised:
        TrainingSettings()
    assert "FOREVIEW_WORLD" in str(explained(raised.value, {}))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "page.html"
    with pytest.raises(FileNotFoundError) as raised:
        missing.write_text("")
    assert explained(raised.value, {}) == f"{missing}: No such file or directory"


def test_a_defect_is_not_explained_away() -> None:
    with pytest.raises(KeyError) as raised:
        handle_badly()
    assert explain(raised.value, {}) is None


def test_a_schema_without_tables_or_features_is_told_how_to_get_them(
    database_url: str, redis_url: str, schema: str
) -> None:
    from feast.errors import FeatureViewNotFoundException

    given = {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_REDIS_URL": redis_url,
        "FOREVIEW_DATABASE_SCHEMA": "never_prepared",
    }
    with pytest.raises(DBAPIError) as unprepared:
        open_feature_store(given).list_entities()
    assert "never_prepared" in explained(unprepared.value, given)
    given["FOREVIEW_DATABASE_SCHEMA"] = schema
    with pytest.raises(FeatureViewNotFoundException) as unapplied:
        open_feature_store(given).get_feature_view("video_profile")
    assert "foreview features apply" in explained(unapplied.value, given)
