"""Retention in files: rows of Parquet, and lines of logs."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PARQUET_MAGIC = b"PAR1"
_MOMENTS = ("observed_at", "event_timestamp", "as_of")


def purge_parquet(
    directory: Path, video_id: str | None, before: datetime | None, *, dry_run: bool
) -> int:
    """Rewrite Parquet files without the rows that go; a file that is left empty is deleted.

    Files are known by their first bytes, since DVC's cache names them by content; there a file
    that holds such rows is deleted whole, for its name would no longer be true.

    Returns:
        How many rows go.
    """
    rows = 0
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and _is_parquet(p)):
        kept, removed = _parted(path, video_id, before)
        rows += removed
        if removed and not dry_run:
            if kept is None or not kept.num_rows or path.suffix != ".parquet":
                path.unlink()
            else:
                beside = path.with_suffix(".purging")
                pq.write_table(kept, beside)
                beside.replace(path)
    return rows


def purge_logs(
    directory: Path, video_id: str | None, before: datetime | None, *, dry_run: bool
) -> int:
    """Drop lines that name a video, or logs last written before a moment; give how many."""
    found = 0
    for path in sorted(directory.rglob("*.log*")) if directory.is_dir() else []:
        if video_id is not None:
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if video_id.encode() not in line]
            found += len(lines) - len(kept)
            if len(kept) < len(lines) and not dry_run:
                path.write_bytes(b"".join(kept))  # in place: a server may still write to it
        elif before is not None and path.stat().st_size and _last_written(path) < before:
            found += 1
            if not dry_run:
                path.write_bytes(b"")
    return found


def _last_written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MAGIC


def _parted(
    path: Path, video_id: str | None, before: datetime | None
) -> tuple[pa.Table | None, int]:
    """Give the rows of a file that stay, and how many go."""
    schema = pq.read_schema(path)
    names = schema.names
    if video_id is not None:
        if "video_id" not in names:
            return None, 0
        table = pq.read_table(path)
        goes = pc.equal(table["video_id"], video_id)
    else:
        # Features tell moments as numbers too: of those, the row's own moment is beside them.
        moments = [name for name in _MOMENTS if name in names]
        moment = next((m for m in moments if pa.types.is_timestamp(schema.field(m).type)), None)
        if moment is None:
            return None, 0
        table = pq.read_table(path)
        if "world" in names and not pc.any(pc.equal(table["world"], "real")).as_py():
            return None, 0
        goes = pc.less(table[moment], pa.scalar(before, schema.field(moment).type))
    goes = pc.fill_null(goes, False)
    removed = int(pc.sum(goes).as_py() or 0)
    return (table.filter(pc.invert(goes)) if removed else None), removed
