"""A synthetic world as daily lists keep it: files of recorded data, the same for the same seed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingestion.emulator.world import World

DAY = timedelta(days=1)
LISTED_DAYS = 9

Rows = list[dict[str, Any]]


def write_lists(directory: Path, world: World, days: int) -> Path:
    """Write what a daily crawl would have kept of a world: each video on its first days.

    Args:
        directory: Created; snapshots.parquet and video_versions.parquet are written there.
        world: What was to be seen.
        days: How many days up to the end of the world were crawled.
    """
    directory.mkdir(parents=True)
    looks = [look for day in range(days, 0, -1) for look in _listed(world, world.end - day * DAY)]
    snapshots = pd.DataFrame(looks)
    seen = snapshots.groupby("video_id")["observed_at"]
    versions = pd.DataFrame([_version(world, str(video)) for video in seen.groups])
    versions = versions.assign(
        first_observed_at=seen.min().to_numpy(), last_observed_at=seen.max().to_numpy()
    )
    _write(snapshots, directory / "snapshots.parquet")
    _write(versions, directory / "video_versions.parquet")
    return directory


def _listed(world: World, midnight: datetime) -> Rows:
    """Give the rows of one day's list, read at about 11:20."""
    at = midnight + timedelta(hours=11, minutes=20, seconds=midnight.day * 7)
    age = at.timestamp() - world.videos.published_at
    index = np.flatnonzero((age > 3600) & (age < LISTED_DAYS * 86_400))
    counts = zip(index, world.counts(index, at.timestamp()), strict=True)
    return [
        {
            "country": "US",
            "file_date": f"{at:%Y%m%d}",
            "observed_at": at.replace(tzinfo=None),
            "position": 1,
            "video_id": world.videos.video_ids[video],
            "view_count": count.views,
            "like_count": count.likes,
            "comment_count": count.comments,
            "live_broadcast_content": "none",
        }
        for video, count in counts
    ]


def _version(world: World, video_id: str) -> dict[str, Any]:
    at = world.video_index[video_id]
    channel = world.channels.each[world.videos.channel[at]]
    return {
        "video_id": video_id,
        "published_at": f"{datetime.fromtimestamp(world.videos.published_at[at], UTC):%FT%TZ}",
        "channel_id": channel.channel_id,
        "channel_title": channel.title,
        "title": f"Video {at}",
        "description": "",
        "tags": None if at % 2 else "one|two",
        "n_tags": None if at % 2 else 2,
        "category_id": channel.category_id,
        "default_language": channel.language,
        "default_audio_language": None,
        "has_maxres": True,
    }


def _write(frame: pd.DataFrame, path: Path) -> None:
    counts = [name for name in frame.columns if name.endswith("_count") or name == "n_tags"]
    frame.astype(dict.fromkeys(counts, "Int64")).to_parquet(path)
