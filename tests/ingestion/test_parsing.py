"""Items of the API become records; what is hidden or absent is null."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.errors import UnparsableItem
from ingestion.parsing import duration_seconds, parse_channel, parse_video
from ingestion.records import ChannelSnapshot, VideoMetadata, VideoSnapshot

GOLDEN = Path(__file__).parent.parent / "data" / "youtube"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
VIDEOS = json.loads((GOLDEN / "videos.json").read_text())["items"]
CHANNELS = json.loads((GOLDEN / "channels.json").read_text())["items"]


@pytest.fixture
def video():
    return copy.deepcopy(VIDEOS[0])


def test_a_full_item_parses_to_what_it_says():
    metadata, snapshot = parse_video(VIDEOS[0], NOON)

    assert metadata == VideoMetadata(
        video_id="abcdefghij1",
        observed_at=NOON,
        channel_id="UCaaaaaaaaaaaaaaaaaaaaaa",
        published_at=datetime(2026, 1, 4, 10, tzinfo=UTC),
        title="How bridges\nare built 🌉",
        description='Chapters, links; and "quotes"',
        tags=("bridge, long", 'say "hi"', "back\\slash", ""),
        category_id=27,
        default_language="en",
        default_audio_language="en-GB",
        duration_seconds=3723.0,
        definition="hd",
        has_captions=True,
        is_made_for_kids=False,
        has_maxres_thumbnail=True,
        live_broadcast_content="none",
    )
    assert snapshot == VideoSnapshot("abcdefghij1", NOON, 1200, 30, 4, "none", "long", "views_1")


def test_hidden_likes_are_null_and_no_comments_are_zero():
    _, snapshot = parse_video(VIDEOS[1], NOON)

    assert (snapshot.like_count, snapshot.comment_count) == (None, 0)
    assert (snapshot.format, snapshot.view_definition) == ("short", "views_2")


def test_a_stream_without_statistics_has_null_counts():
    metadata, snapshot = parse_video(VIDEOS[2], NOON)

    assert (snapshot.view_count, snapshot.like_count, snapshot.comment_count) == (None, None, None)
    assert (snapshot.format, metadata.duration_seconds) == ("live", 0.0)
    assert (metadata.tags, metadata.has_maxres_thumbnail) == (None, None)


def test_an_announced_video_has_likes_and_no_views(video):
    """Nobody can see it: its 0 is not a count of a published video."""
    video["snippet"]["liveBroadcastContent"] = "upcoming"
    video["statistics"]["viewCount"] = "0"
    _, snapshot = parse_video(video, NOON)
    assert (snapshot.view_count, snapshot.like_count) == (None, 30)
    video["statistics"]["viewCount"] = "many"
    with pytest.raises(UnparsableItem):
        parse_video(video, NOON)


def test_an_item_of_statistics_alone_has_no_metadata():
    metadata, snapshot = parse_video(VIDEOS[3], NOON)

    assert metadata is None
    assert (snapshot.view_count, snapshot.format) == (99, "unknown")


def test_channels_parse_with_hidden_subscribers_as_null():
    bridges, television = (parse_channel(item, NOON) for item in CHANNELS)

    assert bridges == ChannelSnapshot(
        channel_id="UCaaaaaaaaaaaaaaaaaaaaaa",
        observed_at=NOON,
        title="Bridges",
        published_at=datetime(2014, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
        country="GB",
        subscriber_count=1230,
        view_count=123456,
        video_count=88,
        uploads_playlist_id="UUaaaaaaaaaaaaaaaaaaaaaa",
    )
    assert (television.subscriber_count, television.uploads_playlist_id) == (None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P1DT2H", 93_600.0),
        ("P0D", 0.0),
        ("PT0S", 0.0),
        ("PT15M51S", 951.0),
        ("P1W", 604_800.0),
        ("PT1.5S", 1.5),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("15:51", None),
        ("", None),
    ],
)
def test_durations_are_full_iso_8601(text, seconds):
    assert duration_seconds(text) == seconds


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_duration_reads_back_as_its_seconds(days, hours, minutes, seconds):
    text = f"P{days}DT{hours}H{minutes}M{seconds}S"

    assert duration_seconds(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _set(item, path, value):
    *parts, last = path.split(".")
    for part in parts:
        item = item[part]
    item[last] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("id", None, "id_missing"),
        ("id", 7, "id_malformed"),
        ("snippet.channelId", None, "channel_id_missing"),
        ("snippet.title", None, "title_missing"),
        ("snippet.title", "half \ud83d", "title_not_text"),
        ("snippet.description", "a\x00b", "description_not_text"),
        ("snippet.publishedAt", None, "publishedAt_missing"),
        ("snippet.publishedAt", "yesterday", "publishedAt_malformed"),
        ("snippet.publishedAt", "2026-01-01", "publishedAt_malformed"),
        ("snippet.publishedAt", "0001-01-01T00:00:00+14:00", "publishedAt_malformed"),
        ("snippet.tags", "one", "tags_malformed"),
        ("snippet.tags", [1], "tags_malformed"),
        ("snippet.categoryId", "99999999999", "categoryId_malformed"),
        ("contentDetails.duration", "1 hour", "duration_malformed"),
        ("contentDetails.caption", "maybe", "caption_malformed"),
        ("statistics.viewCount", "1e6", "viewCount_malformed"),
        ("statistics.viewCount", True, "viewCount_malformed"),
        ("statistics.viewCount", "9" * 30, "viewCount_malformed"),
        ("statistics", "none", "statistics_malformed"),
    ],
)
def test_an_item_that_cannot_be_read_says_why(video, path, value, reason):
    _set(video, path, value)

    with pytest.raises(UnparsableItem) as caught:
        parse_video(video, NOON)
    assert caught.value.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
FIELDS = ["snippet", "statistics", "contentDetails", "status"]


@given(
    field=st.sampled_from(
        [
            "id",
            *FIELDS,
            "snippet.title",
            "snippet.tags",
            "snippet.publishedAt",
            "snippet.thumbnails",
            "statistics.likeCount",
            "contentDetails.duration",
            "status.madeForKids",
        ]
    ),
    value=JSON,
)
def test_whatever_a_field_holds_an_item_parses_or_says_why(field, value):
    item = copy.deepcopy(VIDEOS[0])
    _set(item, field, value)

    try:
        _, snapshot = parse_video(item, NOON)
    except UnparsableItem as error:
        said = error.reason
    else:
        said = snapshot.video_id
    assert isinstance(said, str)
