"""Landed responses become rows of the warehouse: parse, validate, append, quarantine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from ingestion import expectations, tables, warehouse
from ingestion.appending import Outcomes
from ingestion.errors import UnparsableItem, UnreadableFile
from ingestion.fast_parsing import read_statistics
from ingestion.landed import CHANNELS, LandedResponse, kind_of
from ingestion.parsing import parse_channel, parse_video
from ingestion.quarantine import Rejected
from ingestion.records import ChannelSnapshot, VideoMetadata, VideoSnapshot
from ingestion.reports import IngestCounts
from ingestion.tables import Provenance

__all__ = ["IngestCounts", "LandedResponse", "ingest_each", "ingest_responses"]


@dataclass
class _Parsed:
    """One item: which response it came from, and what it says."""

    source: int
    item: Any
    origin: Provenance
    video: VideoSnapshot | None = None
    metadata: VideoMetadata | None = None
    channel: ChannelSnapshot | None = None
    reasons: tuple[str, ...] = ()


def ingest_responses(
    engine: Engine, responses: Sequence[LandedResponse], *, loaded_at: datetime
) -> IngestCounts:
    """Bring landed responses into the warehouse; doing it again changes nothing.

    Args:
        engine: The warehouse.
        responses: Answers of `videos.list` or `channels.list`, in any mixture.
        loaded_at: The clock's moment; rows observed after it are refused.
    """
    total = IngestCounts()
    for counts in ingest_each(engine, responses, loaded_at=loaded_at):
        total += counts
    return total


def ingest_each(
    engine: Engine, responses: Sequence[LandedResponse], *, loaded_at: datetime
) -> list[IngestCounts]:
    """Ingest responses together as `ingest_responses` does; give the counts of each."""
    batch = read_batch(responses, loaded_at)
    prepare(engine, batch)
    with engine.begin() as connection:
        return append_batch(connection, batch)


@dataclass
class Batch:
    """Responses that are parsed and validated, and not yet in the warehouse.

    Attributes:
        responses: What is brought in.
        loaded_at: When.
        items: What was read item by item, with what is refused of it.
        statistics: Sound rows that were read as columns.
        sources: Which response each of those rows is of.
    """

    responses: Sequence[LandedResponse]
    loaded_at: datetime
    items: list["_Parsed"]
    statistics: pa.Table
    sources: NDArray[np.int64]


def read_batch(responses: Sequence[LandedResponse], loaded_at: datetime) -> Batch:
    """Parse and validate responses; an answer with anything unusual in it goes item by item."""
    table, sources = read_statistics(responses, loaded_at)
    failed = expectations.video_snapshot_violations(table, loaded_at)
    if failed:
        bad = np.isin(sources, [sources[row] for row in failed])
        table, sources = table.filter(pa.array(~bad)), sources[~bad]
    by_item = sorted(set(range(len(responses))) - set(sources.tolist()))
    items = [item for n in by_item for item in _parse(n, responses[n], loaded_at)]
    _validate(items, loaded_at)
    return Batch(responses, loaded_at, items, table, sources)


def prepare(engine: Engine, batch: Batch) -> None:
    """Make the partitions a batch needs, before the transaction that appends it."""
    videos = [item for item in batch.items if item.video and not item.reasons]
    for table in (_snapshots(videos), batch.statistics):
        if table.num_rows:
            warehouse.ensure_partitions(engine, table)


def append_batch(connection: Connection, batch: Batch) -> list[IngestCounts]:
    """Append a batch in the caller's transaction; give the counts of each response."""
    counts = [IngestCounts() for _ in batch.responses]
    refused: dict[int, list[_Parsed]] = {}
    for item in batch.items:
        if item.reasons:
            refused.setdefault(item.source, []).append(item)
    for number, items in refused.items():
        _refuse(connection, batch.responses[number], items, counts[number], batch.loaded_at)
    sound = [item for item in batch.items if not item.reasons]
    _append(connection, [i for i in sound if i.video], [i for i in sound if i.channel], counts)
    if batch.statistics.num_rows:
        outcomes = warehouse.append_each_snapshot(connection, batch.statistics)
        _count(batch.sources, outcomes, counts)
    return counts


