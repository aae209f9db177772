"""What watches: our exporter; Prometheus, Alertmanager and Grafana where they are installed."""

import http.client
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from foreview.servers.server import QUIET, StopSignals, plain_environment
from foreview.servers.state import LOOPBACK

# In the order in which they are started: each is told where those before it are.
NAMES = ("metrics", "alertmanager", "prometheus", "grafana")
SOURCES = Path(__file__).parents[2] / "observability"
_PROGRAMS = {
    "metrics": (sys.executable,),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "prometheus": ("prometheus",),
    "grafana": ("grafana-server", "grafana"),
}
PACKAGES = {
    "alertmanager": "Debian: apt install prometheus-alertmanager",
    "prometheus": "Debian: apt install prometheus",
    "grafana": "https://grafana.com/grafana/download",
}
_HEALTH = {
    "metrics": "/metrics",
    "alertmanager": "/-/ready",
    "prometheus": "/-/ready",
    "grafana": "/api/health",
}
# Where Grafana's packages put what its program does not carry.
_GRAFANA_HOME = Path("/usr/share/grafana")
_NO_RECEIVERS = "receivers:\n  - name: pages\n  - name: tickets\n  - name: watchdog\n"


def program_of(name: str) -> str | None:
    """Find the program of an observer on the path; None where it is not installed."""
    return next((path for one in _PROGRAMS[name] if (path := shutil.which(one))), None)


class Observer:
    """One of them, in `<state>/<name>`; its settings come from `observability/`, filled in."""

    pid_file: Path | None = None
    death_signal = signal.SIGTERM
    stop_signals: StopSignals = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0))

    def __init__(
        self, name: str, state_dir: Path, ports: Mapping[str, int], found: Mapping[str, str]
    ) -> None:
        """Describe it.

        Args:
            name: One of NAMES.
            state_dir: Of the private servers.
            ports: Of this one and of those started before it, by name.
            found: Variables with which commands find the private servers.
        """
        self.name, self._ports, self._found = name, ports, found
        self.directory = state_dir / name
        self._executable = program_of(name) or _PROGRAMS[name][0]
        self.program = "foreview.cli" if name == "metrics" else Path(self._executable).name

    def prepare(self) -> None:
        """Write the settings anew: ports may have changed."""
        self.directory.mkdir(exist_ok=True)
        if self.name == "alertmanager":
            (self.directory / "alertmanager.yml").write_text(
                alertmanager_settings(self._alerts_url)
            )
        if self.name == "prometheus":
            (self.directory / "prometheus.yml").write_text(self._prometheus_settings())

    def command(self) -> list[str]:
        """Give the command line; each listens on loopback only."""
        own, program = f"{LOOPBACK}:{self._ports[self.name]}", self._executable
        if self.name == "metrics":
            return [program, "-m", self.program, "metrics", "--port", str(self._ports["metrics"])]
        if self.name == "alertmanager":
            return [
                program, f"--config.file={self.directory}/alertmanager.yml",
                f"--storage.path={self.directory}/data", f"--web.listen-address={own}",
                "--cluster.listen-address=",
            ]  # fmt: skip
        if self.name == "prometheus":
            return [
                program, f"--config.file={self.directory}/prometheus.yml",
                f"--storage.tsdb.path={self.directory}/data", f"--web.listen-address={own}",
            ]  # fmt: skip
        server = [program] if self.program == "grafana-server" else [program, "server"]
        return [*server, f"--homepath={_GRAFANA_HOME}"]

    def environment(self) -> dict[str, str]:
        """Give the environment: of the exporter, where everything is; of Grafana, its settings."""
        plain = plain_environment() | QUIET
        if self.name == "metrics":
            ours = {k: v for k, v in os.environ.items() if k.startswith("FOREVIEW_")}
            return plain | ours | dict(self._found)
        if self.name == "grafana":
            return plain | self._grafana_settings()
        return plain

    def answers(self) -> bool:
        """Tell whether it does its work."""
        connection = http.client.HTTPConnection(LOOPBACK, self._ports[self.name], timeout=5)
        try:
            connection.request("GET", _HEALTH[self.name])
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def after_start(self) -> None:
        """None needs more."""

    @property
    def _alerts_url(self) -> str | None:
        return os.environ.get("FOREVIEW_ALERTS_URL")

    def _prometheus_settings(self) -> str:
        api = os.environ.get("FOREVIEW_API_PORT", "8080")
        targets = os.environ.get("FOREVIEW_API_TARGETS", f"{LOOPBACK}:{api}")
        managers = [
            f"{LOOPBACK}:{self._ports[name]}" for name in ("alertmanager",) if name in self._ports
        ]
        return prometheus_settings(
            targets.split(","), f"{LOOPBACK}:{self._ports['metrics']}", managers
        )

    def _grafana_settings(self) -> dict[str, str]:
        return {
            "FOREVIEW_PROMETHEUS_URL": f"http://{LOOPBACK}:{self._ports.get('prometheus', 9090)}",
            "FOREVIEW_DASHBOARDS": str(SOURCES / "grafana" / "dashboards"),
            "GF_PATHS_PROVISIONING": str(SOURCES / "grafana" / "provisioning"),
            "GF_PATHS_DATA": str(self.directory / "data"),
            "GF_SERVER_HTTP_ADDR": LOOPBACK,
            "GF_SERVER_HTTP_PORT": str(self._ports["grafana"]),
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        }


def prometheus_settings(
    api: list[str], exporter: str, managers: list[str], *, interval: str = "5s"
) -> str:
    """Fill in Prometheus' settings.

    Args:
        api: `host:port` of each instance of the forecast service.
        exporter: `host:port` of `foreview metrics`.
        managers: `host:port` of each Alertmanager.
        interval: How often the forecast service is scraped and rules are judged.
    """
    text = (SOURCES / "prometheus" / "prometheus.yml").read_text()
    return Template(text).substitute(
        FOREVIEW_RULES=SOURCES / "prometheus" / "rules" / "*.yml",
        FOREVIEW_API_TARGETS=", ".join(f'"{target}"' for target in api),
        FOREVIEW_METRICS_TARGET=f'"{exporter}"',
        FOREVIEW_ALERTMANAGERS=", ".join(f'"{target}"' for target in managers),
        FOREVIEW_INTERVAL=interval,
    )


def alertmanager_settings(alerts_url: str | None) -> str:
    """Fill in Alertmanager's settings; without an address alerts are shown on its page only."""
    text = (SOURCES / "alertmanager" / "alertmanager.yml").read_text()
    if alerts_url is None:
        return text[: text.index("receivers:\n")] + _NO_RECEIVERS
    return Template(text).substitute(FOREVIEW_ALERTS_URL=alerts_url.rstrip("/"))
