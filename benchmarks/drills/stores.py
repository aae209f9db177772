"""The stores of a drill: PostgreSQL with an archive, Redis with Sentinels, S3."""

import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import redis

from benchmarks.drills.processes import DrillFailed, Member, wait_until
from foreview.servers.home import Home
from foreview.servers.postgresql import MLFLOW_DATABASE, PostgreSQL, database_url
from foreview.servers.state import LOOPBACK, free_port

SENTINEL_MASTER = "foreview"


class Database:
    """PostgreSQL whose every write also goes to an archive, with base backups."""

    def __init__(self, home: Home) -> None:
        self.port, self._password = free_port(), secrets.token_hex(16)
        self._home = home
        self._server = PostgreSQL(home, self.port, self._password)
        self._archive = home.own_directory("archive")
        self._backup = home.directory / "backup"
        self.member = Member(
            "postgresql", [], self._server.directory, self._server.answers, account=home.account
        )

    @property
    def url(self) -> str:
        """The address of the database `foreview`."""
        return database_url(self.port, self._password)

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's database, for SQLAlchemy."""
        return database_url(self.port, self._password, MLFLOW_DATABASE, "postgresql+psycopg2")

    def start(self) -> None:
        """Make the data directory if there is none, start, and create the databases."""
        self._server.prepare()
        archive = f"test ! -f {self._archive}/%f && cp %p {self._archive}/%f"
        durable = {"wal_level": "replica", "max_wal_senders": "4", "archive_mode": "on"}
        durable |= {"archive_command": archive, "archive_timeout": "1", "shared_buffers": "64MB"}
        settings = [f"--{name}={value}" for name, value in durable.items()]
        self.member.command = [*self._server.command(), *settings]
        self.member.start()
        self._server.after_start()

    def back_up(self) -> None:
        """Take a base backup."""
        shutil.rmtree(self._backup, ignore_errors=True)
        self._home.own_directory(self._backup.name)
        command = ["pg_basebackup", "-D", str(self._backup), "-d", self._replication_url()]
        self._run([*command, "--checkpoint=fast", "--wal-method=none"])

    def archive_everything(self) -> None:
        """Close the current segment and wait until it is in the archive."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            query = "SELECT pg_walfile_name(pg_switch_wal())"
            (segment,) = connection.execute(query).fetchone() or ("",)
        wait_until(lambda: (self._archive / segment).exists(), f"{segment} in the archive")

    def lose_everything(self) -> None:
        """Kill the server and delete its data directory, as a lost disk does."""
        self.crash()
        shutil.rmtree(self._server.directory)

    def crash(self) -> None:
        """Kill the server's main process without a word; its children notice and end."""
        children = self.member.process.children() if self.member.process else []
        self.member.kill()
        wait_until(
            lambda: not any(c.is_running() for c in children), "PostgreSQL's children to end"
        )

    def restore(self, *, archive: bool) -> None:
        """Put the backup in place and start; replay the archive, or do without (naive)."""
        shutil.copytree(self._backup, self._server.directory, copy_function=shutil.copy2)
        for path in (self._server.directory, *self._server.directory.rglob("*")):
            self._home.hand_over(path)
        self._server.directory.chmod(0o700)
        with (self._server.directory / "postgresql.auto.conf").open("a") as file:
            file.write(f"restore_command = 'cp {self._archive}/%f %p'\n")
            if not archive:
                file.write("recovery_target = 'immediate'\n")
            file.write("recovery_target_action = 'promote'\n")
        (self._server.directory / "recovery.signal").touch()
        self._home.hand_over(self._server.directory / "recovery.signal")
        self.start()
        wait_until(self._is_writable, "the restored PostgreSQL to take writes")

    def logged(self, schema: str) -> set[str]:
        """Give the ids of all forecasts that are logged."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(f"SELECT forecast_id FROM {schema}.forecast_log".encode())
            return {str(row[0]) for row in rows}

    def _is_writable(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                found = connection.execute("SELECT NOT pg_is_in_recovery()").fetchone()
        except psycopg.OperationalError:
            return False
        return bool(found and found[0])

    def _replication_url(self) -> str:
        return database_url(self.port, self._password, "postgres")

    def _run(self, command: list[str]) -> None:
        account = self._home.account
        program = str(self._home.postgresql_bin / command[0])
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self._home.directory,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise DrillFailed(f"{command[0]}: {done.stderr.strip()}")


class OnlineStore:
    """Three Redis servers, one of them master, and three Sentinels that watch them."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._password = secrets.token_hex(16)
        self.ports = [free_port() for _ in range(3)]
        self.sentinel_ports = [free_port() for _ in range(3)]
        self.servers = [self._server(at) for at in range(3)]
        self.sentinels = [self._sentinel(at) for at in range(3)]

    def url(self, at: int = 0) -> str:
        """Give the address of one of the servers."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.ports[at]}/0"

    @property
    def sentinel_addresses(self) -> str:
        """The Sentinels, as FOREVIEW_REDIS_SENTINELS wants them."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_ports)

    def start(self) -> None:
        """Start all six, and wait until the Sentinels know both replicas."""
        for member in self.servers:
            member.start()
        for member in self.sentinels:
            member.start()
        wait_until(lambda: self._replicas_known() == 2, "the Sentinels to know the replicas")

    def master(self) -> int:
        """Give which server the Sentinels call master."""
        for at, port in enumerate(self.sentinel_ports):
            if self.sentinels[at].is_running():
                with redis.Redis(host=LOOPBACK, port=port, socket_timeout=2) as sentinel:
                    answer = sentinel.sentinel_get_master_addr_by_name(SENTINEL_MASTER)
                return self.ports.index(answer[1])
        raise DrillFailed("no Sentinel runs")

    def is_replicated(self) -> bool:
        """Tell whether the master of the moment has two replicas that follow it."""
        try:
            with redis.Redis.from_url(self.url(self.master()), socket_timeout=2) as client:
                told = client.info("replication")
        except redis.RedisError:
            return False
        online = [told.get(f"slave{at}", {}).get("state") for at in range(2)]
        return told["role"] == "master" and online == ["online", "online"]

    def _replicas_known(self) -> int:
        known = []
        for port in self.sentinel_ports:
            with redis.Redis(host=LOOPBACK, port=port, socket_timeout=2) as sentinel:
                known.append(len(sentinel.sentinel_slaves(SENTINEL_MASTER)))
        return min(known)

    def _server(self, at: int) -> Member:
        directory = self._home.own_directory(f"redis-{at}")
        lines = [f"bind {LOOPBACK}", f"port {self.ports[at]}", f"requirepass {self._password}"]
        lines += [f"masterauth {self._password}", f'dir "{directory}"', "appendonly yes", 'save ""']
        lines += ["repl-diskless-sync-delay 0"]
        lines += [f"replicaof {LOOPBACK} {self.ports[0]}"] if at else []
        return self._member(f"redis-{at}", directory, lines, self.ports[at], self._password)

    def _sentinel(self, at: int) -> Member:
        directory = self._home.own_directory(f"sentinel-{at}")
        name, port = SENTINEL_MASTER, self.sentinel_ports[at]
        lines = [f"bind {LOOPBACK}", f"port {port}", f'dir "{directory}"']
        lines += [f"sentinel monitor {name} {LOOPBACK} {self.ports[0]} 2"]
        lines += [f"sentinel auth-pass {name} {self._password}"]
        # As in k8s/base/redis/sentinel.yaml.
        lines += [f"sentinel down-after-milliseconds {name} 1000"]
        lines += [f"sentinel failover-timeout {name} 10000"]
        return self._member(f"sentinel-{at}", directory, lines, port, None, "--sentinel")

    def _member(
        self,
        name: str,
        directory: Path,
        lines: list[str],
        port: int,
        password: str | None,
        *more: str,
    ) -> Member:
        configuration = directory / "server.conf"
        configuration.write_text("\n".join(lines) + "\n")
        configuration.chmod(0o600)
        self._home.hand_over(configuration)

        def answers() -> bool:
            try:
                with redis.Redis(
                    host=LOOPBACK, port=port, password=password, socket_timeout=1
                ) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        command = [str(self._home.redis_server), str(configuration), *more]
        return Member(name, command, directory, answers, account=self._home.account)


class ObjectStore:
    """S3 as moto serves it; an outage hangs it, since it keeps its objects in memory."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        directory.mkdir(exist_ok=True)
        # Not moto_server: that asks who it is outside of this machine.
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]
        keys = {"AWS_ACCESS_KEY_ID": "drill", "AWS_SECRET_ACCESS_KEY": "drill"}
        self.environment = keys | {
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.member = Member("s3", command, directory, self._answers, self.environment)

    def create(self, bucket: str) -> None:
        """Create a bucket."""
        import httpx

        address = f"http://{LOOPBACK}:{self.port}/{bucket}"
        httpx.put(
            address,
            headers={
                "Authorization": "AWS4-HMAC-SHA256 Credential=drill/x/us-east-1/s3/aws4_request"
            },
            timeout=10,
        ).raise_for_status()

    def hang(self) -> None:
        """Stop answering."""
        self.member.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        self.member.send(signal.SIGCONT)

    def _answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"http://{LOOPBACK}:{self.port}/", timeout=1).status_code < 500
        except httpx.HTTPError:
            return False


def elapsed(begun: float) -> float:
    """Give the seconds since a moment of the monotonic clock."""
    return time.monotonic() - begun
