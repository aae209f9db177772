"""The private Redis: loopback only, with a password, its data appended to disk every second."""

import os
import signal
from pathlib import Path

from foreview.servers.home import Home
from foreview.servers.server import StopSignals, plain_environment
from foreview.servers.state import LOOPBACK

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{directory}"
pidfile "{pid_file}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def redis_url(port: int, password: str) -> str:
    """Give the address, with the password in it."""
    return f"redis://:{password}@{LOOPBACK}:{port}/0"


class RedisServer:
    """Data and configuration in `<home>/redis`."""

    name = "redis"
    program = "redis-server"
    death_signal = signal.SIGTERM
    stop_signals: StopSignals = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))

    def __init__(self, home: Home, port: int, password: str) -> None:
        self._port = port
        self.directory = home.directory / "redis"
        self.pid_file: Path | None = self.directory / "redis.pid"
        self._home = home
        self._password = password
        self._configuration = self.directory / "redis.conf"

    def prepare(self) -> None:
        """Write the configuration anew: port and password come from `servers.json`."""
        self._home.own_directory("redis")
        text = _CONFIGURATION.format(
            host=LOOPBACK,
            port=self._port,
            password=self._password,
            directory=self.directory,
            pid_file=self.pid_file,
        )
        self._configuration.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(self._configuration, flags, 0o600), "w") as file:
            file.write(text)
        self._home.hand_over(self._configuration)

    def command(self) -> list[str]:
        """Give the server's command line."""
        return [str(self._home.redis_server), str(self._configuration)]

    def environment(self) -> dict[str, str]:
        """Give the server's environment variables."""
        return plain_environment()

    def answers(self) -> bool:
        """Tell whether a client can log in, and the data are loaded."""
        import redis

        client = redis.Redis.from_url(redis_url(self._port, self._password), socket_timeout=3)
        try:
            client.ping()
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()
        return True

    def after_start(self) -> None:
        """Redis needs nothing more."""
