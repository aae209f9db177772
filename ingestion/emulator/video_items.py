"""Videos as the API writes them, made from a synthetic world."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from ingestion.emulator import wording
from ingestion.emulator.videos import LIVE, PLAIN, PREMIERE
from ingestion.emulator.world import TrueCounts, World
from ingestion.emulator.writing import etag, iso, iso_duration, thumbnails

Item = dict[str, Any]

VIDEO_PARTS = ("contentDetails", "liveStreamingDetails", "snippet", "statistics", "status")
STATS_PARTS = ("contentDetails", "snippet", "statistics")


class VideoItems:
    """Writes the videos of a world; what does not move is written once and kept as JSON."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fixed: dict[tuple[object, ...], orjson.Fragment] = {}

    def videos(self, video_ids: Iterable[str], parts: frozenset[str], time: float) -> list[Item]:
        """Write the videos that exist at a moment; the others are left out, as YouTube does."""
        index = self._world.video_index
        known = np.array([index[v] for v in dict.fromkeys(video_ids) if v in index], dtype=np.int64)
        shown = self._world.visible(known, time)
        counts = self._world.counts(shown, time) if "statistics" in parts else [None] * len(shown)
        return [
            self._video(video, count, parts, time)
            for video, count in zip(shown.tolist(), counts, strict=True)
        ]

    def stats(self, video_ids: Iterable[str], parts: frozenset[str], time: float) -> list[Item]:
        """Write what `videos.batchGetStats` tells, in its own shapes."""
        index = self._world.video_index
        known = np.array([index[v] for v in video_ids if v in index], dtype=np.int64)
        shown = self._world.visible(known, time)
        return [
            self._stat(video, count, parts, time)
            for video, count in zip(shown.tolist(), self._world.counts(shown, time), strict=True)
        ]

    def results(self, videos: Iterable[int], time: float) -> list[Item]:
        """Write what a search tells about videos."""
        return [self._result(video, time) for video in videos]

    def _stat(self, video: int, counts: TrueCounts, parts: frozenset[str], time: float) -> Item:
        videos = self._world.videos
        item: Item = {"kind": "youtube#videoStats", "etag": "", "id": videos.video_ids[video]}
        if "snippet" in parts:
            item["snippet"] = {"publishTime": iso(videos.published_at[video])}
        if "contentDetails" in parts:
            seconds = self._shown_seconds(video, self._stage(video, time))
            item["contentDetails"] = {} if seconds is None else {"duration": f"{seconds}s"}
        if "statistics" in parts and not videos.lacks_statistics[video]:
            item["statistics"] = _shown(counts)
        item["etag"] = etag(video, counts, sorted(parts))
        return item

    def _result(self, video: int, time: float) -> Item:
        videos = self._world.videos
        channel = self._world.channels.each[self._world.owner(video, time)]
        title, published = self.title(video, time), iso(videos.published_at[video])
        stage = self._stage(video, time)
        return {
            "kind": "youtube#searchResult",
            "etag": etag(video, title, stage),
            "id": {"kind": "youtube#video", "videoId": videos.video_ids[video]},
            "snippet": {
                "publishedAt": published,
                "channelId": channel.channel_id,
                "title": title,
                "description": wording.description(
                    channel.language, title, channel.handle, self._key(video)
                ).split("\n")[0],
                "thumbnails": thumbnails(videos.video_ids[video], has_maxres=False),
                "channelTitle": channel.title,
                "liveBroadcastContent": stage,
                "publishTime": published,
            },
        }

    def _video(
        self, video: int, counts: TrueCounts | None, parts: frozenset[str], time: float
    ) -> Item:
        videos = self._world.videos
        stage = self._stage(video, time)
        owner = self._world.owner(video, time)
        version = (video, stage, time >= videos.edited_at[video], owner)
        item: Item = {"kind": "youtube#video", "etag": "", "id": videos.video_ids[video]}
        if "snippet" in parts:
            item["snippet"] = self._kept(("snippet", *version), self._snippet, video, stage, time)
        if "contentDetails" in parts:
            item["contentDetails"] = self._kept(("content", *version), self._content, video, stage)
        if "status" in parts:
            item["status"] = self._kept(("status", video), self._status, video)
        if counts is not None and not videos.lacks_statistics[video]:
            item["statistics"] = {**_shown(counts), "favoriteCount": "0"}
        if "liveStreamingDetails" in parts and videos.broadcast[video] != PLAIN:
            item["liveStreamingDetails"] = self._streaming(video, stage, counts)
        item["etag"] = etag(version, counts, sorted(parts))
        return item

    def _kept(self, key: tuple[object, ...], write: Any, *arguments: object) -> orjson.Fragment:
        """Give the JSON of a part that was written before, or write it now."""
        fragment = self._fixed.get(key)
        if fragment is None:
            fragment = self._fixed[key] = orjson.Fragment(orjson.dumps(write(*arguments)))
        return fragment

    def _stage(self, video: int, time: float) -> str:
        """Tell whether a stream or premiere is `upcoming`, `live`, or over (`none`)."""
        videos = self._world.videos
        if videos.broadcast[video] == PLAIN:
            return "none"
        if time < videos.started_at[video]:
            return "upcoming"
        return "live" if time < self._ended_at(video) else "none"

    def _ended_at(self, video: int) -> float:
        videos = self._world.videos
        return float(videos.started_at[video] + videos.duration_seconds[video])

    def title(self, video: int, time: float) -> str:
        """Give the title of a video at a moment; some are edited a day after publication."""
        videos = self._world.videos
        style = wording.Style(
            capitals=bool(videos.capitals[video]),
            question=bool(videos.question[video]),
            number=bool(videos.number[video]),
            emoji=bool(videos.emoji[video]),
        )
        version = "/edited" if time >= videos.edited_at[video] else ""
        language = self._world.channels.each[videos.channel[video]].language
        return wording.title(
            language, style, bool(videos.is_short[video]), self._key(video) + version
        )

    def _key(self, video: int) -> str:
        return f"{self._world.seed}/{self._world.videos.video_ids[video]}"

    def _snippet(self, video: int, stage: str, time: float) -> Item:
        videos, key = self._world.videos, self._key(video)
        channel = self._world.channels.each[self._world.owner(video, time)]
        title = self.title(video, time)
        description = wording.description(channel.language, title, channel.handle, key)
        tags = wording.tags(channel.language, key)
        return {
            "publishedAt": iso(videos.published_at[video]),
            "channelId": channel.channel_id,
            "title": title,
            "description": description,
            "thumbnails": thumbnails(videos.video_ids[video], bool(videos.has_maxres[video])),
            "channelTitle": channel.title,
            **({"tags": tags} if tags else {}),
            "categoryId": str(channel.category_id),
            "liveBroadcastContent": stage,
            "defaultLanguage": channel.language,
            "localized": {"title": title, "description": description},
            "defaultAudioLanguage": channel.language,
        }

    def _content(self, video: int, stage: str) -> Item:
        videos = self._world.videos
        details: Item = {
            "dimension": "2d",
            "definition": "sd" if videos.is_sd[video] else "hd",
            "caption": "true" if videos.captioned[video] else "false",
            "licensedContent": True,
            "contentRating": {},
            "projection": "rectangular",
        }
        seconds = self._shown_seconds(video, stage)
        return details if seconds is None else {"duration": _iso_seconds(seconds), **details}

    def _shown_seconds(self, video: int, stage: str) -> int | None:
        """Give the length that is told: 0 for a stream that is not over, none for a premiere."""
        videos = self._world.videos
        if videos.broadcast[video] == LIVE and stage != "none":
            return 0
        if videos.broadcast[video] == PREMIERE and stage == "upcoming":
            return None
        return int(videos.duration_seconds[video])

    def _status(self, video: int) -> Item:
        channel = self._world.channels.each[self._world.videos.channel[video]]
        return {
            "uploadStatus": "processed",
            "privacyStatus": "public",
            "license": "youtube",
            "embeddable": True,
            "publicStatsViewable": True,
            "madeForKids": channel.made_for_kids,
        }

    def _streaming(self, video: int, stage: str, counts: TrueCounts | None) -> Item:
        started = iso(self._world.videos.started_at[video])
        details: Item = {"scheduledStartTime": started}
        if stage != "upcoming":
            details["actualStartTime"] = started
        if stage == "none":
            details["actualEndTime"] = iso(self._ended_at(video))
        if stage == "live" and counts is not None and counts.views is not None:
            details["concurrentViewers"] = str(counts.views // 10)
        return details


def _iso_seconds(seconds: int) -> str:
    return iso_duration(seconds) if seconds else "P0D"


def _shown(counts: TrueCounts) -> dict[str, str]:
    shown = {"viewCount": counts.views, "likeCount": counts.likes, "commentCount": counts.comments}
    return {name: str(count) for name, count in shown.items() if count is not None}
