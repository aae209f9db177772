"""`foreview demo`, run as people run it; minutes each."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreview.local import Servers
from tests.foreview.test_local_servers import processes_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(1_800)]


def start(state_dir: Path) -> "subprocess.Popen[str]":
    """Start the demo with nothing set but where its state goes."""
    set_ = {"PATH": os.environ["PATH"], "HOME": str(state_dir), "LANG": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-m", "foreview.cli", "demo"],
        cwd=state_dir,
        env=set_ | {"FOREVIEW_STATE_DIR": str(state_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_no_process(state_dir: Path, seconds: float) -> None:
    """Wait until nothing works in a state directory any more."""
    deadline = time.monotonic() + seconds
    while left := processes_of(Servers(state_dir)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def assert_whole(demo: "subprocess.Popen[str]", state_dir: Path) -> None:
    """Let a demo end, and see that it did all of it and left nothing running."""
    output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert re.search(r"Asked on \d{4}-\d\d-\d\d \d\d:\d\d UTC for views 7 days later", output)
    assert re.search(r"│\s+[\d,]+ - [\d,]+\s+│", output), "no interval in the table"
    hits, asked = map(int, re.search(r"(\d+) of all (\d+) videos asked", output).groups())
    assert asked > 20
    assert hits / asked > 0.5
    assert "champion: the first model of its kind" in output
    await_no_process(state_dir, 0)


def test_a_demo_tells_the_whole_story_and_leaves_nothing_running(state_dir: Path) -> None:
    with start(state_dir) as demo:
        assert_whole(demo, state_dir)


def test_a_demo_killed_half_way_leaves_nothing_running_and_can_be_run_again(
    state_dir: Path,
) -> None:
    with start(state_dir) as demo:
        assert demo.stdout is not None
        assert any("fitting on" in line for line in demo.stdout), "it ended by itself"
        demo.kill()
    await_no_process(state_dir, 30)
    with start(state_dir) as again:
        assert_whole(again, state_dir)
