"""What one item of an API response says, as plain records."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """What the creator wrote about a video, as seen at one moment; null where not told."""

    video_id: str
    observed_at: datetime
    channel_id: str
    published_at: datetime
    title: str
    description: str | None
    tags: tuple[str, ...] | None
    category_id: int | None
    default_language: str | None
    default_audio_language: str | None
    duration_seconds: float | None
    definition: str | None
    has_captions: bool | None
    is_made_for_kids: bool | None
    has_maxres_thumbnail: bool | None
    live_broadcast_content: str | None


@dataclass(frozen=True, slots=True)
class VideoSnapshot:
    """A video's counts at one moment; null when hidden, absent or announced, which is not zero."""

    video_id: str
    observed_at: datetime
    view_count: int | None
    like_count: int | None
    comment_count: int | None
    live_broadcast_content: str | None
    format: str
    view_definition: str


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel's counts at one moment; subscribers are rounded, or null when hidden."""

    channel_id: str
    observed_at: datetime
    title: str | None
    published_at: datetime | None
    country: str | None
    subscriber_count: int | None
    view_count: int | None
    video_count: int | None
    uploads_playlist_id: str | None
