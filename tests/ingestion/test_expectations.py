"""Rows that do not hold are told apart, each with its reasons."""

from datetime import timedelta

import pytest

from ingestion.expectations import (
    check_channel_snapshots,
    check_video_metadata,
    check_video_snapshots,
    together,
)
from ingestion.tables import Provenance, channel_snapshots
from tests.ingestion.conftest import LOADED_AT, NOON, look, looks, snapshot, snapshots
from tests.ingestion.test_parsing import CHANNELS, parse_channel


def test_sound_rows_pass_untouched():
    table = snapshots([snapshot(views=None, like_count=None), snapshot(hours=1, like_count=99)])

    passed, rejected = check_video_snapshots(table, LOADED_AT)
    assert (passed.equals(table), rejected) == (True, [])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"video_id": None}, "video_id_null"),
        ({"video_id": "#NAME?"}, "video_id_malformed"),
        ({"video_id": "abcdefghij1\n"}, "video_id_malformed"),
        ({"views": -1}, "view_count_negative"),
        ({"like_count": -1}, "like_count_negative"),
        ({"comment_count": -1}, "comment_count_negative"),
        ({"observed_at": LOADED_AT + timedelta(hours=1)}, "observed_in_the_future"),
        ({"observed_at": None}, "observed_at_null"),
    ],
)
def test_a_snapshot_that_does_not_hold_is_refused_with_its_reason(columns, reason):
    table = snapshots([snapshot(), snapshot(hours=1, **columns), snapshot(hours=2)])

    passed, (rejected,) = check_video_snapshots(table, LOADED_AT)
    assert passed.equals(snapshots([snapshot(), snapshot(hours=2)]))
    assert rejected.reasons == (reason,)
    assert rejected.raw_ref == "2026/01/31/abc"
    assert "loaded_at" not in rejected.item


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"channel_id": "bridges"}, "channel_id_malformed"),
        ({"title": None}, "title_null"),
        ({"title": "a\x00b"}, "text_with_nul"),
        ({"tags": ["a\x00b"]}, "text_with_nul"),
        ({"published_at": NOON + timedelta(hours=2)}, "published_after_observation"),
        ({"published_at": None}, "published_at_null"),
        ({"duration_seconds": -1.0}, "duration_negative"),
    ],
)
def test_metadata_that_does_not_hold_is_refused_with_its_reason(columns, reason):
    table = looks([look(), look(hours=1, **columns)])

    passed, (rejected,) = check_video_metadata(table, LOADED_AT)
    assert passed.num_rows == 1
    assert rejected.reasons == (reason,)


def test_an_announced_premiere_may_be_published_later():
    later = NOON + timedelta(days=2)
    table = looks([look(published_at=later, live_broadcast_content="upcoming")])

    assert check_video_metadata(table, LOADED_AT)[1] == []


def test_channels_are_checked():
    origin = Provenance(NOON, "real", "ref", LOADED_AT)
    sound = parse_channel(CHANNELS[0], NOON)
    odd = parse_channel(CHANNELS[0] | {"id": "nobody"}, NOON)

    passed, (rejected,) = check_channel_snapshots(
        channel_snapshots([(sound, origin), (odd, origin)]), LOADED_AT
    )
    assert passed.num_rows == 1
    assert rejected.reasons == ("channel_id_malformed",)


def test_a_row_names_everything_it_fails_once():
    assert together({1: ("a",)}, {1: ("a", "b"), 2: ("c",)}) == {1: ("a", "b"), 2: ("c",)}
