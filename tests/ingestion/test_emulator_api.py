import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from ingestion.emulate_commands import emulate
from ingestion.emulator import pages
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.videos import LIVE, PREMIERE
from ingestion.emulator.world import World, synthetic_world

END = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=60, channels=25, end=END)


@pytest.fixture
def emulator(world: World) -> Iterator[RunningEmulator]:
    with running_emulator(world, now=END - timedelta(days=10), keys=frozenset({"key"})) as running:
        yield running


@contextmanager
def client(emulator: RunningEmulator, key: str = "key") -> Iterator[Any]:
    """Google's client as it comes, but for the address."""
    options = {"api_endpoint": emulator.address}
    with build(
        "youtube", "v3", static_discovery=True, developerKey=key, client_options=options
    ) as youtube:
        yield youtube


def all_uploads(youtube: Any, channel_id: str, size: int) -> list[str]:
    collection, found = youtube.playlistItems(), []
    request = collection.list(
        part="contentDetails", playlistId="UU" + channel_id[2:], maxResults=size
    )
    while request is not None:
        answer = request.execute()
        found += [item["contentDetails"]["videoId"] for item in answer["items"]]
        request = collection.list_next(request, answer)
    return found


def ask(emulator: RunningEmulator, video: str, part: str) -> dict[str, Any]:
    with client(emulator) as youtube:
        return dict(youtube.videos().list(part=part, id=video).execute()["items"][0])


def some_video(world: World, chosen: np.ndarray) -> int:
    shown = world.visible(np.flatnonzero(chosen), (END - timedelta(days=10)).timestamp())
    return int(shown[-1])


def test_googles_client_pages_through_all_uploads(emulator: RunningEmulator, world: World) -> None:
    channel_id = max(
        world.channels.each, key=lambda c: len(_uploads(world, c.channel_id))
    ).channel_id
    expected = _uploads(world, channel_id)
    assert len(expected) > 21
    for size in (7, 50):
        with client(emulator) as youtube:
            assert all_uploads(youtube, channel_id, size) == expected


def _uploads(world: World, channel_id: str) -> list[str]:
    at = (END - timedelta(days=10)).timestamp()
    return [world.videos.video_ids[v] for v in world.uploads(world.channel_index[channel_id], at)]


def test_ids_that_do_not_exist_are_left_out(emulator: RunningEmulator, world: World) -> None:
    known = world.videos.video_ids[5]
    with client(emulator) as youtube:
        answer = youtube.videos().list(part="statistics", id=f"nonexistent,{known}").execute()
    assert [item["id"] for item in answer["items"]] == [known]


def test_counts_are_the_worlds_at_its_clocks_moment(
    emulator: RunningEmulator, world: World
) -> None:
    video_id = world.videos.video_ids[40]
    before = world.true_counts(video_id, emulator.now())
    assert ask(emulator, video_id, "statistics")["statistics"]["viewCount"] == str(before.views)
    emulator.advance(END)
    after = world.true_counts(video_id, END)
    assert ask(emulator, video_id, "statistics")["statistics"]["viewCount"] == str(after.views)
    assert after.views > before.views


def test_hidden_counts_are_absent_not_zero(emulator: RunningEmulator, world: World) -> None:
    hidden = world.videos.video_ids[some_video(world, world.videos.hides_likes)]
    closed = world.videos.video_ids[some_video(world, world.videos.comments_off)]
    assert "likeCount" not in ask(emulator, hidden, "statistics")["statistics"]
    assert "commentCount" not in ask(emulator, closed, "statistics")["statistics"]


def test_an_announced_premiere_has_neither_duration_nor_views(world: World) -> None:
    video = some_video(world, world.videos.broadcast == PREMIERE)
    soon = datetime.fromtimestamp(world.videos.published_at[video] + 60, UTC)
    with running_emulator(world, now=soon) as emulator:
        parts = "snippet,contentDetails,statistics,liveStreamingDetails"
        item = ask(emulator, world.videos.video_ids[video], parts)
    assert item["snippet"]["liveBroadcastContent"] == "upcoming"
    assert "duration" not in item["contentDetails"]
    assert "viewCount" not in item["statistics"]
    assert "actualStartTime" not in item["liveStreamingDetails"]