def _parse(number: int, response: LandedResponse, loaded_at: datetime) -> list[_Parsed]:
    origin = Provenance(response.ingested_at, response.world, response.raw_ref, loaded_at)
    try:
        body = response.body
    except UnreadableFile as error:
        told = {"bytes": len(response.content), "problem": str(error)}
        return [_Parsed(number, told, origin, reasons=(error.reason,))]
    parsed = [_Parsed(number, item, origin) for item in body.get("items", [])]
    for one in parsed:
        try:
            if not isinstance(one.item, Mapping):
                raise UnparsableItem("item_malformed")
            if body["kind"] != CHANNELS:
                one.metadata, one.video = parse_video(one.item, response.observed_at)
            else:
                one.channel = parse_channel(one.item, response.observed_at)
        except UnparsableItem as error:
            one.reasons = (error.reason,)
    return parsed


def _validate(items: Sequence[_Parsed], now: datetime) -> None:
    """Note on each item what it fails; a video stands or falls with its metadata."""
    videos = [item for item in items if item.video]
    described = [item for item in items if item.metadata]
    channels = [item for item in items if item.channel]
    for chosen, table, violations in (
        (videos, _snapshots(videos), expectations.video_snapshot_violations),
        (described, _metadata(described), expectations.video_metadata_violations),
        (channels, _channels(channels), expectations.channel_snapshot_violations),
    ):
        for row, reasons in violations(table, now).items():
            known = chosen[row].reasons
            chosen[row].reasons = known + tuple(r for r in reasons if r not in known)


def _refuse(
    connection: Connection,
    response: LandedResponse,
    items: Sequence[_Parsed],
    counts: IngestCounts,
    now: datetime,
) -> None:
    rejected = [
        Rejected(
            response.raw_ref,
            item.item if isinstance(item.item, Mapping) else {"item": item.item},
            item.reasons,
        )
        for item in items
    ]
    counts.reject(rejected)
    source = kind_of(response.content) or "unreadable"
    warehouse.quarantine(
        connection, rejected, world=response.world, source=source, quarantined_at=now
    )


def _append(
    connection: Connection,
    videos: Sequence[_Parsed],
    channels: Sequence[_Parsed],
    counts: Sequence[IngestCounts],
) -> None:
    described = [item for item in videos if item.metadata]
    # Metadata first: a snapshot then never stands without the video it belongs to.
    if described:
        warehouse.append_metadata(connection, _metadata(described))
    if videos:
        outcomes = warehouse.append_each_snapshot(connection, _snapshots(videos))
        _count(_sources(videos), outcomes, counts)
    if channels:
        outcomes = warehouse.append_each_channel(connection, _channels(channels))
        _count(_sources(channels), outcomes, counts)


def _sources(items: Sequence[_Parsed]) -> NDArray[np.int64]:
    return np.array([item.source for item in items], dtype=np.int64)


def _count(sources: NDArray[np.int64], outcomes: Outcomes, counts: Sequence[IngestCounts]) -> None:
    """Count outcomes by response; the rows of one stand together."""
    starts = np.flatnonzero(np.diff(sources, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(sources)], strict=True):
        counts[sources[start]].append(outcomes[start:end])


def _snapshots(items: Sequence[_Parsed]) -> pa.Table:
    return tables.video_snapshots([(i.video, i.origin) for i in items if i.video])


def _metadata(items: Sequence[_Parsed]) -> pa.Table:
    return tables.video_metadata([(i.metadata, i.origin) for i in items if i.metadata])


def _channels(items: Sequence[_Parsed]) -> pa.Table:
    return tables.channel_snapshots([(i.channel, i.origin) for i in items if i.channel])
