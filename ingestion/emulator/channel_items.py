"""Channels and uploads playlists as the API writes them, made from a synthetic world."""

from collections.abc import Callable, Sequence
from typing import Any

from ingestion.emulator.world import World
from ingestion.emulator.writing import etag, iso, rounded, thumbnails

Item = dict[str, Any]

CHANNEL_PARTS = ("contentDetails", "snippet", "statistics", "status")
PLAYLIST_ITEM_PARTS = ("contentDetails", "snippet", "status")


class ChannelItems:
    """Writes the channels of a world and their uploads; `title` gives a video's at a moment."""

    def __init__(self, world: World, title: Callable[[int, float], str]) -> None:
        self._world = world
        self._title = title

    def channels(self, channels: Sequence[int], parts: frozenset[str], time: float) -> list[Item]:
        """Write channels, by their position in the world."""
        if "statistics" not in parts or not channels:
            return [self._channel(channel, parts, None, time) for channel in channels]
        totals = self._world.channel_totals(channels, time)
        return [
            self._channel(channel, parts, total, time)
            for channel, total in zip(channels, totals, strict=True)
        ]

    def uploads(
        self, channel: int, parts: frozenset[str], time: float, page: slice
    ) -> tuple[list[Item], int]:
        """Write one page of a channel's uploads playlist; also give its whole length."""
        uploads = self._world.uploads(channel, time)
        rows = list(enumerate(uploads.tolist()))[page]
        return [self._upload(video, place, parts, time) for place, video in rows], len(uploads)

    def _channel(
        self, number: int, parts: frozenset[str], totals: tuple[int, int] | None, time: float
    ) -> Item:
        channel = self._world.channels.each[number]
        item: Item = {"kind": "youtube#channel", "etag": "", "id": channel.channel_id}
        if "snippet" in parts:
            item["snippet"] = {
                "title": channel.title,
                "description": channel.description,
                "customUrl": channel.handle,
                "publishedAt": iso(channel.published_at),
                "thumbnails": {},
                "localized": {"title": channel.title, "description": channel.description},
                "country": channel.country,
            }
        if "contentDetails" in parts:
            uploads = "UU" + channel.channel_id[2:]
            item["contentDetails"] = {"relatedPlaylists": {"likes": "", "uploads": uploads}}
        if totals is not None:
            item["statistics"] = self._channel_statistics(number, totals, time)
        if "status" in parts:
            item["status"] = {
                "privacyStatus": "public",
                "isLinked": True,
                "longUploadsStatus": "longUploadsUnspecified",
                "madeForKids": channel.made_for_kids,
            }
        item["etag"] = etag(item)
        return item

    def _channel_statistics(self, number: int, totals: tuple[int, int], time: float) -> Item:
        hidden = self._world.channels.each[number].hides_subscribers
        subscribers = rounded(self._world.channels.subscribers_at(number, time))
        return {
            "viewCount": str(totals[0]),
            **({} if hidden else {"subscriberCount": str(subscribers)}),
            "hiddenSubscriberCount": hidden,
            "videoCount": str(totals[1]),
        }

    def _upload(self, video: int, place: int, parts: frozenset[str], time: float) -> Item:
        videos = self._world.videos
        channel = self._world.channels.each[self._world.owner(video, time)]
        video_id, playlist = videos.video_ids[video], "UU" + channel.channel_id[2:]
        published = iso(videos.published_at[video])
        item: Item = {
            "kind": "youtube#playlistItem",
            "etag": etag(playlist, video_id, place, sorted(parts)),
            "id": etag(playlist, video_id),
        }
        if "snippet" in parts:
            item["snippet"] = {
                "publishedAt": published,
                "channelId": channel.channel_id,
                "title": self._title(video, time),
                "description": "",
                "thumbnails": thumbnails(video_id, bool(videos.has_maxres[video])),
                "channelTitle": channel.title,
                "playlistId": playlist,
                "position": place,
                "resourceId": {"kind": "youtube#video", "videoId": video_id},
                "videoOwnerChannelTitle": channel.title,
                "videoOwnerChannelId": channel.channel_id,
            }
        if "contentDetails" in parts:
            item["contentDetails"] = {"videoId": video_id, "videoPublishedAt": published}
        if "status" in parts:
            item["status"] = {"privacyStatus": "public"}
        return item
