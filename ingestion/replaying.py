"""Builds the warehouse again from the raw landing alone, with the very same rows."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from feature_repo.clock import Clock
from ingestion import recorded_tables
from ingestion.ingesting import IngestCounts, ingest_responses
from ingestion.intake import Intake, ReadAnswers, as_stored, read
from ingestion.landing import LandedBody, Landing
from ingestion.loading import Refused, load
from ingestion.reading_ahead import ahead
from ingestion.recordings import SNAPSHOTS

_AT_ONCE = 400

# Called with what is replayed, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass
class ReplayReport:
    """What came of a replay: objects of the landing read, and their rows."""

    objects: int = 0
    rows: IngestCounts = field(default_factory=IngestCounts)


@dataclass
class _Plan:
    """The objects of a landing by how they are to be read."""

    collected: list[tuple[datetime, str, list[str]]] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def replay(
    engine: Engine,
    landing: Landing,
    clock: Clock,
    progress: Progress = lambda what, done, total: None,
) -> ReplayReport:
    """Bring everything landed into the warehouse; what is there already stays as it is.

    Collected answers are known again since the moment the landing tells, and imports since they
    were observed, as at first; only `loaded_at` of imports is new. What was landed and never
    ingested comes in as known from now on.
    """
    report, plan = ReplayReport(), _plan(landing)
    total = sum(len(refs) for _, _, refs in plan.collected)
    for world, answers in ahead(_collected(landing, plan)):
        intake = Intake(engine, landing, clock=clock, world=world)
        report.rows += intake.append(answers)
        report.objects += len(answers.refs)
        progress("collected answers", report.objects, total)
    for number, bodies in enumerate(_read(landing, plan.recorded), start=1):
        report.rows += _replay_recorded(engine, landing, bodies, clock)
        report.objects += len(bodies)
        progress("recorded answers", number * _AT_ONCE, max(len(plan.recorded), 1))
    for ref in plan.files:
        body = landing.get(ref)
        report.rows += replay_file(engine, landing, body, clock)
        report.objects += 1
        progress(str(body.request["file"]), report.objects, report.objects)
    return report


def _plan(landing: Landing) -> _Plan:
    plan, there = _Plan(), set(landing.refs())
    times = landing.ingestion_times()
    for moment, world, refs in landing.manifests():
        # A response that is noted twice was not in the warehouse after the first time.
        # One that is no longer there was purged.
        last = [ref for ref in refs if times[ref] == moment and ref in there]
        plan.collected += [
            (moment, world, last[first : first + _AT_ONCE])
            for first in range(0, len(last), _AT_ONCE)
        ]
    for ref in sorted(there - times.keys()):
        (plan.files if ref.startswith("imports/") else plan.recorded).append(ref)
    return plan


def _collected(landing: Landing, plan: _Plan) -> Iterator[tuple[str, ReadAnswers]]:
    for moment, world, refs in plan.collected:
        yield world, read([as_stored(body, moment) for body in landing.get_each(refs)], moment)


def _read(landing: Landing, refs: Sequence[str]) -> Iterator[list[LandedBody]]:
    for first in range(0, len(refs), _AT_ONCE):
        yield landing.get_each(refs[first : first + _AT_ONCE])


def _replay_recorded(
    engine: Engine, landing: Landing, bodies: Sequence[LandedBody], clock: Clock
) -> IngestCounts:
    """Bring in recorded bodies, and answers that were collected and never ingested."""
    total, now = IngestCounts(), clock()
    recorded = [body for body in bodies if "file" in body.request and body.fetched_at]
    answers = [as_stored(body, body.fetched_at or now).response for body in recorded]
    total += ingest_responses(engine, [a for a in answers if a is not None], loaded_at=now)
    for world in {body.world for body in bodies}:
        lost = [b for b in bodies if b.world == world and "method" in b.request]
        if lost:
            intake = Intake(engine, landing, clock=clock, world=world)
            total += intake.bring_in([as_stored(body, now) for body in lost])
    return total


def replay_file(
    engine: Engine,
    landing: Landing,
    body: LandedBody,
    clock: Clock,
    refused: Refused = lambda rejected: None,
) -> IngestCounts:
    """Load a landed file under its own name, as it was loaded at first."""
    if "read_for" in body.request:
        return IngestCounts()
    with tempfile.TemporaryDirectory() as directory:
        name = PurePath(str(body.request["file"])).name
        path = Path(directory) / name.removesuffix(".gz").removesuffix(".zst")
        path.write_bytes(body.body)
        if path.suffix == ".parquet" and path.name != SNAPSHOTS:
            _write_snapshots_beside(path, landing, body)
        report = load(
            [path], engine, landing, body.world, clock, landed_as=body.raw_ref, refused=refused
        )
        return report.total


def _write_snapshots_beside(path: Path, landing: Landing, versions: LandedBody) -> None:
    """Write what tells the states of the versions' videos, as it was there at first."""
    found = []
    for number, body in enumerate(_snapshots_of(landing, versions)):
        copy = path.with_name(f"{number}.{SNAPSHOTS}")
        copy.write_bytes(body.body)
        with contextlib.suppress(pa.ArrowException):  # a damaged file told nothing at first either
            found.append(recorded_tables.unusual_broadcasts(copy))
    tables = [table for table in found if table is not None]
    if tables:
        pq.write_table(pa.concat_tables(tables), path.with_name(SNAPSHOTS))


def _snapshots_of(landing: Landing, versions: LandedBody) -> Iterator[LandedBody]:
    """Give the snapshots a file of versions was loaded with; what was purged tells nothing."""
    refs = [ref for ref in landing.refs() if ref.startswith("imports/")]
    if "snapshots" in versions.request:
        yield from (landing.get(ref) for ref in refs if ref == versions.request["snapshots"])
        return
    # Older objects do not say which: every file of snapshots of their world may be the one.
    for ref in refs:
        body = landing.get(ref)
        if body.world == versions.world and body.request.get("file") == SNAPSHOTS:
            yield body
