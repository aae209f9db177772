"""What is held of the online store is what it holds: it says when a row changes."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import redis

from feature_repo import online_layout as layout
from serving.breaker import Breaker
from serving.current_vectors import LONGEST_SECONDS, CurrentVectors
from serving.errors import FeaturesUnavailable
from serving.online_features import ReadPlan, RedisOnlineFeatures, StoredVector
from serving.redis_connection import RedisAddress
from serving.redis_servers import SingleServer
from tests.serving.conftest import Store, unique_id

PLAN = ReadPlan.of([("video_performance", "view_count"), ("channel_track_record", "uploads")])
OTHER = ReadPlan.of([("video_performance", "view_count")])


def vector(video: str) -> StoredVector:
    return StoredVector(video, "UC", "w", np.zeros(2), [0.0, 0.0], 0.0)


def held(current: CurrentVectors, *videos: str, plan: ReadPlan = PLAN) -> list[bool]:
    return [one is not None for one in current.get(plan, videos)]


def test_a_vector_is_held_until_one_of_its_rows_changes() -> None:
    current = CurrentVectors(10)
    for video, channel in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        current.hold(PLAN, vector(video), (video.encode(), channel))
    assert held(current, "a", "b", "c", "d") == [True, True, True, False]
    assert held(current, "a", plan=OTHER) == [False]
    current.changed([b"c", b"unknown"])
    assert held(current, "a", "b", "c") == [True, True, False]
    current.changed([b"1"])
    assert held(current, "a", "b") == [False, False]
    current.hold(PLAN, vector("a"), (b"a", b"1"))
    current.changed(None)
    assert held(current, "a") == [False]
    assert current.changes == 3


def test_no_more_are_held_than_there_is_room_for() -> None:
    current = CurrentVectors(2)
    for video in "abac":
        current.hold(PLAN, vector(video), (video.encode(),))
    assert held(current, "a", "b", "c") == [True, False, True]
    current.changed([b"b"])  # of one that is gone
    nothing = CurrentVectors(0)
    nothing.hold(PLAN, vector("a"), (b"a",))
    assert (held(nothing, "a"), len(nothing)) == ([False], 0)


def test_none_is_held_for_long_without_a_look() -> None:
    now = [0.0]
    current = CurrentVectors(2, lambda: now[0])
    current.hold(PLAN, vector("a"), (b"a",))
    now[0] = LONGEST_SECONDS - 1
    assert held(current, "a") == [True]
    now[0] = LONGEST_SECONDS
    assert held(current, "a") == [False]


class Reader:
    """The server's reader at a Redis, and how many videos it took from where."""

    def __init__(self, url: str) -> None:
        self.server = SingleServer(RedisAddress.parse(url))
        self.current = CurrentVectors(100)
        self.counts = {"memory": 0, "redis": 0}
        self.features = RedisOnlineFeatures(
            self.server, 5.0, Breaker(lambda is_open: None), current=self.current, count=self._count
        )

    def _count(self, source: str, videos: int) -> None:
        self.counts[source] += videos

    async def views(self, *videos: str) -> list[float | None]:
        found = await self.features.read(PLAN, videos)
        return [None if one is None else float(one.values[0]) for one in found]


def reading(url: str, scenario: Callable[[Reader], Awaitable[None]]) -> None:
    async def run() -> None:
        reader = Reader(url)
        await reader.features.start()
        try:
            await asyncio.wait_for(scenario(reader), 60)
        finally:
            await reader.features.stop()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came to pass")


@pytest.fixture
def store(redis_url):
    store = Store(redis_url)
    yield store
    store.close()


def put(store: Store, video: str, views: float) -> None:
    store.put("video_id", video, {"video_performance": {"view_count": views}}, 1.0)


def put_with_channel(store: Store, video: str, channel: str, views: float) -> None:
    rows = {"video_profile": {"channel_id": channel}, "video_performance": {"view_count": views}}
    store.put("video_id", video, rows, 1.0)


def put_channel(store: Store, channel: str, uploads: float) -> None:
    store.put("channel_id", channel, {"channel_track_record": {"uploads": uploads}}, 1.0)


def test_what_was_read_is_not_read_again_until_it_changes(redis_url, store) -> None:
    a, b, channel = unique_id(), unique_id(), unique_id("UC")
    put_with_channel(store, a, channel, 1.0)
    put(store, b, 2.0)

    async def scenario(reader: Reader) -> None:
        assert await reader.views(a, b, "nobody") == [1.0, 2.0, None]
        assert reader.counts == {"memory": 0, "redis": 3}
        assert await reader.views(b, a, "nobody") == [2.0, 1.0, None]
        assert reader.counts == {"memory": 2, "redis": 4}  # what is not there is asked for again
        put(store, b, 3.0)
        await until(lambda: len(reader.current) == 1)
        assert await reader.views(a, b) == [1.0, 3.0]
        put_channel(store, channel, 9.0)  # of which there was no row when it was read
        await until(lambda: len(reader.current) == 1)
        (found,) = await reader.features.read(PLAN, [a])
        assert found.values.tolist() == [1.0, 9.0]
        put_channel(store, channel, 8.0)
        await until(lambda: len(reader.current) == 1)
        (found,) = await reader.features.read(PLAN, [a])
        assert found.values.tolist() == [1.0, 8.0]

    reading(redis_url, scenario)


