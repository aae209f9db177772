"""The private PostgreSQL 18: TCP on loopback only, scram passwords, tuned for two cores."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from foreview.errors import LocalServersError
from foreview.servers.home import Home
from foreview.servers.server import StopSignals, plain_environment
from foreview.servers.state import LOOPBACK

USER = "foreview"
DATABASE = "foreview"
MLFLOW_DATABASE = "mlflow"
_PID_FILE = "postmaster.pid"

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "80",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "max_parallel_workers_per_gather": "1",
    "random_page_cost": "1.1",
    "jit": "off",
    # Nothing replicates from here: minimal WAL lets bulk loads into new tables skip it.
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def database_url(
    port: int, password: str, database: str = DATABASE, scheme: str = "postgresql"
) -> str:
    """Give the address of a database, with the password in it."""
    return f"{scheme}://{USER}:{password}@{LOOPBACK}:{port}/{database}"


class PostgreSQL:
    """Data in `<home>/postgresql`, made by initdb at the first start."""

    name = "postgresql"
    program = "postgres"
    death_signal = signal.SIGINT  # fast shutdown: disconnects clients, then writes a checkpoint
    stop_signals: StopSignals = (
        (signal.SIGINT, 60.0),
        (signal.SIGQUIT, 20.0),
        (signal.SIGKILL, 10.0),
    )

    def __init__(self, home: Home, port: int, password: str) -> None:
        self._port = port
        self.directory = home.directory / "postgresql"
        self.pid_file: Path | None = self.directory / _PID_FILE
        self._home = home
        self._password = password

    def prepare(self) -> None:
        """Create the data directory, once; remove the pid file a crash left behind.

        The pid in it may be another program's by now, and PostgreSQL would refuse to start. The
        caller has made sure that no process of this PostgreSQL is left.
        """
        if not self.directory.exists():
            self._create_data()
        (self.directory / _PID_FILE).unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Give the server's command line."""
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        program = str(self._home.postgresql_bin / "postgres")
        return [program, "-D", str(self.directory), "-p", str(self._port), *settings]

    def environment(self) -> dict[str, str]:
        """Give the server's environment variables."""
        return plain_environment()

    def answers(self) -> bool:
        """Tell whether a client can log in and ask."""
        import psycopg

        try:
            with psycopg.connect(self._url(), connect_timeout=3) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def after_start(self) -> None:
        """Create the databases that are not there yet."""
        import psycopg

        with psycopg.connect(self._url(), autocommit=True) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
            for missing in {DATABASE, MLFLOW_DATABASE} - {row[0] for row in rows}:
                connection.execute(f'CREATE DATABASE "{missing}"'.encode())

    def _url(self) -> str:
        return database_url(self._port, self._password, "postgres")

    def _create_data(self) -> None:
        draft = self.directory.with_name("postgresql.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._home.own_directory(draft.name)
        password_file = self._password_file()
        try:
            self._initdb(draft, password_file)
        finally:
            password_file.unlink()
        draft.rename(self.directory)

    def _password_file(self) -> Path:
        path = self._home.directory / "initdb.password"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._password)
        self._home.hand_over(path)
        return path

    def _initdb(self, data: Path, password_file: Path) -> None:
        account = self._home.account
        done = subprocess.run(
            [
                str(self._home.postgresql_bin / "initdb"),
                f"--pgdata={data}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ],
            cwd=data,
            env=self.environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LocalServersError(f"initdb failed in {data}:\n{done.stderr.strip()}")
