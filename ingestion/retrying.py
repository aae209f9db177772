"""What is in quarantine: listed, read again by the parsers of today, or dropped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, text

from feature_repo.clock import Clock
from ingestion.errors import LandingError, UnreadableFile
from ingestion.ingesting import IngestCounts, append_batch, prepare, read_batch
from ingestion.landed import LandedResponse, parse_json, require_list
from ingestion.landing import LandedBody, Landing
from ingestion.quarantine import Rejected, quarantine, storable
from ingestion.replaying import replay_file

_CHOSEN = """
    FROM quarantine WHERE (CAST(:reason AS text) IS NULL OR :reason = ANY(reasons))
    AND (CAST(:ids AS bigint[]) IS NULL OR quarantine_id = ANY(:ids))
"""


@dataclass(frozen=True)
class Choice:
    """Which rows of the quarantine; None asks for all."""

    reason: str | None = None
    ids: Sequence[int] | None = None

    def parameters(self) -> dict[str, Any]:
        """Give them as a query's parameters."""
        return {"reason": self.reason, "ids": None if self.ids is None else list(self.ids)}


@dataclass
class RetryReport:
    """What came of a retry, and of what could not be read: its reference and why."""

    counts: IngestCounts = field(default_factory=IngestCounts)
    unreadable: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give it as `--json` prints it."""
        return {**self.counts.as_json(), "unreadable": self.unreadable}


def summary(engine: Engine, choice: Choice) -> list[dict[str, Any]]:
    """Count the rows by first reason and source."""
    query = f"SELECT reasons[1] AS reason, source, count(*) AS rows {_CHOSEN} GROUP BY 1, 2"
    with engine.connect() as connection:
        rows = connection.execute(text(f"{query} ORDER BY 3 DESC, 1, 2"), choice.parameters())
        return [dict(row) for row in rows.mappings()]


def listed(engine: Engine, choice: Choice, limit: int) -> list[dict[str, Any]]:
    """Give the newest rows, without what is in them."""
    query = (
        "SELECT quarantine_id, quarantined_at, world, source, raw_ref, reasons "
        f"{_CHOSEN} ORDER BY quarantine_id DESC LIMIT :limit"
    )
    with engine.connect() as connection:
        rows = connection.execute(text(query), {**choice.parameters(), "limit": limit}).mappings()
        return [{**row, "quarantined_at": row["quarantined_at"].isoformat()} for row in rows]


def drop(engine: Engine, choice: Choice) -> int:
    """Forget rows; the landing still has what they were read from."""
    with engine.begin() as connection:
        return int(connection.execute(text(f"DELETE {_CHOSEN}"), choice.parameters()).rowcount)


def retry(engine: Engine, landing: Landing, clock: Clock, choice: Choice) -> RetryReport:
    """Read rows again from the landing; what still does not hold is back in quarantine.

    Rows whose answer or file cannot be read stay there, and hold up none of the others.
    """
    query = f"SELECT quarantine_id, raw_ref, item {_CHOSEN} ORDER BY raw_ref"
    with engine.connect() as connection:
        rows = connection.execute(text(query), choice.parameters()).all()
    by_ref: dict[str, list[Any]] = {}
    for row in rows:
        by_ref.setdefault(row.raw_ref, []).append(row)
    report = RetryReport()
    for raw_ref, refused in by_ref.items():
        try:
            report.counts += _retry(engine, landing.get(raw_ref), refused, landing, clock)
        except LandingError as error:
            report.unreadable[raw_ref] = str(error)
    return report


def _retry(
    engine: Engine, body: LandedBody, refused: Sequence[Any], landing: Landing, clock: Clock
) -> IngestCounts:
    if body.fetched_at is None:
        return _retry_file(engine, body, refused, landing, clock)
    with engine.begin() as connection:
        # Taken before they are read: another retry waits here, and finds none of them left. Rows
        # that it knows since another moment would be others.
        taken = _delete(connection, [row.quarantine_id for row in refused])
        items = {orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in taken}
        batch = read_batch([_only(body, items, clock())], clock())
        prepare(engine, batch)
        (counts,) = append_batch(connection, batch)
    return counts


def _retry_file(
    engine: Engine, body: LandedBody, refused: Sequence[Any], landing: Landing, clock: Clock
) -> IngestCounts:
    """Read a file again; its rows leave the quarantine once what holds is in the warehouse."""
    again: list[Rejected] = []
    counts = replay_file(engine, landing, body, clock, again.extend)
    with engine.begin() as connection:
        _delete(connection, [row.quarantine_id for row in refused])
        # The replay left those alone that were there; as new rows they tell today's reasons.
        source = PurePath(str(body.request["file"])).name
        quarantine(connection, again, world=body.world, source=source, quarantined_at=clock())
    return counts


def _only(body: LandedBody, items: set[bytes], now: datetime) -> LandedResponse:
    """Give the landed answer with the refused items alone, as received.

    They are known since now; those of a recording since they were observed.
    """
    assert body.fetched_at is not None
    try:
        document = require_list(parse_json(body.body))
    except UnreadableFile as error:
        raise LandingError(f"{body.raw_ref} is no answer with items: {error}") from error
    chosen = [item for item in document.get("items", []) if _as_kept(item) in items]
    known_at = body.fetched_at if "file" in body.request else now
    content = json.dumps({**document, "items": chosen}).encode()
    return LandedResponse(body.raw_ref, content, body.fetched_at, known_at, body.world)


def _as_kept(item: Any) -> bytes:
    kept = orjson.loads(storable(item if isinstance(item, dict) else {"item": item}))
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def _delete(connection: Connection, ids: Sequence[int]) -> list[Any]:
    """Take rows out of the quarantine; give the items of those that were there."""
    query = text("DELETE FROM quarantine WHERE quarantine_id = ANY(:ids) RETURNING item")
    return list(connection.scalars(query, {"ids": list(ids)}))
