"""Every route, asked what its documentation allows and what it forbids."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("servers")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_no_request_breaks_a_route_or_gets_an_undocumented_answer(
    open_client, champion, draft_champion, tmp_path
):
    schemathesis = Path(sys.executable).with_name("schemathesis")
    with open_client() as client:
        done = subprocess.run(
            [
                schemathesis, "run", f"{client.base_url}/openapi.json", "--max-examples", "8",
                "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
                "--seed", "7", "--no-color",
            ],
            capture_output=True, text=True, timeout=240, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
