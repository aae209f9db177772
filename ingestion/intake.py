"""From landed to known: what is landed is brought into the warehouse exactly once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from feature_repo.clock import Clock
from ingestion.ingesting import (
    Batch,
    IngestCounts,
    LandedResponse,
    append_batch,
    prepare,
    read_batch,
)
from ingestion.landed import CHANNELS, STATS, VIDEOS, kind_of
from ingestion.landing import LandedBody, Landing
from ingestion.leasing import LEASE
from ingestion.patience import through_outages

# How far back a starting collector looks for what a dead one landed and did not bring in.
_RECOVERED_DAYS = 7
_AT_ONCE = 200

_KNOWN = text("SELECT raw_ref FROM ingested_responses WHERE raw_ref = ANY(:refs)")
_CLAIM = text("""
    INSERT INTO ingested_responses (raw_ref, world, ingested_at)
    SELECT raw_ref, :world, :now FROM unnest(CAST(:refs AS text[])) AS raw_ref
    ON CONFLICT DO NOTHING RETURNING raw_ref
""")
_FORGET = text("DELETE FROM ingested_responses WHERE ingested_at < :before")

Also = Callable[[Connection], None]


@dataclass(frozen=True)
class Stored:
    """A landed answer: its rows, or only its name where it holds none (a page of uploads)."""

    raw_ref: str
    response: LandedResponse | None = None


@dataclass(frozen=True)
class ReadAnswers:
    """Landed answers, parsed and validated.

    Attributes:
        refs: What is to be noted as brought in, in one order for all: no deadlock.
        batch: Their rows.
    """

    refs: Sequence[str]
    batch: Batch

    def only(self, refs: Iterable[str]) -> Batch:
        """Give the rows of some of the answers."""
        chosen = set(refs)
        if len(chosen) == len(self.refs):
            return self.batch
        mine = [r for r in self.batch.responses if r.raw_ref in chosen]
        return read_batch(mine, self.batch.loaded_at)


def read(stored: Sequence[Stored], moment: datetime) -> ReadAnswers:
    """Parse and validate answers as known since a moment."""
    answers = [replace(s.response, ingested_at=moment) for s in stored if s.response]
    return ReadAnswers(sorted(s.raw_ref for s in stored), read_batch(answers, moment))


class Intake:
    """Brings one world's landed answers into the warehouse, each once, through outages."""

    def __init__(self, engine: Engine, landing: Landing, *, clock: Clock, world: str) -> None:
        self._engine = engine
        self._landing = landing
        self._clock = clock
        self._world = world

    def bring_in(self, stored: Sequence[Stored], also: Also = lambda _: None) -> IngestCounts:
        """Append what is not there yet, note that it is, and do something else, all or nothing.

        When the answers became known is written into the landing first, so that the warehouse can
        be built again from there with the very same rows.
        """
        now = self._clock()
        if stored:
            self._landing.put_manifest([s.raw_ref for s in stored], now, self._world)
        return self.bring_in_at(stored, now, also)

    def bring_in_at(
        self, stored: Sequence[Stored], moment: datetime, also: Also = lambda _: None
    ) -> IngestCounts:
        """Append answers as known since a moment, which the landing tells already."""
        return self.append(read(stored, moment), also)

    def append(self, answers: ReadAnswers, also: Also = lambda _: None) -> IngestCounts:
        """Append answers that were read, as far as they are not there yet."""
        told = {"refs": answers.refs, "world": self._world, "now": answers.batch.loaded_at}

        def commit() -> IngestCounts:
            prepare(self._engine, answers.batch)
            with self._engine.begin() as connection:
                # Who notes an answer first brings it in; whoever comes second waits here and finds
                # nothing left to do, be it another collector or a second attempt of this one.
                counts = IngestCounts()
                for one in append_batch(connection, answers.only(connection.scalars(_CLAIM, told))):
                    counts += one
                also(connection)
            return counts

        return through_outages(commit)

    def recover(self) -> IngestCounts:
        """Bring in what was landed and not ingested by a collector that died.

        What is younger than a lease may still be in the hands of one that lives.
        """
        now, total = self._clock(), IngestCounts()
        days = [now - timedelta(days=n) for n in range(_RECOVERED_DAYS)]
        refs = [ref for day in days for ref in self._landing.refs_of(day)]
        for first in range(0, len(refs), _AT_ONCE):
            part = refs[first : first + _AT_ONCE]
            known = self._known(part)
            bodies = self._landing.get_each([ref for ref in part if ref not in known])
            bodies = [body for body in bodies if self._is_ours(body, now)]
            if bodies:
                total += self.bring_in([as_stored(body, now) for body in bodies])
        self._forget(now - timedelta(days=2 * _RECOVERED_DAYS))
        return total

    def _known(self, refs: Sequence[str]) -> set[str]:
        def read() -> set[str]:
            with self._engine.connect() as connection:
                return set(connection.scalars(_KNOWN, {"refs": refs}))

        return through_outages(read)

    def _forget(self, before: datetime) -> None:
        def delete() -> None:
            with self._engine.begin() as connection:
                connection.execute(_FORGET, {"before": before})

        through_outages(delete)

    def _is_ours(self, body: LandedBody, now: datetime) -> bool:
        collected = body.world == self._world and "method" in body.request
        return collected and body.fetched_at is not None and body.fetched_at <= now - LEASE


def as_stored(body: LandedBody, ingested_at: datetime) -> Stored:
    """Give a landed answer with its rows to be read; one without any is only named."""
    assert body.fetched_at is not None
    response = LandedResponse(body.raw_ref, body.body, body.fetched_at, ingested_at, body.world)
    holds_rows = kind_of(body.body) in (VIDEOS, STATS, CHANNELS)
    return Stored(body.raw_ref, response if holds_rows else None)
