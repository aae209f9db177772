"""Forecasts by id beside a constant FastAPI answer and its peers: same store, same model."""

import json
import random
import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.contenders.contender import FORGETFUL, NAIVE, NULL, OURS, Contender, start_all
from benchmarks.contenders.load import Answers, Load, endless, post_request
from benchmarks.contenders.stage import Stage, set_stage

REPETITIONS = 5
SECONDS = 2.0
WARM_UP_SECONDS = 0.5
CLIENTS = (1, 32)
OPEN_RATE = 1_000.0
BATCHES = (1, 10, 100, 1_000)
CONNECTIONS = 64

Rows = list[dict[str, Any]]


def measure() -> Rows:
    """Load all contenders in turn, every repetition one after the other; a row each."""
    with set_stage() as stage, ExitStack() as stack:
        contenders = start_all(stage, stack, _say)
        by_name = {contender.name: contender for contender in contenders}
        _ask_about_all(by_name[OURS], stage)
        rows = _closed(contenders)
        rows += _open([by_name[NULL], by_name[OURS], by_name[FORGETFUL]])
        for contender in (by_name[OURS], by_name[FORGETFUL]):
            rows += _batches(contender, stage, random.Random(7))
        rows += [
            {"measured": f"{c.name}, memory", "MB": c.megabytes()}
            for c in contenders
            if "," not in c.name or c.name == FORGETFUL
        ]
    return rows


def _closed(contenders: list[Contender]) -> Rows:
    rows: Rows = []
    for clients in CLIENTS:
        for repetition in range(REPETITIONS):
            seen = {}
            for contender in contenders:
                cost, answers = _loaded(contender, clients)
                seen[contender.name] = (answers.per_second, cost)
            null_rate, null_cost = seen[NULL]
            rows += [
                {
                    "measured": name, "clients": clients, "repetition": repetition + 1,
                    "requests/s": round(rate), "CPU us": round(cost),
                    "rate / null": round(rate / null_rate, 2),
                    "null CPU / CPU": round(null_cost / cost, 2),
                    "naive CPU / CPU": round(seen[NAIVE][1] / cost, 1),
                }
                for name, (rate, cost) in seen.items()
            ]  # fmt: skip
            _say(f"{clients} clients, repetition {repetition + 1} of {REPETITIONS}")
    return rows


def _loaded(contender: Contender, clients: int) -> tuple[float, Answers]:
    """Load one contender; give its CPU microseconds a request, and the answers."""
    load = Load(contender.address, clients)
    requests = endless(contender.request)
    load.closed_loop(requests, WARM_UP_SECONDS)
    before = contender.cpu_seconds()
    answers = load.closed_loop(requests, SECONDS)
    used = contender.cpu_seconds() - before
    load.close()
    _all_well(contender, answers)
    return used / len(answers.latencies) * 1e6, answers


def _open(contenders: list[Contender]) -> Rows:
    rows: Rows = []
    for repetition in range(REPETITIONS):
        p99 = {}
        for contender in contenders:
            load = Load(contender.address, CONNECTIONS)
            answers = load.open_loop(endless(contender.request), OPEN_RATE, SECONDS, repetition)
            load.close()
            _all_well(contender, answers)
            p99[contender.name] = answers.quantile_ms(0.99)
        rows += [
            {
                "measured": f"{name}, open loop {OPEN_RATE:g}/s", "repetition": repetition + 1,
                "p99 ms": round(value, 2), "p99 / null": round(value / p99[NULL], 2),
            }
            for name, value in p99.items()
        ]  # fmt: skip
        _say(f"open loop, repetition {repetition + 1} of {REPETITIONS}")
    return rows


def _ask_about_all(ours: Contender, stage: Stage) -> None:
    """Have every video read once, as a server has that ran for a while."""
    most, load = max(BATCHES), Load(ours.address, 1)
    for first in range(0, len(stage.video_ids), most):
        asked = {"video_ids": stage.video_ids[first : first + most], "days": [1, 7, 30]}
        request = post_request("/v1/forecasts", json.dumps(asked).encode())
        _all_well(ours, load.closed_loop(iter([request]), 0.0))
    load.close()


def _batches(ours: Contender, stage: Stage, chance: random.Random) -> Rows:
    rows: Rows = []
    single: float | None = None
    for size in BATCHES:
        times = []
        for _ in range(REPETITIONS):
            asked = {"video_ids": chance.sample(stage.video_ids, size), "days": [1, 7, 30]}
            request = post_request("/v1/forecasts", json.dumps(asked).encode())
            load = Load(ours.address, 1)
            began = time.perf_counter()
            answers = load.closed_loop(iter([request]), 0.0)
            times.append(time.perf_counter() - began)
            load.close()
            _all_well(ours, answers)
        per_id = median(times) / size
        single = per_id if single is None else single
        rows.append(
            {
                "measured": f"{ours.name}, {size} ids in one request",
                "ms": [round(t * 1e3, 1) for t in times],
                "per id / one id": round(per_id / single, 3),
            }
        )  # fmt: skip
    return rows


def _all_well(contender: Contender, answers: Answers) -> None:
    if set(answers.statuses) != {200}:
        raise AssertionError(f"{contender.name} answered {answers.statuses}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
