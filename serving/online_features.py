"""Features from the online store: a video's row, then its channel's, in Feast's own layout."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_repo import online_layout as layout
from feature_repo.statuses import age_limit_seconds
from feature_repo.transformations.declared import DEFAULT
from serving.breaker import Breaker
from serving.current_vectors import CurrentVectors
from serving.errors import FeaturesUnavailable
from serving.redis_connection import RedisAway, command
from serving.redis_servers import RedisServers
from serving.stored_rows import RowReader, Rows

FloatArray = NDArray[np.float64]

PROFILE_VIEW = "video_profile"
PERFORMANCE_VIEW = "video_performance"
_NAMES = (("video_profile", "channel_id"), ("video_profile", "world"))

_MAX_HINTS = 200_000
_ROUNDING_SECONDS = 1.0  # a sum may be off by less than a millionth of that


@dataclass(frozen=True)
class EntityPlan:
    """What to read of one entity: texts, then numbers, then the time of each view's row."""

    join_key: str
    texts: tuple[tuple[str, str], ...]
    numbers: tuple[tuple[str, str], ...]
    views: tuple[str, ...]
    fields: tuple[bytes, ...]

    @classmethod
    def of(
        cls,
        join_key: str,
        numbers: Iterable[tuple[str, str]],
        texts: tuple[tuple[str, str], ...] = (),
    ) -> "EntityPlan":
        """Lay out (view, feature) pairs of one entity."""
        numbers = tuple(numbers)
        views = tuple(dict.fromkeys(view for view, _ in (*texts, *numbers)))
        fields = layout.feature_fields((*texts, *numbers))
        times = tuple(layout.timestamp_field(view) for view in views)
        return cls(join_key, texts, numbers, views, fields + times)

    @cached_property
    def reader(self) -> RowReader:
        """Gives what is wanted of rows as `read_command` has them read."""
        first, last = len(self.texts), len(self.texts) + len(self.numbers)
        return RowReader(self.fields[:first], self.fields[first:last], self.fields[last:])


@dataclass(frozen=True)
class ReadPlan:
    """Which stored features a model needs, by entity; their order is that of a vector's values."""

    video: EntityPlan
    channel: EntityPlan

    @classmethod
    def of(cls, features: Iterable[tuple[str, str]]) -> "ReadPlan":
        """Lay out (view, feature) pairs, all of them numbers."""
        by_key: dict[str, list[tuple[str, str]]] = {"video_id": [], "channel_id": []}
        for view, name in dict.fromkeys(features):
            by_key[layout.JOIN_KEY_OF_VIEW[view]].append((view, name))
        video = EntityPlan.of("video_id", by_key["video_id"], texts=_NAMES)
        return cls(video, EntityPlan.of("channel_id", by_key["channel_id"]))

    @cached_property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """The (view, feature) of each value of a stored vector."""
        return self.video.numbers + self.channel.numbers

    @cached_property
    def views(self) -> tuple[str, ...]:
        """The view of each event time of a stored vector."""
        return self.video.views + self.channel.views

    @cached_property
    def limits(self) -> tuple[tuple[float, list[int]], ...]:
        """The age limit, in seconds, of each view, and where its features are in a vector."""
        return tuple(
            (age_limit_seconds(view), [at for at, (of, _) in enumerate(self.numbers) if of == view])
            for view in self.views
        )


class StoredVector(NamedTuple):
    """What the online store holds of a video and its channel; NaN where null or missing.

    `values` and `event_times` (epoch seconds; NaN for a view without a row) are in the order of
    the plan they were read by. Before `ages_at` no view is too old.
    """

    video_id: str
    channel_id: str | None
    world: str | None
    values: FloatArray
    event_times: list[float]
    ages_at: float


def within_age(plan: ReadPlan, vector: StoredVector, as_of: float) -> StoredVector:
    """Take out what is older than its view's age limit, as the join in history does."""
    if as_of < vector.ages_at:
        return vector
    for event_time, (limit, places) in zip(vector.event_times, plan.limits, strict=True):
        if as_of - event_time > limit:
            values = vector.values.copy()
            values[places] = DEFAULT
            vector = vector._replace(values=values)
    return vector


def read_command(key: bytes) -> bytes:
    """Give the command that reads one entity, as Redis reads it.

    A whole row, though not all of it may be wanted: Redis finds a named field of a small hash by
    going through it from its beginning.
    """
    return b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(key), key)


