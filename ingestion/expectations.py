"""Rows pass their suite, or say why they do not."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from ingestion.checks import Violations, violations
from ingestion.quarantine import Rejected
from ingestion.suites import SUITES

__all__ = ["CHUNK_ROWS", "Violations"]

CHUNK_ROWS = 100_000

_NO_ITEM = {"raw_ref", "loaded_at"}


def check_video_snapshots(table: pa.Table, now: datetime) -> tuple[pa.Table, list[Rejected]]:
    """Part snapshots into those that hold and those refused."""
    return split(table, video_snapshot_violations(table, now))


def check_video_metadata(table: pa.Table, now: datetime) -> tuple[pa.Table, list[Rejected]]:
    """Part looks at metadata into those that hold and those refused."""
    return split(table, video_metadata_violations(table, now))


def check_channel_snapshots(table: pa.Table, now: datetime) -> tuple[pa.Table, list[Rejected]]:
    """Part channel snapshots into those that hold and those refused."""
    return split(table, channel_snapshot_violations(table, now))


def video_snapshot_violations(table: pa.Table, now: datetime) -> Violations:
    """Name what each snapshot fails; `likes <= views` is not demanded: real data breaks it."""
    return _violations("video_snapshots", table, now)


def video_metadata_violations(table: pa.Table, now: datetime) -> Violations:
    """Name what each look at metadata fails."""
    return _violations("video_metadata", table, now)


def channel_snapshot_violations(table: pa.Table, now: datetime) -> Violations:
    """Name what each channel snapshot fails."""
    return _violations("channel_snapshots", table, now)


def split(table: pa.Table, failed: Violations) -> tuple[pa.Table, list[Rejected]]:
    """Part a table by what its rows fail."""
    if not failed:
        return table, []
    rows = sorted(failed)
    keep = pa.array([row not in failed for row in range(table.num_rows)])
    rejected = [
        Rejected(
            raw_ref=row["raw_ref"] or "unknown",
            item={name: value for name, value in row.items() if name not in _NO_ITEM},
            reasons=failed[position],
        )
        for position, row in zip(rows, table.take(rows).to_pylist(), strict=True)
    ]
    return table.filter(keep), rejected


def together(*each: Violations) -> Violations:
    """Join what the rows of tables fail that speak of the same things, row by row."""
    joined: dict[int, tuple[str, ...]] = {}
    for row, reasons in (entry for one in each for entry in one.items()):
        joined[row] = _with(joined.get(row, ()), reasons)
    return joined


def _with(known: tuple[str, ...], reasons: Sequence[str]) -> tuple[str, ...]:
    return known + tuple(reason for reason in reasons if reason not in known)


def _violations(name: str, table: pa.Table, now: datetime) -> Violations:
    if table.num_rows == 0:
        return {}
    suite = SUITES[name]
    return violations(suite.prepare(table, now), suite.checks)
