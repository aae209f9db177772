"""Small worlds as hypothesis draws them: looks in any order, late, corrected, with nulls."""

from datetime import timedelta

from hypothesis import strategies as st

from tests.worlds import DAY, NOON, channel_look, snapshot, version, world

STEP = timedelta(hours=9, microseconds=1)
VIDEOS, CHANNELS = ("v1", "v2", "v3", "v4"), ("UC1", "UC2")
COUNT = st.none() | st.integers(0, 3) | st.integers(0, 10**7)
OBSERVED, DELAY = st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 2, 5])


def at(step):
    return NOON + step * STEP


SNAPSHOT = st.builds(
    lambda video_id, observed, delay, views, likes, comments, definition: snapshot(
        video_id,
        at(observed),
        views,
        ingested_at=at(observed + delay),
        like_count=likes,
        comment_count=comments,
        view_definition=definition,
    ),
    st.sampled_from(VIDEOS),
    OBSERVED,
    DELAY,
    COUNT,
    COUNT,
    COUNT,
    st.sampled_from(["views_1", "views_1", "views_2"]),
)
VERSION = st.builds(
    lambda video_id, observed, delay, channel_id, published, duration, title: version(
        video_id,
        at(observed),
        channel_id,
        ingested_at=at(observed + delay),
        published_at=NOON - published * DAY / 2,
        duration_seconds=duration,
        title=title,
    ),
    st.sampled_from(VIDEOS),
    st.integers(-1, 5),
    DELAY,
    st.sampled_from(CHANNELS),
    st.sampled_from([-1, 0, 1, 2, 3, 55, 59]),
    st.sampled_from([None, 0.0, 30.0, 180.0, 500.0]),
    st.sampled_from(["Daily vlog", "daily news 12", "今日のvlog", "🎉", "THE NEWS", "a b c d"]),
)
CHANNEL_LOOK = st.builds(
    lambda channel_id, observed, delay, subscribers: channel_look(
        channel_id, at(observed), subscribers, ingested_at=at(observed + delay)
    ),
    st.sampled_from(CHANNELS),
    OBSERVED,
    DELAY,
    COUNT,
)


def key(row):
    return row.get("video_id", row.get("channel_id")), row["observed_at"], row["ingested_at"]


SNAPSHOTS = st.lists(SNAPSHOT, min_size=1, max_size=16, unique_by=key)
WORLDS = st.builds(
    world,
    st.lists(VERSION, min_size=1, max_size=6, unique_by=lambda row: key(row)[:2]),
    SNAPSHOTS,
    st.lists(CHANNEL_LOOK, max_size=4, unique_by=key),
)
MOMENTS = [
    at(step) + after for step in range(16) for after in (-timedelta(microseconds=1), 0 * DAY)
]
AS_OF = st.sampled_from(MOMENTS)