class OnlineFeatures(Protocol):
    """Where feature vectors come from."""

    def held(self, plan: ReadPlan, video_ids: Sequence[str]) -> list[StoredVector] | None:
        """Give videos without asking the store, in order; None unless it vouches for each."""

    async def read(self, plan: ReadPlan, video_ids: Sequence[str]) -> list[StoredVector | None]:
        """Read videos, in order; None for one of which nothing is stored.

        Raises:
            FeaturesUnavailable: The store does not answer in time.
        """

    async def read_channels(
        self, plan: "EntityPlan", channel_ids: Sequence[str]
    ) -> dict[str, tuple[FloatArray, list[float]]]:
        """Read the values and event times of channels; one without a row has NaN.

        Raises:
            FeaturesUnavailable: The store does not answer in time.
        """

    async def check(self) -> None:
        """Raise FeaturesUnavailable unless the store answers a read."""


class RedisOnlineFeatures:
    """Feast's online store in Redis, read without the SDK: one round trip where it can be.

    Which channel a video is of was learnt when the video was last read. It is a hint of what to
    ask for together, never an answer: what the video's row says now decides.

    Where the store tells of changes, what it was asked lately and has not changed is not asked for
    again.
    """

    def __init__(
        self,
        servers: RedisServers,
        timeout_seconds: float,
        breaker: Breaker,
        project: str = layout.PROJECT,
        current: CurrentVectors | None = None,
        count: Callable[[str, int], None] = lambda source, videos: None,
    ) -> None:
        self._servers = servers
        self._current = CurrentVectors(0) if current is None else current
        self._count = count
        self._timeout = timeout_seconds
        self._breaker = breaker
        self._channel_of: dict[str, str] = {}
        self._video_key = layout.key_encoder("video_id", project)
        self._channel_key = layout.key_encoder("channel_id", project)

    async def start(self) -> None:
        """Connect; an absent store is no failure, it is looked for in the background."""
        self._servers.tell(self._current.changed)
        await self._servers.start()
        self._breaker.start(self._probe)

    async def stop(self) -> None:
        """Close all connections."""
        await self._breaker.stop()
        await self._servers.stop()

    async def check(self) -> None:
        """Read a key that need not exist: a full disk fails writes and PING, but not this."""
        try:
            await self._probe()
        except RedisAway as error:
            raise _unavailable(str(error)) from error

    def held(self, plan: ReadPlan, video_ids: Sequence[str]) -> list[StoredVector] | None:
        """Give videos that are known to be as the store has them; see OnlineFeatures."""
        held = [one for one in self._current.get(plan, video_ids) if one is not None]
        if len(held) < len(video_ids):
            return None
        self._count("memory", len(held))
        return held

    async def read(self, plan: ReadPlan, video_ids: Sequence[str]) -> list[StoredVector | None]:
        """Read videos and their channels; see OnlineFeatures."""
        held = self._current.get(plan, video_ids)
        asked = [id_ for id_, one in zip(video_ids, held, strict=True) if one is None]
        if asked:
            read = iter(await self._guarded(lambda: self._read(plan, asked)))
            self._count("redis", len(asked))
            held = [next(read) if one is None else one for one in held]
        self._count("memory", len(video_ids) - len(asked))
        return held

    async def read_channels(
        self, plan: EntityPlan, channel_ids: Sequence[str]
    ) -> dict[str, tuple[FloatArray, list[float]]]:
        """Read channels alone; see OnlineFeatures."""

        async def read() -> dict[str, tuple[FloatArray, list[float]]]:
            keys = [self._channel_key(channel_id) for channel_id in channel_ids]
            replies = await self._replies(keys, perf_counter() + self._timeout)
            return _channels(plan, channel_ids, replies)

        return await self._guarded(read)

    async def _probe(self) -> None:
        key = b"foreview:ready"
        await self._servers.execute([key], [command("GET", key)], self._timeout)

    async def _guarded(self, read: Callable[[], Any]) -> Any:
        if self._breaker.is_open:
            raise _unavailable("it did not answer lately")
        try:
            answer = await read()
        except RedisAway as error:
            self._breaker.failed()
            raise _unavailable(str(error)) from error
        self._breaker.succeeded()
        return answer

    async def _read(self, plan: ReadPlan, video_ids: Sequence[str]) -> list[StoredVector | None]:
        deadline = perf_counter() + self._timeout
        changes, wants_channel = self._current.changes, bool(plan.channel.fields)
        hinted = self._hinted(video_ids) if wants_channel else []
        keys = [self._video_key(video_id) for video_id in video_ids]
        keys += [self._channel_key(channel_id) for channel_id in hinted]
        replies = await self._replies(keys, deadline)
        videos = plan.video.reader.read(replies[: len(video_ids)])
        channels = _channels(plan.channel, hinted, replies[len(video_ids) :])
        actual = {channel_id for channel_id, _ in videos.texts if channel_id}
        unread = sorted(actual.difference(channels)) if wants_channel else []
        if unread:
            keys = [self._channel_key(channel_id) for channel_id in unread]
            more = await self._replies(keys, deadline)
            channels |= _channels(plan.channel, unread, more)
        self._remember(video_ids, videos)
        vectors = _vectors(plan, video_ids, videos, channels)
        if self._servers.is_telling and changes == self._current.changes:
            for vector in vectors:
                if vector is not None:
                    self._current.hold(plan, vector, self._keys_of(vector))
        return vectors

    def _keys_of(self, vector: StoredVector) -> tuple[bytes, ...]:
        of_video = self._video_key(vector.video_id)
        if vector.channel_id is None:
            return (of_video,)
        return (of_video, self._channel_key(vector.channel_id))

    def _hinted(self, video_ids: Sequence[str]) -> list[str]:
        known = self._channel_of
        return list({known[video_id]: None for video_id in video_ids if video_id in known})

    def _remember(self, video_ids: Sequence[str], videos: Rows) -> None:
        if len(self._channel_of) + len(video_ids) > _MAX_HINTS:
            self._channel_of.clear()  # rarely; the next reads of each take a round trip more
        for video_id, (channel_id, _) in zip(video_ids, videos.texts, strict=True):
            if channel_id:
                self._channel_of[video_id] = channel_id

    async def _replies(self, keys: Sequence[bytes], deadline: float) -> list[bytes]:
        left, commands = max(deadline - perf_counter(), 0.001), list(map(read_command, keys))
        try:
            return await self._servers.execute(keys, commands, left)
        except RedisAway as error:
            if str(error).startswith("WRONGTYPE"):  # of one key; the server is well
                raise layout.LayoutError(str(error)) from error
            raise


