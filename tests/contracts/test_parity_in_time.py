"""Hundreds of (entity, moment) pairs: history now is what was online then, to the bit."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import redis

from feature_repo.online_writer import ViewLayout, write
from ingestion.feature_rows import feature_rows
from ingestion.feature_tables import build
from tests.contracts.parity import described_by_the_server, historical, online
from tests.exactness import differing
from tests.worlds import (
    DAY,
    DESCRIPTIONS,
    DURATIONS,
    NOON,
    TAGS,
    TITLES,
    channel_ids,
    forget,
    small_world,
    store,
    video_ids,
)

NAMES = ("first", "second")
WORLD = small_world("first", seed=3).with_rows(small_world("second", seed=11))
# Over all of the worlds' six weeks, a dozen moments, parts of seconds among them.
RANDOM = np.random.default_rng(5)
MOMENTS = [
    NOON + DAY - timedelta(days=float(days), microseconds=int(RANDOM.integers(10**6)))
    for days in np.arange(12) * 3.3 + RANDOM.uniform(0, 3.3, 12)
]


def videos():
    """Name every video with a channel of its world."""
    rows = [
        (video, channel_ids(name)[at % 5])
        for name in NAMES
        for at, video in enumerate(video_ids(name))
    ]
    return pd.DataFrame(rows, columns=["video_id", "channel_id"])


def drafts():
    """Plan a draft of each title for channels of both worlds, and for one never seen."""
    channels = [*channel_ids("first"), *channel_ids("second"), "UCx"]
    rows = [
        {
            "channel_id": channels[at % len(channels)],
            "title": TITLES[at % len(TITLES)],
            "description": DESCRIPTIONS[at % len(DESCRIPTIONS)] or "",
            "tags": "\n".join(TAGS[at % len(TAGS)] or ()),
            "draft_category_id": [10.0, 0.0, 20.0][at % 3],
            "draft_duration_seconds": DURATIONS[at % len(DURATIONS)] or 0.0,
        }
        for at in range(44)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def built(warehouse, feature_store):
    """A feature store whose tables know everything that ever came to be known."""
    forget(warehouse)
    store(warehouse, WORLD)
    build(warehouse)
    return feature_store


@pytest.fixture(scope="module")
def compared(built, online_url):
    """Compare at each moment what was then online with what history tells of it now."""
    told, differences = [], {}
    with redis.Redis.from_url(online_url) as client:
        for moment in MOMENTS:
            client.flushdb()
            for name, rows in feature_rows(*WORLD.known_at(moment)).items():
                write(client, rows, ViewLayout.of(name))
            offline = historical(built, "published_v2", videos(), moment)
            drafted = historical(built, "draft_v2", drafts(), moment)
            served = described_by_the_server(built, drafts(), moment)
            differences[moment] = (
                differing(offline, online(built, "published_v2", videos(), moment)),
                differing(drafted, online(built, "draft_v2", drafts(), moment)),
                differing(served, {name: drafted[name] for name in served}),
            )
            told.append((offline, drafted))
    return told, differences


def test_what_was_online_at_a_moment_is_what_history_tells_of_it(compared):
    _, differences = compared
    assert differences == {moment: (set(), set(), set()) for moment in MOMENTS}


def test_the_moments_hold_hundreds_of_vectors_that_differ(compared):
    told, _ = compared
    for at, counted, least in ((0, "log10_views", 300), (1, "channel_videos_seen", 300)):
        known = np.concatenate([answers[at][counted] for answers in told])
        assert np.isfinite(known).sum() > least, counted
    seen = np.array([answers[0]["observation_count"] for answers in told])
    assert (np.fmax.reduce(seen) > np.fmin.reduce(seen)).mean() > 0.8
