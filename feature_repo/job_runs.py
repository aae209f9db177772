"""The table job_runs: what became of each run of a batch job, kept after the job has ended."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Literal

import psycopg
from psycopg import sql

from feature_repo.clock import Clock

Job = Literal[
    "collect", "load", "features_build", "materialize", "backfill", "train", "promote", "outcomes",
    "drift", "skew", "purge",
]  # fmt: skip
# What the rows of a run may be counted as: a closed set, since it becomes a metric's label.
Counted = Literal["loaded", "duplicate", "quarantined", "read", "written", "scored", "compared"]

_CONNECT_SECONDS = 5
_INSERT = """
    INSERT INTO {}.job_runs (job, world, started_at, duration_seconds, outcome, rows, reason)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_log = logging.getLogger(__name__)


@dataclass
class JobRun:
    """A run that is going on.

    Attributes:
        rows: Rows by what became of them; kinds that stay 0 are left out.
        outcome: `succeeded` unless the job says `promoted` or `refused` (training); `failed` is
            set by an exception.
        reason: One line for people, such as a promotion's reason or an error's message.
    """

    rows: Counter[Counted] = field(default_factory=Counter)
    outcome: Literal["succeeded", "promoted", "refused", "failed"] = "succeeded"
    reason: str | None = None


@contextmanager
def job_run(
    database_url: str | None, schema: str, job: Job, clock: Clock, world: str | None = None
) -> Iterator[JobRun]:
    """Record a run at its end, whether it succeeds or fails; a failure is raised on.

    A run that is killed records nothing: alerts watch the age of the last success.

    Args:
        database_url: PostgreSQL's address; None for a run that is recorded nowhere.
        schema: Schema of the platform's tables.
        job: Which job.
        clock: The one clock; a run is dated by its start.
        world: `real` or `synthetic` for a job of one world.
    """
    run, started_at, began = JobRun(), clock(), perf_counter()
    try:
        yield run
    except BaseException as error:
        run.outcome, run.reason = "failed", f"{type(error).__name__}: {error}"[:500]
        # The error that ended the job is the one to tell.
        with suppress(psycopg.Error):
            _record(database_url, schema, job, world, started_at, perf_counter() - began, run)
        raise
    try:
        _record(database_url, schema, job, world, started_at, perf_counter() - began, run)
    except psycopg.Error as error:  # the job itself has done its work
        _log.warning("the run of %s was not recorded: %s", job, error)


def _record(
    database_url: str | None,
    schema: str,
    job: Job,
    world: str | None,
    started_at: datetime,
    seconds: float,
    run: JobRun,
) -> None:
    if database_url is None:
        return
    rows = json.dumps({kind: count for kind, count in run.rows.items() if count})
    values = (job, world, started_at, seconds, run.outcome, rows, run.reason)
    with psycopg.connect(database_url, connect_timeout=_CONNECT_SECONDS) as connection:
        connection.execute(sql.SQL(_INSERT).format(sql.Identifier(schema)), values)
