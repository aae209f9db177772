import json
import signal
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner

from serving.commands import forecast, serve
from serving.errors import ServingError
from tests.serving.conftest import NOW

# numba takes scipy along where it is installed; the serving image has none.
HEAVY = ("feast", "mlflow", "pandas", "sqlalchemy", "great_expectations", "pyarrow")


@pytest.fixture
def environment(settings, champion, monkeypatch):
    """The settings as environment variables."""
    for name, value in settings.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"FOREVIEW_{name.upper()}", str(value))
    monkeypatch.setenv("FOREVIEW_CLOCK", NOW.isoformat())


def test_importing_the_service_brings_nothing_heavy_along():
    code = f"import serving.app, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_server_starts_and_ends_well(environment, video):
    command = [sys.executable, "-c", "from serving.commands import serve; serve()"]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        address = json.loads(process.stdout.readline())["address"]
        assert httpx.get(f"{address}/readyz").status_code == 200
        assert httpx.get(f"{address}/v1/videos/{video}/forecast").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_taken_port_is_told(environment):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(serve, ["--port", port])
    assert isinstance(result.exception, ServingError)
    assert "--port" in str(result.exception)


def test_a_missing_setting_is_named(environment, monkeypatch):
    monkeypatch.delenv("FOREVIEW_REDIS_URL")
    for command, arguments in ((serve, ["--port", "0"]), (forecast, ["dQw4w9WgXcQ"])):
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, ServingError)
        assert "FOREVIEW_REDIS_URL" in str(result.exception)


def test_videos_are_forecast_on_the_command_line(environment, video):
    shown = CliRunner().invoke(forecast, [video, "--days", "7"])
    assert shown.exit_code == 0, shown.output
    assert "12,345" in shown.stdout
    told = CliRunner().invoke(forecast, [video, "___________", "--json"])
    assert told.exit_code == 1
    entries = json.loads(told.stdout)["forecasts"]
    assert entries[0]["metrics"]["views"]["current"] == 12345
    assert entries[1]["error"]["code"] == "unknown_video"


def test_a_question_that_cannot_be_asked_is_used_wrongly(environment):
    assert CliRunner().invoke(forecast, ["dQw4w9WgXcQ", "--days", "31"]).exit_code == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOREVIEW_REDIS_URL", "http://localhost"),
        ("FOREVIEW_REDIS_URL", "redis://localhost:99999"),
        ("FOREVIEW_REDIS_URL", "redis://[::1"),
        ("FOREVIEW_REDIS_URL", "redis://localhost/first"),
        ("FOREVIEW_REDIS_SENTINELS", "localhost:many"),
        ("FOREVIEW_CLOCK", "yesterday"),
    ],
)
def test_a_setting_that_cannot_be_is_named_before_anything_starts(
    environment, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, value)
    result = CliRunner().invoke(serve, ["--port", "0"])
    assert isinstance(result.exception, ServingError)
    assert str(result.exception).startswith(variable)
