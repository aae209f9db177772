"""What a look at YouTube means for the targets."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from feature_repo.segments import UPCOMING
from ingestion import planner
from ingestion.discovery import Upload
from ingestion.targets import Target, UnknownTarget


def looked_at(item: dict[str, Any], world: str, at: datetime) -> Target:
    """Make a target of a resource that was just looked at."""
    if item["kind"] == "youtube#channel":
        playlists = item.get("contentDetails", {}).get("relatedPlaylists", {})
        uploads = playlists.get("uploads")
        return Target(
            kind="channel",
            target_id=item["id"],
            world=world,
            added_at=at,
            next_due_at=at,
            uploads_playlist_id=uploads,
            statistics_due_at=at + planner.CHANNEL_EVERY,
            last_count=video_count(item),
        )
    snippet = item["snippet"]
    published = datetime.fromisoformat(snippet["publishedAt"])
    video = Target(
        "video", item["id"], world, at, at, channel_id=snippet["channelId"], published_at=published
    )
    return planner.observed(video, at, view_count(item))


def discovered(upload: Upload, channel: Target, now: datetime) -> Target:
    """Make a target of an upload that was found; it is to be looked at now."""
    return Target(
        kind="video",
        target_id=upload.video_id,
        world=channel.world,
        added_at=now,
        next_due_at=now,
        channel_id=channel.target_id,
        published_at=upload.published_at,
    )


def described(video: Target, item: dict[str, Any]) -> Target:
    """Note whose video it is and since when, where only its id was known and the item tells it.

    Without its age it would be looked at for ever, as often as a new one.
    """
    if video.published_at is not None:
        return video
    try:
        snippet = item["snippet"]
        published = datetime.fromisoformat(snippet["publishedAt"])
        channel_id = str(snippet["channelId"])
    except (KeyError, TypeError, ValueError):
        return video  # counts only, or what validation quarantines
    if published.tzinfo is None:
        return video
    return replace(video, channel_id=channel_id, published_at=published)


def video_count(channel: dict[str, Any]) -> int | None:
    """Read the number of videos that a channel tells."""
    return _count(channel, "videoCount")


def view_count(video: dict[str, Any]) -> int | None:
    """Read the views that a video tells, for the plan only; null while it is announced."""
    if _part(video, "snippet").get("liveBroadcastContent") == UPCOMING:
        return None
    return _count(video, "viewCount")


def fell(target: Target, views: int | None) -> bool:
    """Tell whether a video has fewer views than at its last look."""
    return views is not None and target.last_count is not None and views < target.last_count


def _count(item: dict[str, Any], name: str) -> int | None:
    """Read a count; what is none is left to validation."""
    value = _part(item, "statistics").get(name)
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _part(item: dict[str, Any], name: str) -> dict[str, Any]:
    part = item.get(name)
    return part if isinstance(part, dict) else {}


def require_found(asked: Sequence[str], found: Iterable[object | None]) -> None:
    """Raise UnknownTarget for what was asked and not found."""
    unknown = [name for name, item in zip(asked, found, strict=True) if item is None]
    if unknown:
        raise UnknownTarget(f"YouTube knows nothing by the name of {', '.join(unknown)}")