def _channels(
    plan: EntityPlan, channel_ids: Sequence[str], replies: Sequence[bytes]
) -> dict[str, tuple[FloatArray, list[float]]]:
    if not channel_ids:
        return {}
    rows = plan.reader.read(replies)
    return dict(zip(channel_ids, zip(rows.numbers, rows.times, strict=True), strict=True))


def _vectors(
    plan: ReadPlan,
    video_ids: Sequence[str],
    videos: Rows,
    channels: dict[str, tuple[FloatArray, list[float]]],
) -> list[StoredVector | None]:
    width = len(plan.video.numbers)
    values = np.full((len(video_ids), len(plan.numbers)), np.nan)
    values[:, :width] = videos.numbers
    absent = [float("nan")] * len(plan.channel.views)
    limits = [limit for limit, _ in plan.limits]
    vectors: list[StoredVector | None] = []
    for at, (video_id, times) in enumerate(zip(video_ids, videos.times, strict=True)):
        if all(time != time for time in times):  # no row in any view
            vectors.append(None)
            continue
        channel_id, world = videos.texts[at]
        channel = channels.get(channel_id or "")
        if channel is not None:
            values[at, width:] = channel[0]
        event_times = times + (absent if channel is None else channel[1])
        ages = [
            time + limit for time, limit in zip(event_times, limits, strict=True) if time == time
        ]
        vectors.append(
            StoredVector(
                video_id, channel_id, world,
                values[at].copy(),  # whoever keeps one shall not keep all that were read with it
                event_times,
                min(ages) - _ROUNDING_SECONDS,
            )
        )  # fmt: skip
    return vectors


def _unavailable(reason: str) -> FeaturesUnavailable:
    return FeaturesUnavailable(f"The online store (FOREVIEW_REDIS_URL) does not answer: {reason}")
