"""Records become Arrow tables in the schemas of feature_repo; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from feature_repo.schemas import CHANNEL_SNAPSHOTS, VIDEO_METADATA, VIDEO_SNAPSHOTS
from ingestion.records import ChannelSnapshot, VideoMetadata, VideoSnapshot


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a record reached us.

    Attributes:
        ingested_at: When it was first known here; for recorded data, when it was observed.
        world: `real` or `synthetic`.
        raw_ref: The landed response it was read from.
        loaded_at: When this copy is written.
    """

    ingested_at: datetime
    world: str
    raw_ref: str | None
    loaded_at: datetime


def video_snapshots(records: Sequence[tuple[VideoSnapshot, Provenance]]) -> pa.Table:
    """Give snapshots as a table, a row each, in order."""
    return _table(records, VIDEO_SNAPSHOTS)


def video_metadata(records: Sequence[tuple[VideoMetadata, Provenance]]) -> pa.Table:
    """Give looks at metadata as a table, a row each, in order."""
    return _table(records, VIDEO_METADATA)


def channel_snapshots(records: Sequence[tuple[ChannelSnapshot, Provenance]]) -> pa.Table:
    """Give channel snapshots as a table, a row each, in order."""
    return _table(records, CHANNEL_SNAPSHOTS)


def _table(records: Sequence[tuple[Any, Provenance]], schema: pa.Schema) -> pa.Table:
    provenance = set(Provenance.__slots__)
    columns = [
        [
            getattr(origin if field.name in provenance else record, field.name)
            for record, origin in records
        ]
        for field in schema
    ]
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )
