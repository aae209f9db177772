"""What the emulator answers beyond videos, channels and uploads, and the faults it plays."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from hypothesis import given
from hypothesis import strategies as st

from ingestion.emulator.errors import ApiError
from ingestion.emulator.faults import Fault, Faults, InvalidFault
from ingestion.emulator.fields import parse_fields, selected
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.parsing import parse_video
from ingestion.quota import QuotaExhausted
from ingestion.youtube import GoogleYouTubeClient, YouTubeUnavailable

END = datetime(2026, 10, 1, 12, tzinfo=UTC)
ALL_PARTS = "snippet,contentDetails,statistics,status,liveStreamingDetails"


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=60, channels=25, end=END)


@pytest.fixture
def emulator(world: World) -> Iterator[RunningEmulator]:
    with running_emulator(world, now=END) as running:
        yield running


@pytest.fixture
def youtube(emulator: RunningEmulator) -> Iterator[Any]:
    options = {"api_endpoint": emulator.address}
    with build(
        "youtube", "v3", static_discovery=True, developerKey="key", client_options=options
    ) as service:
        yield service


def control(emulator: RunningEmulator, what: str, method: str = "GET", asked: object = None) -> Any:
    content = None if asked is None else json.dumps(asked).encode()
    request = urllib.request.Request(f"{emulator.address}/emulator/{what}", content, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def shown(world: World) -> list[str]:
    everything = np.arange(len(world.videos.video_ids))
    return [world.videos.video_ids[v] for v in world.visible(everything, END.timestamp())]


def test_batches_of_statistics_tell_the_same_in_their_own_shapes(
    youtube: Any, emulator: RunningEmulator, world: World
) -> None:
    ids = ",".join(shown(world)[-50:])
    stats = youtube.videos().batchGetStats(part="statistics,contentDetails", id=ids).execute()
    videos = youtube.videos().list(part=ALL_PARTS, id=ids).execute()
    assert stats["kind"] == "youtube#batchGetStatsResponse"
    assert {item["kind"] for item in stats["items"]} == {"youtube#videoStats"}
    for stat, video in zip(stats["items"], videos["items"], strict=True):
        (nothing, counted), (_, told) = parse_video(stat, END), parse_video(video, END)
        assert nothing is None
        assert (counted.view_count, counted.like_count) == (told.view_count, told.like_count)
    assert emulator.app.quota.spent("batchGetStats") == emulator.app.quota.spent("list") == 1


def test_searches_find_words_in_titles_in_the_order_asked_for(youtube: Any, world: World) -> None:
    channel = world.channels.each[3].channel_id
    search = youtube.search().list
    by_date = search(
        part="snippet", channelId=channel, type="video", order="date", maxResults=50
    ).execute()
    dates = [item["snippet"]["publishedAt"] for item in by_date["items"]]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) > 3
    title = by_date["items"][0]["snippet"]["title"]
    word = max(title.split(), key=len)
    found = search(part="snippet", q=word, type="video", maxResults=50).execute()
    titles = [item["snippet"]["title"] for item in found["items"]]
    assert titles
    assert all(word.lower() in name.lower() for name in titles)


def test_searches_have_a_bucket_of_their_own(world: World) -> None:
    with running_emulator(world, now=END, limits={"search": 2}) as emulator:
        client = GoogleYouTubeClient(
            "key", clock=emulator.now, charge=lambda *_: None, endpoint=emulator.address
        )
        with closing(client):
            client.search("a")
            client.search("b")
            with pytest.raises(QuotaExhausted):
                client.search("c")
            assert client.videos(shown(world)[:1]).items


def test_categories_are_told_by_region_and_by_id(youtube: Any) -> None:
    all_of_them = youtube.videoCategories().list(part="snippet", regionCode="GB").execute()
    assert all_of_them["kind"] == "youtube#videoCategoryListResponse"
    (music,) = youtube.videoCategories().list(part="snippet", id="10").execute()["items"]
    assert music in all_of_them["items"]
    assert music["snippet"]["title"] == "Music"
    with pytest.raises(HttpError) as refused:
        youtube.videoCategories().list(part="snippet", id="99").execute()
    assert refused.value.error_details[0]["reason"] == "videoCategoryNotFound"


def test_only_the_asked_fields_are_answered(youtube: Any, world: World) -> None:
    answer = (
        youtube.videos()
        .list(part=ALL_PARTS, id=shown(world)[0], fields="items(id,statistics/viewCount)")
        .execute()
    )
    (item,) = answer.pop("items")
    assert answer == {}
    assert set(item) == {"id", "statistics"}
    assert set(item["statistics"]) == {"viewCount"}


@pytest.mark.parametrize("text", ["items(", "items)", "a//b", "a,,b", "(a)", "", "a b"])
def test_fields_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid field selection"):
        parse_fields(text)


names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.just({}), lambda below: st.dictionaries(names, below, min_size=1, max_size=3), max_leaves=8
)


@given(tree=trees.filter(bool), document=st.dictionaries(names, st.dictionaries(names, names)))
def test_selected_fields_are_a_part_of_the_document(
    tree: dict[str, Any], document: dict[str, Any]
) -> None:
    chosen = selected(document, parse_fields(_written(tree)))
    assert set(chosen) == set(document) & set(tree)
    for name, part in chosen.items():
        assert part.items() <= document[name].items()
        assert not tree[name] or set(part) == set(document[name]) & set(tree[name])


def _written(tree: dict[str, Any]) -> str:
    return ",".join(f"{name}({_written(below)})" if below else name for name, below in tree.items())


def test_what_did_not_change_is_not_sent_again(emulator: RunningEmulator, world: World) -> None:
    address = f"{emulator.address}/youtube/v3/videos?part=snippet&id={shown(world)[0]}&key=k"
    with urllib.request.urlopen(address, timeout=5) as answer:
        etag = answer.headers["etag"]
    again = urllib.request.Request(address, headers={"If-None-Match": etag})
    with pytest.raises(urllib.error.HTTPError) as unchanged:
        urllib.request.urlopen(again, timeout=5)
    with unchanged.value as answer:
        assert (answer.status, answer.read()) == (304, b"")


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("429", 429, "rateLimitExceeded"),
        ("500", 500, "backendError"),
        ("503", 503, "backendError"),
        ("rate", 403, "rateLimitExceeded"),
        ("quota", 403, "quotaExceeded"),
        ("daily_limit", 403, "dailyLimitExceeded"),
    ],
)
def test_faults_are_played_on_request_and_end(
    emulator: RunningEmulator, youtube: Any, world: World, kind: str, status: int, reason: str
) -> None:
    control(emulator, "faults", "POST", {"kind": kind, "count": 1})
    request = youtube.videos().list(part="statistics", id=shown(world)[0])
    with pytest.raises(HttpError) as refused:
        request.execute()
    assert (refused.value.status_code, refused.value.error_details[0]["reason"]) == (status, reason)
    assert request.execute()["items"]
    assert control(emulator, "faults")["hits"] == 1


def test_a_cut_answer_is_no_answer(emulator: RunningEmulator, world: World) -> None:
    emulator.app.faults.add({"kind": "cut", "count": 2})
    calls: list[str] = []
    client = GoogleYouTubeClient(
        "key", clock=emulator.now, charge=lambda bucket, _: calls.append(bucket),
        endpoint=emulator.address, retries=0,
    )  # fmt: skip
    with closing(client):
        for _ in range(2):
            with pytest.raises(YouTubeUnavailable):
                client.videos(shown(world)[:50])
        assert len(client.videos(shown(world)[:50]).items) == 50
    assert len(calls) == emulator.app.quota.spent("list") == 3


def test_faults_of_a_seed_are_the_same_again() -> None:
    def hits(seed: int) -> list[bool]:
        faults = Faults(seed, [Fault("503", share=0.3)])
        return [faults.next() is not None for _ in range(100)]

    assert hits(1) == hits(1) != hits(2)
    assert 15 < sum(hits(1)) < 45


@pytest.mark.parametrize("text", ["nothing", "503:2", "slow:1:100", "503:x", "503:1:1:1"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(InvalidFault):
        Fault.parse(text)


def test_more_counts_as_a_view_after_the_definition_was_widened() -> None:
    change = datetime(2026, 8, 27, tzinfo=UTC)
    world = synthetic_world(7, days=40, channels=25, end=change + timedelta(days=20))
    curves = world.videos.curves
    old = world.videos.published_at < (change - timedelta(days=5)).timestamp()
    for is_short, factor in ((False, 1.12), (True, 1.12 + 0.35)):
        chosen = old & (world.videos.is_short == is_short) & np.isinf(curves.corrected_age)
        videos = np.flatnonzero(chosen)
        times = [(change + timedelta(hours=h)).timestamp() for h in (0, 24)]
        at, after = (curves.views(videos, time).sum() for time in times)
        grown = [curves._grown(videos, curves._effective_age(videos, t)).sum() for t in times]
        assert (after - at) / (grown[1] - grown[0]) == pytest.approx(factor, rel=0.01)


def test_some_streams_tell_no_statistics_and_some_videos_move(world: World) -> None:
    large = synthetic_world(7, days=300, channels=60, end=END)
    silent = np.flatnonzero(large.videos.lacks_statistics)
    moved = np.flatnonzero(np.isfinite(large.videos.moved_at))
    assert silent.size > 0
    assert moved.size > 0
    video = int(moved[0])
    video_id = large.videos.video_ids[video]
    at = datetime.fromtimestamp(large.videos.moved_at[video], UTC)
    assert large.true_counts(large.videos.video_ids[int(silent[0])], END).views is None
    owners = [large.owner(video, (at + d).timestamp()) for d in (-timedelta(1), timedelta(1))]
    for owner, moment in zip(owners, (at - timedelta(1), at + timedelta(1)), strict=True):
        shown_there = large.uploads(owner, moment.timestamp())
        assert (video in shown_there) or large.videos.deleted_at[video] <= moment.timestamp()
    assert video_id in large.video_index
