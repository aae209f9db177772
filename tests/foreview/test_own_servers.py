"""`make test` on servers of one's own, as the matrix of the workflow `ci` runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foreview.local import Servers
from foreview.servers.state import free_port

ROOT = Path(__file__).parents[2]
ASKED = "tests/infrastructure/test_operations.py::test_what_a_logged_forecast_takes"


def outcome_of(database_url: str) -> subprocess.CompletedProcess[str]:
    """Run a test that asks PostgreSQL."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"{ASKED}_is_asked_as_the_guide_says",
        ],
        cwd=ROOT,
        env=variables | {"TEST_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.full
@pytest.mark.timeout(500)
def test_a_tester_s_own_server_takes_the_place_of_the_private_one(servers: Servers) -> None:
    own = outcome_of(servers.environment()["FOREVIEW_DATABASE_URL"])
    assert own.returncode == 0, own.stdout
    nobody = outcome_of(f"postgresql://foreview:none@127.0.0.1:{free_port()}/foreview")
    assert nobody.returncode == 1
    assert "Connection refused" in nobody.stdout
