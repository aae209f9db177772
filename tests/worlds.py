"""Small worlds of observations: rows by hand, or thirty videos from a seed."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine, text

from feature_repo import schemas
from feature_repo.segments import video_format, view_definition
from ingestion import warehouse

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
LOADED_AT = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

Row = dict[str, Any]

TITLES = (
    "BIG news today!",
    "Ünïted kräfte im Studio (official video)",
    "🎉🎉 Party mix #dance #2026 🇹🇷",
    "مقابلة حصرية؟",
    "今日のゲーム【実況】公式",
    "line one\nline two",
    "",
    "Why do cats hate water? Ep 3",
    "Artist - Song ft. Someone | Live",
    "👨‍👩‍👧 family vlog",
)
DESCRIPTIONS = (
    None,
    "",
    "0:00 It has words enough to be read with ease. 0:30 And one more sentence.",
    "Two\nlines https://a.example www.b.example #tag",
    "🎧\n\n\n",
)
TAGS = (None, ["one"], ["a,b", "c d", "#e"])
DURATIONS = (None, 0.0, 15.0, 60.0, 61.0, 180.0, 181.0, 754.5)


class World(NamedTuple):
    """What was observed, as the three tables of the warehouse."""

    metadata: pa.Table
    snapshots: pa.Table
    channels: pa.Table

    def with_rows(self, other: "World") -> "World":
        """Give this world with the rows of another after its own."""
        return World(*(pa.concat_tables(pair) for pair in zip(self, other, strict=True)))

    def known_at(self, as_of: datetime) -> "World":
        """Give only what was observed and had reached us by a moment."""
        return World(*(_known_at(table, as_of) for table in self))


def _known_at(table: pa.Table, as_of: datetime) -> pa.Table:
    moment = pa.scalar(as_of, schemas.INSTANT)
    known = [pc.less_equal(table[name], moment) for name in ("observed_at", "ingested_at")]
    return table.filter(pc.and_(*known))


def world(
    metadata: Iterable[Row] = (), snapshots: Iterable[Row] = (), channels: Iterable[Row] = ()
) -> World:
    """Make a world of rows by hand."""
    return World(
        pa.Table.from_pylist(list(metadata), schema=schemas.VIDEO_METADATA),
        pa.Table.from_pylist(list(snapshots), schema=schemas.VIDEO_SNAPSHOTS),
        pa.Table.from_pylist(list(channels), schema=schemas.CHANNEL_SNAPSHOTS),
    )


def _provenance(observed_at: datetime) -> Row:
    return {
        "observed_at": observed_at,
        "ingested_at": observed_at,
        "world": "synthetic",
        "raw_ref": None,
        "loaded_at": LOADED_AT,
    }


def snapshot(video_id: str, observed_at: datetime, view_count: int | None, **columns: Any) -> Row:
    """Make a row of video_snapshots, known when it was observed unless told otherwise."""
    row = _provenance(observed_at) | {
        "video_id": video_id,
        "view_count": view_count,
        "like_count": None if view_count is None else view_count // 20,
        "comment_count": None if view_count is None else view_count // 100,
        "live_broadcast_content": "none",
        "format": "long",
        "view_definition": "views_1",
    }
    return row | columns


def version(video_id: str, observed_at: datetime, channel_id: str, **columns: Any) -> Row:
    """Make a row of video_metadata, known when it was observed unless told otherwise."""
    row = _provenance(observed_at) | {
        "video_id": video_id,
        "channel_id": channel_id,
        "published_at": NOON - 2 * DAY,
        "title": "A title",
        "description": "A description",
        "tags": ["a tag"],
        "category_id": 10,
        "duration_seconds": 240.0,
        "definition": "hd",
        "has_captions": False,
        "is_made_for_kids": False,
        "has_maxres_thumbnail": True,
        "live_broadcast_content": "none",
    }
    return row | columns


def channel_look(
    channel_id: str, observed_at: datetime, subscriber_count: int | None, **columns: Any
) -> Row:
    """Make a row of channel_snapshots, known when it was observed unless told otherwise."""
    row = _provenance(observed_at) | {
        "channel_id": channel_id,
        "subscriber_count": subscriber_count,
        "view_count": 1_000_000,
        "video_count": 50,
    }
    return row | columns


def small_world(name: str = "w", seed: int = 7) -> World:
    """Make thirty videos of five channels, looked at over six weeks to NOON and a bit later.

    In it are late rows and corrections, hidden likes and comments, looks without views, edited
    titles, a video that moved to another channel, hidden subscribers, and one channel (the last)
    that was never looked at itself.

    Args:
        name: Goes into every id, so that worlds share a store without meeting.
        seed: Of everything random.
    """
    random = np.random.default_rng(seed)
    metadata: list[Row] = []
    snapshots: list[Row] = []
    for number in range(30):
        versions, looks = _video(name, number, random)
        metadata += versions
        snapshots += looks
    return world(metadata, snapshots, _channels(name, random))


def channel_ids(name: str = "w") -> list[str]:
    """Name the channels of a small world."""
    return [f"UC{name}-{number}" for number in range(5)]


def video_ids(name: str = "w") -> list[str]:
    """Name the videos of a small world."""
    return [f"{name}-video-{number:02d}" for number in range(30)]


def _video(name: str, number: int, random: np.random.Generator) -> tuple[list[Row], list[Row]]:
    video_id, channel_id = video_ids(name)[number], channel_ids(name)[number % 5]
    is_old = number % 10 == 9  # first looked at when it was weeks old
    age_days = random.uniform(35, 40) if is_old else random.uniform(2, 40)
    published = (NOON - age_days * DAY).replace(microsecond=0)
    duration = DURATIONS[number % len(DURATIONS)]
    facts: Row = {
        "published_at": published,
        "title": TITLES[number % len(TITLES)],
        "description": DESCRIPTIONS[number % len(DESCRIPTIONS)],
        "tags": TAGS[number % len(TAGS)],
        "category_id": [10, 20, 1, None][number % 4],
        "duration_seconds": duration,
        "definition": ["hd", "sd", None][number % 3],
    }
    looks, moment = [], published + random.uniform(1, 40) * HOUR + 23 * DAY * is_old
    views = random.uniform(10, 1000) * 10 ** (number % 5)
    hides_likes, comments_off = number % 7 == 3, number % 6 == 2
    while moment < NOON + DAY and len(looks) < 12:
        views *= 1 + random.exponential(0.3)
        late = random.uniform(0, 1.5) * HOUR
        if random.random() < 0.08:
            late = random.uniform(1, 5) * DAY
        format_ = video_format(duration, "none")
        looks.append(
            snapshot(
                video_id,
                moment,
                None if random.random() < 0.05 else int(views),
                like_count=None if hides_likes else int(views / 25),
                comment_count=None if comments_off else int(views / 300),
                ingested_at=moment + late,
                format=format_,
                view_definition=view_definition(format_, moment),
            )
        )
        if random.random() < 0.08:  # a correction of the same moment
            corrected = looks[-1] | {
                "view_count": int(views * 1.1),
                "ingested_at": moment + late + random.uniform(2, 90) * HOUR,
            }
            looks.append(corrected)
        moment += random.uniform(6, 60) * HOUR

    def seen_with(look: Row, **changes: Any) -> Row:
        told = {"channel_id": channel_id, "ingested_at": look["ingested_at"]} | facts | changes
        return version(video_id, look["observed_at"], **told)

    versions = [seen_with(looks[0])]
    if number % 5 == 1 and len(looks) > 3:
        versions.append(seen_with(looks[3], title=facts["title"] + " EDITED 🔥"))
    if number == 4 and len(looks) > 2:
        versions.append(seen_with(looks[2], channel_id=channel_ids(name)[0]))
    return versions, looks


def _channels(name: str, random: np.random.Generator) -> list[Row]:
    rows = []
    for number, channel_id in enumerate(channel_ids(name)[:-1]):
        for week in range(6):
            moment = NOON - week * 7 * DAY - random.uniform(0, 24) * HOUR
            subscribers = None if number == 3 else 1000 * (number + 1) * (10 - week)
            late = random.uniform(0, 3) * DAY if week == 2 else random.uniform(0, 1) * HOUR
            told = {"ingested_at": moment + late, "country": ["JP", None, "US", "AE"][number]}
            rows.append(channel_look(channel_id, moment, subscribers, **told))
    return rows


def store(engine: Engine, observed: World) -> None:
    """Append a world to the warehouse."""
    warehouse.append_metadata(engine, observed.metadata)
    warehouse.append_snapshots(engine, observed.snapshots)
    warehouse.append_channels(engine, observed.channels)


def forget(engine: Engine) -> None:
    """Empty every table of the warehouse that worlds are stored in, and the feature tables."""
    tables = ["video_metadata", "video_metadata_seen", "video_snapshots", "channel_snapshots"]
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join([*tables, *schemas.FEATURE_TABLES])}"))
