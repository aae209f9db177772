"""What must hold of every observation: the checks, each with the reason it gives, as data.

Rows are checked by `checks.py` while they are ingested and by Great Expectations where a report is
wanted; both read these lists, and a test holds their verdicts equal. `likes <= views` is not among
them: real edge caches break it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

# YouTube's clock and ours differ by moments.
CLOCK_TOLERANCE_SECONDS = 300.0

VIDEO_ID = r"^[A-Za-z0-9_-]{11}\z"
CHANNEL_ID = r"^UC[A-Za-z0-9_-]{22}\z"


@dataclass(frozen=True)
class Check:
    """One expectation of a column; a null fails `not_null` only.

    Attributes:
        column: What it looks at.
        kind: `not_null`, `matches` (of text) or `at_least` / `at_most` (of numbers).
        reason: The name of its violation.
        limit: The pattern or the bound.
        severity: A row that fails a `critical` check is quarantined; a `warning` is only reported.
    """

    column: str
    kind: Literal["not_null", "matches", "at_least", "at_most"]
    reason: str
    limit: Any = None
    severity: Literal["critical", "warning"] = "critical"


@dataclass(frozen=True)
class Suite:
    """The checks of a table, and the columns they look at, made from the table."""

    checks: Sequence[Check]
    prepare: Callable[[pa.Table, datetime], pa.Table]


def _counts(*names: str) -> list[Check]:
    return [Check(name, "at_least", f"{name}_negative", 0) for name in names]


_OBSERVED = [
    Check("seconds_until_now", "not_null", "observed_at_null"),
    Check("seconds_until_now", "at_least", "observed_in_the_future", -CLOCK_TOLERANCE_SECONDS),
]
_VIDEO = [
    Check("video_id", "not_null", "video_id_null"),
    Check("video_id", "matches", "video_id_malformed", VIDEO_ID),
]
_CHANNEL = [
    Check("channel_id", "not_null", "channel_id_null"),
    Check("channel_id", "matches", "channel_id_malformed", CHANNEL_ID),
]
_METADATA = [
    Check("published_at", "not_null", "published_at_null"),
    Check(
        "seconds_since_published",
        "at_least",
        "published_after_observation",
        -CLOCK_TOLERANCE_SECONDS,
    ),
    Check("title", "not_null", "title_null"),
    Check("nul_characters", "at_most", "text_with_nul", 0),
    Check("duration_seconds", "at_least", "duration_negative", 0),
]


def _snapshots(table: pa.Table, now: datetime) -> pa.Table:
    return _columns(table, ["video_id", "view_count", "like_count", "comment_count"], now)


def _metadata(table: pa.Table, now: datetime) -> pa.Table:
    names = ["video_id", "channel_id", "title", "published_at", "duration_seconds"]
    announced = pc.is_in(table["live_broadcast_content"], pa.array(["upcoming", "live"]))
    since = _seconds(pc.subtract(table["observed_at"], table["published_at"]))
    since = pc.if_else(announced, pa.scalar(None, pa.float64()), since)
    tags = pc.binary_join(table["tags"], " ")
    texts = (table["title"], table["description"], tags)
    # Arrow's search for NUL bytes, added up over the three texts; a null text holds none.
    nuls = [pc.fill_null(pc.count_substring(text, "\x00"), 0) for text in texts]
    holds = pc.add(pc.add(nuls[0], nuls[1]), nuls[2])
    return (
        _columns(table, names, now)
        .append_column("seconds_since_published", since)
        .append_column("nul_characters", holds)
    )


def _channels(table: pa.Table, now: datetime) -> pa.Table:
    names = ["channel_id", "subscriber_count", "view_count", "video_count"]
    return _columns(table, names, now)


def _columns(table: pa.Table, names: Sequence[str], now: datetime) -> pa.Table:
    moment = pa.scalar(now, table.schema.field("observed_at").type)
    elapsed = _seconds(pc.subtract(moment, table["observed_at"]))
    return table.select(list(names)).append_column("seconds_until_now", elapsed)


def _seconds(elapsed: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give durations of microseconds in seconds."""
    return pc.divide(pc.cast(elapsed.cast(pa.int64()), pa.float64(), safe=False), 1e6)


SUITES: Mapping[str, Suite] = {
    "video_snapshots": Suite(
        [*_VIDEO, *_OBSERVED, *_counts("view_count", "like_count", "comment_count")], _snapshots
    ),
    "video_metadata": Suite([*_VIDEO, *_CHANNEL, *_OBSERVED, *_METADATA], _metadata),
    "channel_snapshots": Suite(
        [*_CHANNEL, *_OBSERVED, *_counts("subscriber_count", "view_count", "video_count")],
        _channels,
    ),
}
