"""snapshots.parquet and video_versions.parquet as tables of the warehouse, a chunk at a time."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.schemas import INSTANT, VIDEO_METADATA, VIDEO_SNAPSHOTS
from feature_repo.segments import UPCOMING, video_format, view_definition
from ingestion.errors import UnreadableFile
from ingestion.expectations import CHUNK_ROWS

_SNAPSHOT_COLUMNS = [
    "video_id",
    "observed_at",
    "view_count",
    "like_count",
    "comment_count",
    "live_broadcast_content",
]
_VERSION_COLUMNS = [
    "video_id",
    "first_observed_at",
    "last_observed_at",
    "published_at",
    "channel_id",
    "title",
    "description",
    "tags",
    "category_id",
    "default_language",
    "default_audio_language",
    "has_maxres",
]

# A version carries up to five kilobytes of description.
_VERSIONS_AT_ONCE = 25_000


class RecordedTable:
    """A Parquet file of recorded data; raises UnreadableFile where it is none of the known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile("corrupt_file", f"is no Parquet: {error}") from error
        names = set(self._file.schema_arrow.names)
        self.holds_snapshots = names.issuperset(_SNAPSHOT_COLUMNS)
        if not self.holds_snapshots and not names.issuperset(_VERSION_COLUMNS):
            raise UnreadableFile(
                "unknown_layout", "has neither the columns of snapshots nor of video versions"
            )
        self.rows = self._file.metadata.num_rows

    def chunks(self) -> Iterator[pa.Table]:
        """Give the rows in pieces, with the columns of its kind; raises UnreadableFile."""
        columns = _SNAPSHOT_COLUMNS if self.holds_snapshots else _VERSION_COLUMNS
        rows = CHUNK_ROWS if self.holds_snapshots else _VERSIONS_AT_ONCE
        try:
            for batch in self._file.iter_batches(rows, columns=columns):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile("corrupt_file", f"is damaged: {error}") from error


def snapshot_rows(chunk: pa.Table, world: str, raw_ref: str, loaded_at: datetime) -> pa.Table:
    """Give recorded counts as VIDEO_SNAPSHOTS; the recorder knew each when it observed it."""
    observed_at = _utc(chunk["observed_at"])
    broadcast = chunk["live_broadcast_content"]
    announced = pc.fill_null(pc.equal(broadcast, UPCOMING), False)
    formats, definitions = _segments(broadcast, observed_at)
    columns = {
        "video_id": chunk["video_id"],
        **_provenance(observed_at, world, raw_ref, loaded_at),
        "view_count": pc.if_else(announced, pa.scalar(None, pa.int64()), chunk["view_count"]),
        "like_count": chunk["like_count"],
        "comment_count": chunk["comment_count"],
        "live_broadcast_content": broadcast,
        "format": formats,
        "view_definition": definitions,
    }
    return pa.table([columns[f.name] for f in VIDEO_SNAPSHOTS], schema=VIDEO_SNAPSHOTS)


def version_rows(
    chunk: pa.Table, seen: str, broadcasts: pa.Table, world: str, raw_ref: str, loaded_at: datetime
) -> pa.Table:
    """Give recorded versions as VIDEO_METADATA, as they were seen at one end of their time.

    Args:
        chunk: Rows of video_versions.parquet.
        seen: `first_observed_at` or `last_observed_at`.
        broadcasts: What `unusual_broadcasts` gave; all others were plain videos.
        world: `real` or `synthetic`.
        raw_ref: The landed file.
        loaded_at: The clock's moment.
    """
    observed_at = _utc(chunk[seen])
    columns = {
        "video_id": chunk["video_id"],
        **_provenance(observed_at, world, raw_ref, loaded_at),
        "channel_id": chunk["channel_id"],
        "published_at": _instants(chunk["published_at"]),
        "title": chunk["title"],
        "description": chunk["description"],
        "tags": pc.split_pattern(chunk["tags"], "|"),
        "category_id": chunk["category_id"].cast(pa.int32()),
        "default_language": chunk["default_language"],
        "default_audio_language": chunk["default_audio_language"],
        "has_maxres_thumbnail": chunk["has_maxres"],
        "live_broadcast_content": _broadcast_at(chunk["video_id"], observed_at, broadcasts),
    }
    nothing = {f.name: pa.nulls(chunk.num_rows, f.type) for f in VIDEO_METADATA}
    merged = nothing | columns
    return pa.table([merged[f.name] for f in VIDEO_METADATA], schema=VIDEO_METADATA)


def unusual_broadcasts(snapshots: Path) -> pa.Table | None:
    """Give the observations of announced and running broadcasts; null without snapshots."""
    if not snapshots.is_file():
        return None
    columns = ["video_id", "observed_at", "live_broadcast_content"]
    table = pq.read_table(
        snapshots, columns=columns, filters=[("live_broadcast_content", "!=", "none")]
    )
    return table.set_column(1, "observed_at", _utc(table["observed_at"]))


def _broadcast_at(
    video_id: pa.ChunkedArray, observed_at: pa.ChunkedArray, broadcasts: pa.Table | None
) -> pa.Array:
    if broadcasts is None:
        return pa.nulls(len(video_id), pa.string())
    keys = pd.DataFrame({"video_id": video_id.to_pandas(), "observed_at": observed_at.to_pandas()})
    unusual = broadcasts.to_pandas().drop_duplicates(["video_id", "observed_at"])
    found = keys.merge(unusual, on=["video_id", "observed_at"], how="left")
    return pa.array(found["live_broadcast_content"].fillna("none"), pa.string())


def _segments(
    broadcast: pa.ChunkedArray, observed_at: pa.ChunkedArray
) -> tuple[pa.Array, pa.Array]:
    """Name format and view definition of rows without a duration, each distinct case once."""
    frame = pd.DataFrame({"state": broadcast.to_pandas(), "at": observed_at.to_pandas()})
    formats = {state: video_format(None, state) for state in frame["state"].unique()}
    frame["format"] = frame["state"].map(formats)
    cases = frame[["format", "at"]].drop_duplicates()
    cases["definition"] = [
        view_definition(format_, at)
        for format_, at in zip(cases["format"], cases["at"], strict=True)
    ]
    named = frame.merge(cases, on=["format", "at"], how="left")
    return pa.array(named["format"], pa.string()), pa.array(named["definition"], pa.string())


def _provenance(
    observed_at: pa.ChunkedArray, world: str, raw_ref: str, loaded_at: datetime
) -> dict[str, pa.ChunkedArray | pa.Array]:
    rows = len(observed_at)
    return {
        "observed_at": observed_at,
        "ingested_at": observed_at,
        "world": pa.repeat(pa.scalar(world), rows),
        "raw_ref": pa.repeat(pa.scalar(raw_ref), rows),
        "loaded_at": pa.repeat(pa.scalar(loaded_at, INSTANT), rows),
    }


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give moments as UTC; recorded ones without an offset are in UTC already."""
    if column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    return column.cast(INSTANT)


def _instants(column: pa.ChunkedArray) -> pa.Array:
    """Read ISO 8601 moments; null where there is none to read."""
    moments = pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601", errors="coerce")
    return pa.array(moments, INSTANT)
