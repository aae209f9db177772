"""Items of the YouTube Data API become records; pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from feature_repo.segments import UPCOMING, video_format, view_definition
from ingestion.errors import UnparsableItem
from ingestion.records import ChannelSnapshot, VideoMetadata, VideoSnapshot

Item = Mapping[str, Any]

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_PLAIN_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_STATS_ITEM = "youtube#videoStats"
_SECONDS = {"weeks": 604_800.0, "days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0}


def parse_video(item: Item, observed_at: datetime) -> tuple[VideoMetadata | None, VideoSnapshot]:
    """Read an item of `videos.list` or `videos.batchGetStats`, which tells no metadata.

    Returns:
        The metadata, null for an item without `snippet` (statistics only), and the snapshot, whose
        counts are null where the item does not tell them; so are views before the premiere.

    Raises:
        UnparsableItem: The item has no id, or a field of it cannot be what its name says.
    """
    video_id = _text(item, "id")
    if video_id is None:
        raise UnparsableItem("id_missing")
    is_described = "snippet" in item and item.get("kind") != _STATS_ITEM
    metadata = _video_metadata(item, video_id, observed_at) if is_described else None
    statistics = _part(item, "statistics")
    broadcast = metadata.live_broadcast_content if metadata else None
    format_ = video_format(_duration(_part(item, "contentDetails")), broadcast)
    views = _count(statistics, "viewCount")
    snapshot = VideoSnapshot(
        video_id=video_id,
        observed_at=observed_at,
        view_count=None if broadcast == UPCOMING else views,
        like_count=_count(statistics, "likeCount"),
        comment_count=_count(statistics, "commentCount"),
        live_broadcast_content=broadcast,
        format=format_,
        view_definition=view_definition(format_, observed_at),
    )
    return metadata, snapshot


def parse_channel(item: Item, observed_at: datetime) -> ChannelSnapshot:
    """Read an item of `channels.list`; raises UnparsableItem as `parse_video` does."""
    channel_id = _text(item, "id")
    if channel_id is None:
        raise UnparsableItem("id_missing")
    snippet, statistics = _part(item, "snippet"), _part(item, "statistics")
    hidden = statistics.get("hiddenSubscriberCount") is True
    playlists = _part(_part(item, "contentDetails"), "relatedPlaylists")
    return ChannelSnapshot(
        channel_id=channel_id,
        observed_at=observed_at,
        title=_text(snippet, "title"),
        published_at=_instant(snippet, "publishedAt") if "publishedAt" in snippet else None,
        country=_text(snippet, "country"),
        subscriber_count=None if hidden else _count(statistics, "subscriberCount"),
        view_count=_count(statistics, "viewCount"),
        video_count=_count(statistics, "videoCount"),
        uploads_playlist_id=_text(playlists, "uploads"),
    )


def duration_seconds(text: str) -> float | None:
    """Read an ISO 8601 duration such as `P1DT2H3M4S`, or `754s`; null when it is none."""
    plain = _PLAIN_SECONDS.fullmatch(text)
    if plain is not None:
        return float(plain[1])
    match = _DURATION.fullmatch(text)
    if match is None or text in ("P", "PT") or text.endswith("T"):
        return None
    return sum(_SECONDS[unit] * float(n) for unit, n in match.groupdict().items() if n is not None)


def _video_metadata(item: Item, video_id: str, observed_at: datetime) -> VideoMetadata:
    snippet = _part(item, "snippet")
    details, status = _part(item, "contentDetails"), _part(item, "status")
    channel_id, title = _text(snippet, "channelId"), _text(snippet, "title")
    if channel_id is None:
        raise UnparsableItem("channel_id_missing")
    if title is None:
        raise UnparsableItem("title_missing")
    return VideoMetadata(
        video_id=video_id,
        observed_at=observed_at,
        channel_id=channel_id,
        published_at=_instant(snippet, "publishedAt"),
        title=title,
        description=_text(snippet, "description"),
        tags=_tags(snippet),
        category_id=_count(snippet, "categoryId", digits=9),
        default_language=_text(snippet, "defaultLanguage"),
        default_audio_language=_text(snippet, "defaultAudioLanguage"),
        duration_seconds=_duration(details),
        definition=_text(details, "definition"),
        has_captions=_flag(details, "caption"),
        is_made_for_kids=_flag(status, "madeForKids"),
        has_maxres_thumbnail=(
            "maxres" in _part(snippet, "thumbnails") if "thumbnails" in snippet else None
        ),
        live_broadcast_content=_text(snippet, "liveBroadcastContent"),
    )


def _part(item: Item, name: str) -> Item:
    part = item.get(name, {})
    if not isinstance(part, Mapping):
        raise UnparsableItem(f"{name}_malformed")
    return part


def _text(part: Item, name: str) -> str | None:
    value = part.get(name)
    return None if value is None else _storable(value, name)


def _storable(value: Any, name: str) -> str:
    """Refuse what is no text, and characters that no UTF-8 store can hold."""
    if not isinstance(value, str):
        raise UnparsableItem(f"{name}_malformed")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise UnparsableItem(f"{name}_not_text")
    return value


def _tags(snippet: Item) -> tuple[str, ...] | None:
    tags = snippet.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, list):
        raise UnparsableItem("tags_malformed")
    return tuple(_storable(tag, "tags") for tag in tags)


def _count(part: Item, name: str, digits: int = 18) -> int | None:
    """Read a count, which the API writes as text; the sign is left to validation."""
    value = part.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(rf"-?[0-9]{{1,{digits}}}", str(value)):
        raise UnparsableItem(f"{name}_malformed")
    return int(value)


def _flag(part: Item, name: str) -> bool | None:
    """Read a flag, which the API writes as true, or as the text "true"."""
    value = part.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise UnparsableItem(f"{name}_malformed")
    return bool(value == "true")


def _instant(part: Item, name: str) -> datetime:
    text = part.get(name)
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not 1970 <= instant.year < 2200:
        raise UnparsableItem(f"{name}_malformed" if text is not None else f"{name}_missing")
    return instant


def _duration(details: Item) -> float | None:
    text = _text(details, "duration")
    seconds = None if text is None else duration_seconds(text)
    if text is not None and seconds is None:
        raise UnparsableItem("duration_malformed")
    return seconds
