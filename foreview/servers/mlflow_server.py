"""The private MLflow tracking server, its tables in the private PostgreSQL."""

import http.client
import signal
import socket
import sys
from pathlib import Path

from foreview.servers.server import QUIET, StopSignals, plain_environment
from foreview.servers.state import LOOPBACK


def mlflow_url(port: int) -> str:
    """Give the address; the server asks for no password, and listens on loopback only."""
    return f"http://{LOOPBACK}:{port}"


class MLflowServer:
    """Artifacts in `<state>/mlflow-artifacts`.

    The port listens before the server is started and is inherited by it, so that whoever asks
    during the long import of MLflow waits instead of being refused.
    """

    name = "mlflow"
    pid_file: Path | None = None
    program = "foreview.servers.mlflow_app"
    death_signal = signal.SIGTERM
    stop_signals: StopSignals = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))

    def __init__(self, state_dir: Path, port: int, backend_url: str) -> None:
        self._port = port
        self.directory = state_dir / "mlflow"
        self._artifacts = state_dir / "mlflow-artifacts"
        self._backend_url = backend_url

    def prepare(self) -> None:
        """Make the directories."""
        self.directory.mkdir(exist_ok=True)
        self._artifacts.mkdir(exist_ok=True)

    def listen(self) -> socket.socket:
        """Open the port the server will answer on."""
        return socket.create_server((LOOPBACK, self._port), backlog=128)

    def command(self) -> list[str]:
        """Give the server's command line, without the listening socket's number."""
        return [sys.executable, "-m", self.program, str(self._artifacts)]

    def environment(self) -> dict[str, str]:
        """Give the server's environment variables; the backend's password is among them."""
        return plain_environment() | QUIET | {"MLFLOW_BACKEND_STORE_URI": self._backend_url}

    def answers(self) -> bool:
        """Tell whether the server is past its start."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def after_start(self) -> None:
        """MLflow makes its own tables."""