def test_a_running_stream_is_live(world: World) -> None:
    video = some_video(world, world.videos.broadcast == LIVE)
    now = datetime.fromtimestamp(world.videos.started_at[video] + 60, UTC)
    with running_emulator(world, now=now) as emulator:
        item = ask(emulator, world.videos.video_ids[video], "snippet,contentDetails")
    assert item["snippet"]["liveBroadcastContent"] == "live"
    assert item["contentDetails"]["duration"] == "P0D"


def test_some_titles_are_edited_after_publication(world: World) -> None:
    video = some_video(world, np.isfinite(world.videos.edited_at))
    edited = datetime.fromtimestamp(world.videos.edited_at[video], UTC)
    with running_emulator(world, now=edited - timedelta(minutes=1)) as emulator:
        before = ask(emulator, world.videos.video_ids[video], "snippet")
        emulator.advance(edited + timedelta(minutes=1))
        after = ask(emulator, world.videos.video_ids[video], "snippet")
    assert before["snippet"]["title"] != after["snippet"]["title"]
    assert before["etag"] != after["etag"]


def test_a_channel_is_found_by_its_handle(emulator: RunningEmulator, world: World) -> None:
    channel = world.channels.each[3]
    parts, handle = "snippet,statistics,contentDetails", channel.handle.lstrip("@")
    with client(emulator) as youtube:
        by_handle = youtube.channels().list(part=parts, forHandle=handle).execute()
        by_id = youtube.channels().list(part=parts, id=channel.channel_id).execute()
        by_nothing = youtube.channels().list(part="id", forHandle="nobody-at-all").execute()
    assert by_handle["items"] == by_id["items"]
    assert "items" not in by_nothing


def test_used_up_quota_is_answered_as_youtube_does(world: World) -> None:
    with running_emulator(world, limits={"list": 2}) as emulator, client(emulator) as youtube:
        request = youtube.videos().list(part="statistics", id=world.videos.video_ids[0])
        request.execute()
        request.execute()
        with pytest.raises(HttpError) as refused:
            request.execute(num_retries=3)
        assert refused.value.status_code == 403
        assert refused.value.error_details[0]["reason"] == "quotaExceeded"
        emulator.advance(emulator.now() + timedelta(days=1))
        request.execute()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"part": "statistics", "id": ",".join(["abcdefghijk"] * 51)}, "invalidParameter"),
        ({"part": "statistics"}, "missingRequiredParameter"),
        ({"part": "everything", "id": "abcdefghijk"}, "unknownPart"),
    ],
)
def test_wrong_requests_are_refused(
    emulator: RunningEmulator, parameters: dict[str, str], reason: str
) -> None:
    with client(emulator) as youtube, pytest.raises(HttpError) as refused:
        youtube.videos().list(**parameters).execute()
    assert (refused.value.status_code, refused.value.error_details[0]["reason"]) == (400, reason)


def test_an_unknown_key_is_refused(emulator: RunningEmulator) -> None:
    with client(emulator, key="other") as youtube, pytest.raises(HttpError) as refused:
        youtube.videos().list(part="id", id="abcdefghijk").execute()
    assert refused.value.error_details[0]["reason"] == "keyInvalid"


def test_the_clock_moves_over_http_but_never_back(emulator: RunningEmulator) -> None:
    moved = _post_clock(emulator, {"advance_seconds": 3600})
    assert moved["now"] == (END - timedelta(days=10) + timedelta(hours=1)).isoformat()
    assert _post_clock(emulator, {"now": END.isoformat()})["now"] == END.isoformat()
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post_clock(emulator, {"now": (END - timedelta(days=1)).isoformat()})
    with refused.value as answer:
        assert answer.status == 400


def _post_clock(emulator: RunningEmulator, asked: dict[str, Any]) -> dict[str, Any]:
    address, content = f"{emulator.address}/emulator/clock", json.dumps(asked).encode()
    with urllib.request.urlopen(address, content, timeout=5) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize("position", [0, 10, 127, 128, 20_000])
def test_a_page_token_leads_to_its_offset(position: int) -> None:
    token = pages.tokens(max(position - 5, 0), 5, 10**6)["nextPageToken"]
    assert pages.offset({"pageToken": token}) == max(position, 5)


def test_page_tokens_are_written_as_youtubes() -> None:
    assert pages.tokens(0, 10, 13) == {"nextPageToken": "CAoQAA"}


def test_an_emulator_tells_no_address_that_it_does_not_have() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(emulate, ["--port", str(port), "--channels", "1"])
    assert result.stdout == ""
    assert f"cannot listen on 127.0.0.1:{port}" in str(result.exception)
