"""What a drill counts, and what it makes of it."""

import socket
import time

import pytest

from benchmarks.drills.load import Load, Sample
from benchmarks.drills.report import Fault, month_availability, result, row, together


def sample(due: float, seconds: float = 0.01, status: int = 200) -> Sample:
    return Sample(due, seconds, status, is_degraded=False, body=b"")


def test_a_failed_request_counts_as_the_time_it_stood_for():
    samples = [sample(at / 10) for at in range(98)] + [sample(9.8, 0.5, 503), sample(9.9, 3.0, 0)]
    found = result("x", "ours", samples, Fault(begun=9.0, lost=0), per_second=10, a_month=30)
    assert (found.requests, found.failed, found.statuses) == (100, 2, {0: 1, 503: 1})
    assert found.outage_seconds == pytest.approx(0.2)
    assert found.felt_seconds == pytest.approx(3.9)
    assert found.worst_ms == pytest.approx(3000)
    assert found.availability == pytest.approx(1 - 0.2 * 30 / 2_592_000)


def test_no_failure_is_a_bound_and_not_a_hundred_per_cent():
    found = result("x", "ours", [sample(at) for at in range(9)], Fault(0.0), 100, 30)
    assert found.felt_seconds == 0.0
    assert found.availability == pytest.approx(1 - 0.03 * 30 / 2_592_000)
    assert row(found)["availability"] == "≥ 99.99996 %"


def test_a_month_of_outage_is_no_availability():
    assert month_availability(outage_seconds=100_000, a_month=30, per_second=10) == 0.0


def test_faults_of_a_month_add_up():
    bad = result("x", "ours", [sample(0, status=500)] * 100, Fault(0.0), 1, a_month=2592)
    assert bad.availability == pytest.approx(0.9)
    assert together([bad, bad]) == pytest.approx(0.8)


def test_the_load_is_open_it_asks_on_while_nobody_answers():
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, Load(silent.getsockname()[1], ["/x"], per_second=50) as load:
        time.sleep(0.5)
        samples = load.stop()
    assert 10 <= len(samples) <= 30
    assert {s.status for s in samples} == {0}
    assert all(s.seconds >= 2.9 for s in samples)
