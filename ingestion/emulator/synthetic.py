"""A synthetic world as the API shows it: every method, answered from what is true at a moment."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from ingestion.emulator import pages
from ingestion.emulator.categories import categories
from ingestion.emulator.channel_items import CHANNEL_PARTS, PLAYLIST_ITEM_PARTS, ChannelItems
from ingestion.emulator.errors import invalid_value, missing, playlist_not_found
from ingestion.emulator.queries import Query, ids, instant, listing, parts
from ingestion.emulator.video_items import STATS_PARTS, VIDEO_PARTS, VideoItems
from ingestion.emulator.world import World

# A search looks through the latest uploads only; YouTube's own is no complete list either.
_SEARCHED = 5_000
_ORDERS = ("date", "rating", "relevance", "title", "viewCount")


class SyntheticSite:
    """Answers the methods of the API from a world."""

    world = "synthetic"

    def __init__(self, world: World) -> None:
        self._world = world
        self.start, self.end = world.start, world.end
        self._video_items = VideoItems(world)
        self._channel_items = ChannelItems(world, self._video_items.title)
        self._methods: dict[str, Callable[[Query, float], Any]] = {
            "videos.list": self._videos,
            "videos.batchGetStats": self._stats,
            "channels.list": self._channels,
            "playlistItems.list": self._playlist_items,
            "search.list": self._search,
            "videoCategories.list": lambda query, _: categories(query),
        }

    def settle(self, moment: datetime) -> datetime:
        """Give the moment itself: something happens all the time."""
        return moment

    def after(self, moment: datetime) -> datetime:
        """Give the same moment: there is no next one in a world without steps."""
        raise ValueError('this world has no steps: say "now" or "advance_seconds"')

    def requests(self, _now: datetime) -> list[dict[str, str]]:
        """Give nothing: what there is must be discovered."""
        return []

    def answer(self, method: str, query: Query, now: datetime) -> Any:
        """Answer a method of the API; raises ApiError."""
        return self._methods[method](query, now.timestamp())

    def _videos(self, query: Query, time: float) -> Any:
        if query.get("chart") == "mostPopular" and "id" not in query:
            return self._chart(query, time)
        items = self._video_items.videos(ids(query, "id"), parts(query, VIDEO_PARTS), time)
        return listing("youtube#videoListResponse", items, len(items), len(items))

    def _chart(self, query: Query, time: float) -> Any:
        """Give the most viewed videos of the last week."""
        wanted, size, first = parts(query, VIDEO_PARTS), pages.size(query), pages.offset(query)
        videos = self._world.videos
        recent = np.flatnonzero(videos.published_at > time - 7 * 86_400)
        shown = self._world.visible(recent, time)
        best = shown[np.argsort(-videos.curves.views(shown, time), kind="stable")][:200]
        names = [videos.video_ids[video] for video in best[first : first + size]]
        items = self._video_items.videos(names, wanted, time)
        answer = listing("youtube#videoListResponse", items, len(best), size)
        return answer | pages.tokens(first, size, len(best))

    def _stats(self, query: Query, time: float) -> Any:
        items = self._video_items.stats(ids(query, "id"), parts(query, STATS_PARTS), time)
        answer = listing("youtube#batchGetStatsResponse", items, len(items), len(items))
        del answer["pageInfo"]
        return answer

    def _channels(self, query: Query, time: float) -> Any:
        index, wanted = self._world.channel_index, parts(query, CHANNEL_PARTS)
        if "forHandle" in query:
            handle = "@" + query["forHandle"].lstrip("@").lower()
            found = [i for i, c in enumerate(self._world.channels.each) if c.handle == handle]
        else:
            found = [index[c] for c in ids(query, "id") if c in index]
        items = self._channel_items.channels(found, wanted, time)
        answer = listing("youtube#channelListResponse", items, len(items), 5)
        if not items:
            # YouTube leaves the list out altogether when no channel matches.
            del answer["items"]
        return answer

    def _playlist_items(self, query: Query, time: float) -> Any:
        wanted, playlist = parts(query, PLAYLIST_ITEM_PARTS), query.get("playlistId", "")
        if not playlist:
            raise missing("playlistId")
        channel = self._world.channel_index.get("UC" + playlist[2:])
        if channel is None or not playlist.startswith("UU"):
            raise playlist_not_found()
        size, first = pages.size(query), pages.offset(query)
        page = slice(first, first + size)
        items, total = self._channel_items.uploads(channel, wanted, time, page)
        answer = listing("youtube#playlistItemListResponse", items, total, size)
        return answer | pages.tokens(first, size, total)

    def _search(self, query: Query, time: float) -> Any:
        parts(query, ("snippet",))
        size, first = pages.size(query), pages.offset(query)
        found = self._found(query, time)
        items = self._video_items.results(found[first : first + size], time)
        answer = listing("youtube#searchListResponse", items, len(found), size)
        return (
            answer
            | {"regionCode": query.get("regionCode", "US")}
            | pages.tokens(first, size, len(found))
        )

    def _found(self, query: Query, time: float) -> list[int]:
        """Give the videos that a search finds: all words in the title, of a channel, of a time."""
        if query.get("type", "video") != "video":
            raise invalid_value("type", "this emulator finds videos only: say type=video")
        order = query.get("order", "relevance")
        if order not in _ORDERS:
            raise invalid_value("order", f"'{order}'")
        videos = self._world.videos
        chosen = np.ones(len(videos.video_ids), dtype=bool)
        after, before = instant(query, "publishedAfter"), instant(query, "publishedBefore")
        if after is not None:
            chosen &= videos.published_at >= after
        if before is not None:
            chosen &= videos.published_at < before
        if "channelId" in query:
            owner = self._world.channel_index.get(query["channelId"], -1)
            chosen &= self._world.owners(time) == owner
        shown = self._world.visible(np.flatnonzero(chosen), time)[::-1][:_SEARCHED]
        words = query.get("q", "").lower().split()
        titles = {v: self._video_items.title(v, time) for v in shown.tolist()} if words else {}
        found = [v for v in shown.tolist() if all(w in titles[v].lower() for w in words)]
        return self._ordered(found, order, time)

    def _ordered(self, found: list[int], order: str, time: float) -> list[int]:
        if order == "title":
            return sorted(found, key=lambda video: self._video_items.title(video, time))
        if order == "date" or not found:
            return found
        views = self._world.videos.curves.views(np.array(found), time)
        return [found[place] for place in np.argsort(-views, kind="stable").tolist()]
