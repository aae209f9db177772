"""The synthetic world: what is true at YouTube at a moment, a pure function of seed and time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np

from ingestion.emulator.channels import Channels, synthetic_channels
from ingestion.emulator.draws import FIRST_MONDAY, WEEK, IntArray, upload_draws
from ingestion.emulator.videos import PLAIN, Videos, synthetic_videos

# How far back the uploads playlists of a world reach before its start.
_EARLIER_WEEKS = 26


@dataclass(frozen=True)
class TrueCounts:
    """The counts of a video at a moment; None where viewers are not shown them."""

    views: int | None
    likes: int | None
    comments: int | None


@dataclass(frozen=True)
class World:
    """Channels and videos of a window [start, end) of one endless synthetic YouTube.

    Two worlds of one seed agree wherever their windows overlap: a later window is the same
    YouTube, later.
    """

    seed: int
    start: datetime
    end: datetime
    channels: Channels = field(repr=False)
    videos: Videos = field(repr=False)

    @cached_property
    def video_index(self) -> dict[str, int]:
        """Give the position of each video by its id."""
        return {video_id: index for index, video_id in enumerate(self.videos.video_ids)}

    @cached_property
    def channel_index(self) -> dict[str, int]:
        """Give the position of each channel by its id."""
        return {c.channel_id: index for index, c in enumerate(self.channels.each)}

    @cached_property
    def _by_channel(self) -> tuple[IntArray, ...]:
        """Give the videos that are at some time in each channel."""
        first, later = self.videos.channel, self.videos.moved_to
        moved = np.isfinite(self.videos.moved_at)
        return tuple(
            np.flatnonzero((first == c) | (moved & (later == c)))
            for c in range(len(self.channels.each))
        )

    def owner(self, video: int, time: float) -> int:
        """Give the channel a video is in at a moment."""
        of = self.videos
        return int(of.moved_to[video] if time >= of.moved_at[video] else of.channel[video])

    def owners(self, time: float, videos: IntArray | slice = slice(None)) -> IntArray:
        """Give the channels that videos are in at a moment."""
        of = self.videos
        return np.where(
            time >= of.moved_at[videos], of.moved_to[videos], of.channel[videos]
        ).astype(np.int64)

    def visible(self, videos: IntArray, time: float) -> IntArray:
        """Keep the videos that are published and not deleted at a moment."""
        there = (self.videos.published_at[videos] <= time) & (time < self.videos.deleted_at[videos])
        return videos[there]

    def uploads(self, channel: int, time: float) -> IntArray:
        """Give what a channel's uploads playlist shows, the newest first."""
        there = self.visible(self._by_channel[channel], time)
        return there[self.owners(time, there) == channel][::-1]

    def true_counts(self, video_id: str, moment: datetime) -> TrueCounts:
        """Give what the API must answer for a video at a moment."""
        return self.counts(np.array([self.video_index[video_id]]), moment.timestamp())[0]

    def counts(self, videos: IntArray, time: float) -> list[TrueCounts]:
        """Give the counts of some videos at a moment; an announced stream has no views yet."""
        curves, of = self.videos.curves, self.videos
        views, likes = curves.views(videos, time), curves.likes(videos, time)
        comments = curves.comments(videos, time)
        announced = (of.broadcast[videos] != PLAIN) & (time < of.started_at[videos])
        silent = of.lacks_statistics[videos]
        hidden = (
            announced | silent,
            of.hides_likes[videos] | silent,
            of.comments_off[videos] | silent,
        )
        columns = (views, likes, comments, *hidden)
        return [
            TrueCounts(
                views=None if no_views else v,
                likes=None if no_likes else n,
                comments=None if no_comments else c,
            )
            for v, n, c, no_views, no_likes, no_comments in zip(
                *(x.tolist() for x in columns), strict=True
            )
        ]

    def channel_totals(self, channels: Sequence[int], time: float) -> list[tuple[int, int]]:
        """Give the views and the number of public videos of channels, earlier ones included."""
        shown = [self.uploads(channel, time) for channel in channels]
        sizes = [len(videos) for videos in shown]
        views = self.videos.curves.views(np.concatenate(shown), time)
        sums = [int(part.sum()) for part in np.split(views, np.cumsum(sizes)[:-1])]
        of = self.channels
        return [
            (int(of.earlier_views[channel]) + total, int(of.earlier_videos[channel]) + size)
            for channel, total, size in zip(channels, sums, sizes, strict=True)
        ]


def synthetic_world(seed: int, *, days: int, channels: int, end: datetime) -> World:
    """Make the world of the `days` days before `end`."""
    end = end.astimezone(UTC)
    start = end - timedelta(days=days)
    drawn = synthetic_channels(seed, channels)
    weeks = range(_week(start) - _EARLIER_WEEKS, _week(end) + 1)
    videos = synthetic_videos(seed, drawn, upload_draws(seed, drawn.uploads_per_week, weeks))
    return World(seed=seed, start=start, end=end, channels=drawn, videos=videos)


def _week(moment: datetime) -> int:
    return int((moment.timestamp() - FIRST_MONDAY) // WEEK)