def test_what_is_held_is_given_without_the_store_only_where_all_of_it_is(redis_url, store) -> None:
    a, b = unique_id(), unique_id()
    put(store, a, 1.0)
    put(store, b, 2.0)

    async def scenario(reader: Reader) -> None:
        assert await reader.views(a) == [1.0]
        assert reader.features.held(PLAN, [b, a]) is None
        assert reader.counts == {"memory": 0, "redis": 1}
        assert await reader.views(b) == [2.0]
        held = reader.features.held(PLAN, [b, a])
        assert held is not None
        assert [one.video_id for one in held] == [b, a]
        assert [float(one.values[0]) for one in held] == [2.0, 1.0]
        assert reader.counts == {"memory": 2, "redis": 2}
        put(store, a, 3.0)
        await until(lambda: len(reader.current) == 1)
        assert reader.features.held(PLAN, [b, a]) is None

    reading(redis_url, scenario)


def test_what_could_not_be_read_is_not_counted_as_read(own_redis) -> None:
    async def scenario(reader: Reader) -> None:
        own_redis.kill()
        await until(lambda: not reader.server.is_telling)
        for _ in range(5):  # the breaker opens meanwhile
            with pytest.raises(FeaturesUnavailable):
                await reader.views("a", "b")
        assert reader.counts == {"memory": 0, "redis": 0}

    reading(own_redis.url, scenario)


def test_a_video_taken_out_is_not_held(redis_url, store) -> None:
    video = unique_id()
    put(store, video, 1.0)

    async def scenario(reader: Reader) -> None:
        await reader.views(video)
        with redis.Redis.from_url(redis_url) as connection:
            connection.delete(layout.key_encoder("video_id")(video))
        await until(lambda: len(reader.current) == 0)
        assert await reader.views(video) == [None]

    reading(redis_url, scenario)


def test_nothing_is_vouched_for_by_a_connection_that_is_lost(own_redis) -> None:
    store, video = Store(own_redis.url), unique_id()
    put(store, video, 1.0)

    async def scenario(reader: Reader) -> None:
        await reader.views(video)
        with redis.Redis.from_url(own_redis.url) as connection:
            for client in connection.client_list():
                if "t" in client["flags"]:
                    connection.client_kill_filter(_id=client["id"])
            put(store, video, 2.0)  # which nobody tells
        await until(lambda: len(reader.current) == 0)
        await until(lambda: reader.server.is_telling)
        assert await reader.views(video) == [2.0]
        put(store, video, 3.0)
        await until(lambda: len(reader.current) == 0)
        assert await reader.views(video) == [3.0]

    reading(own_redis.url, scenario)


def test_what_changes_while_it_is_read_is_never_held_as_it_was(redis_url, store) -> None:
    """Rows are written as fast as can be while they are read: the last of each is seen at last."""
    videos = [unique_id() for _ in range(20)]
    for video in videos:
        put(store, video, 0.0)

    async def scenario(reader: Reader) -> None:
        last = dict.fromkeys(videos, 0.0)
        seen = dict.fromkeys(videos, 0.0)
        chance = random.Random(7)

        def write() -> None:
            for n in range(1, 3000):
                video = chance.choice(videos)
                put(store, video, float(n))
                last[video] = float(n)

        writing = asyncio.create_task(asyncio.to_thread(write))
        while not writing.done():
            for video, views in zip(videos, await reader.views(*videos), strict=True):
                assert views >= seen[video]  # what was seen is not unseen
                seen[video] = views
            await asyncio.sleep(0)
        await writing
        await asyncio.sleep(0.2)
        assert dict(zip(videos, await reader.views(*videos), strict=True)) == last
        assert reader.counts["memory"] > 0

    reading(redis_url, scenario)


def test_a_user_who_may_not_be_told_reads_every_time(own_redis, redis_url) -> None:
    store, video = Store(own_redis.url), unique_id()
    put(store, video, 1.0)
    with redis.Redis.from_url(own_redis.url) as connection:
        connection.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], keys=["*"],
            commands=["+hgetall", "+get", "+ping", "+hello", "+select"],
        )  # fmt: skip

    async def scenario(reader: Reader) -> None:
        for views in (1.0, 2.0):
            put(store, video, views)
            assert await reader.views(video) == [views]
        assert not reader.server.is_telling
        assert reader.counts == {"memory": 0, "redis": 2}

    reading(own_redis.url.replace("//", "//reader:secret@"), scenario)


def test_a_store_that_falls_silent_vouches_for_nothing(own_redis) -> None:
    store, video = Store(own_redis.url), unique_id()
    put(store, video, 1.0)

    async def scenario(reader: Reader) -> None:
        await reader.views(video)
        own_redis.signal(signal.SIGSTOP)
        try:
            await until(lambda: len(reader.current) == 0)
        finally:
            own_redis.signal(signal.SIGCONT)

    reading(own_redis.url, scenario)
