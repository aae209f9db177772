"""The drills themselves, with our settings: no request and no acknowledged row is lost."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.infrastructure.manifests import ROOT

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]

NAMES = ("kill -9 of each instance", "hung instance", "Redis Sentinel failover", "corrupted bundle")


def test_no_fault_costs_a_request_or_a_row():
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("drills need a load balancer: apt install haproxy")
    command = [sys.executable, "-m", "benchmarks.drills", "--ours-only", "--json", *NAMES]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    drills = {drill["drill"]: drill for drill in json.loads(done.stdout)["drills"]}
    assert set(drills) == set(NAMES)
    for drill in drills.values():
        assert drill["failed"] == 0
        assert drill["requests"] > 300
    assert drills["Redis Sentinel failover"]["degraded"] > 0, "the fault was not felt at all"


def test_instances_replaced_and_killed_in_turn_fail_none_of_5000_requests():
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("drills need a load balancer: apt install haproxy")
    names = ("rolling upgrade", "kill -9 of each instance")
    options = ["--json", "--per-second", "200"]
    command = [sys.executable, "-m", "benchmarks.drills", *options, *names]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    drills = json.loads(done.stdout)["drills"]
    ours = [drill for drill in drills if drill["settings"] == "ours"]
    assert sum(drill["requests"] for drill in ours) >= 5000
    assert [drill["failed"] for drill in ours] == [0, 0]
    naive = [drill for drill in drills if drill["settings"] != "ours"]
    assert all(drill["failed"] for drill in naive), "naive settings fail nothing: is it a test?"
