"""Fixtures every test may use: private servers, throw-away schemas, and no way out."""

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before Feast, whose import turns all counters of a process into files shared by every registry.
import prometheus_client  # noqa: F401
import pytest
from hypothesis import settings

from foreview.local import Servers

# Before LightGBM is loaded: threads that spin while they wait stall a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A busy machine makes no example wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Servers of one's own, of any version that is supported, in the place of the private ones. What
# they hold is thrown away. Read before a test run forgets all settings.
_OWN = {
    "FOREVIEW_DATABASE_URL": os.environ.get("TEST_DATABASE_URL"),
    "FOREVIEW_REDIS_URL": os.environ.get("TEST_REDIS_URL"),
}
OWN_SERVERS = {name: url for name, url in _OWN.items() if url}

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(self: socket.socket, address: object) -> None:
        _refuse_beyond_loopback(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: object) -> int:
        _refuse_beyond_loopback(self, address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        yield


def _refuse_beyond_loopback(connection: socket.socket, address: object) -> None:
    beyond = connection.family in (socket.AF_INET, socket.AF_INET6)
    if beyond and isinstance(address, tuple) and address[0] not in LOOPBACK:
        raise AssertionError(f"tests stay on this machine, not {address}")


@pytest.fixture(autouse=True, scope="session")
def no_developer_settings(only_loopback: None) -> Iterator[None]:
    """Hide the developer's own settings, so that a test run is the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("FOREVIEW_", "MLFLOW_", "FEAST_", "YOUTUBE_", "PG", "AWS_")):
                patch.delenv(name)
        # Nothing is ever read from or written to the working directory's own state.
        patch.setenv("FOREVIEW_STATE_DIR", "/nonexistent/foreview-tests")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("GX_ANALYTICS_ENABLED", "false")
        yield


def made_state_dir() -> Iterator[Path]:
    """Make a state directory, and delete it with whatever still runs from it."""
    # Not below pytest's own folder: that is closed to the account root's servers run as.
    directory = Path(tempfile.mkdtemp(prefix="foreview-tests-"))
    directory.chmod(0o755)
    yield directory
    Servers(directory).delete()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory of one's own; whatever still runs from it is stopped afterwards."""
    yield from made_state_dir()


class TestedServers(Servers):
    """The private servers; a tester's own take the place of theirs. MLflow is always private."""

    __test__ = False

    def environment(self) -> dict[str, str]:
        return super().environment() | OWN_SERVERS


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL, Redis and MLflow for the whole run; they die with it, even under kill -9.

    MLflow is still starting: ask for `mlflow_uri` to wait for it.
    """
    for directory in made_state_dir():
        tested = TestedServers(directory)
        tested.start(linked=True)
        yield tested


@pytest.fixture(scope="session")
def database_url(servers: Servers) -> str:
    """The address of a PostgreSQL database, as its superuser."""
    return servers.environment()["FOREVIEW_DATABASE_URL"]


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    """The address of a Redis, whose databases 0 to 15 are the tests'."""
    return servers.environment()["FOREVIEW_REDIS_URL"]


@pytest.fixture(scope="session")
def mlflow_uri(servers: Servers) -> str:
    """The address of the private MLflow, once it answers."""
    servers.wait_for("mlflow")
    return servers.environment()["FOREVIEW_MLFLOW_TRACKING_URI"]


@pytest.fixture
def empty_schema(database_url: str) -> Iterator[str]:
    """The name of a fresh schema without tables, dropped with all it holds afterwards."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    yield name
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())
        connection.execute(f"DROP SCHEMA IF EXISTS {name}_registry CASCADE".encode())


@pytest.fixture
def schema(database_url: str, empty_schema: str) -> str:
    """The name of a fresh schema with every table of the platform, dropped afterwards."""
    from ingestion.warehouse import migrate

    migrate(database_url, empty_schema)
    return empty_schema
