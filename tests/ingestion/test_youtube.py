import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from ingestion.emulator.errors import ApiError, invalid_key, quota_exceeded
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.quota import QuotaExhausted
from ingestion.youtube import (
    GoogleYouTubeClient,
    InvalidApiKey,
    PlaylistNotFound,
    YouTubeError,
    YouTubeUnavailable,
)

END = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = "a-secret-key"


class Calls:
    """Counts what is charged, up to a limit."""

    def __init__(self, limit: int = 1000) -> None:
        self.made, self.limit = 0, limit

    def charge(self, bucket: str = "list", urgent: bool = False) -> None:
        if self.made >= self.limit:
            raise QuotaExhausted("nothing left")
        self.made += 1


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=20, channels=5, end=END)


@pytest.fixture
def emulator(world: World) -> Iterator[RunningEmulator]:
    with running_emulator(world, now=END, keys=frozenset({KEY})) as running:
        yield running


@contextmanager
def opened(
    address: str, calls: Calls, key: str = KEY, retries: int = 0
) -> Iterator[GoogleYouTubeClient]:
    client = GoogleYouTubeClient(
        key, clock=lambda: END, charge=calls.charge, endpoint=address, retries=retries
    )
    with closing(client):
        yield client


@contextmanager
def answering(*answers: ApiError | tuple[int, object]) -> Iterator[str]:
    """A server that gives these answers, one per request, and the last one from then on."""
    waiting = [a.response if isinstance(a, ApiError) else a for a in answers]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = orjson.dumps(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _error(status: int, reason: str) -> tuple[int, object]:
    detail = {"reason": reason, "message": "no", "domain": "youtube"}
    return status, {"error": {"code": status, "message": "no", "errors": [detail]}}


def test_an_answer_is_kept_as_received(emulator: RunningEmulator, world: World) -> None:
    calls = Calls()
    with opened(emulator.address, calls) as client:
        answer = client.videos(world.videos.video_ids[:50])
    assert orjson.loads(answer.body) == answer.document
    assert answer.etag == answer.document["etag"]
    assert answer.request["method"] == "videos.list"
    assert answer.fetched_at == END
    assert KEY not in repr(answer)
    assert calls.made == 1


def test_counts_can_be_read_without_descriptions(emulator: RunningEmulator, world: World) -> None:
    with opened(emulator.address, Calls()) as client:
        described = client.videos(world.videos.video_ids[:50])
        counted = client.statistics(world.videos.video_ids[:50])
    shown = [{**v["statistics"], "favoriteCount": "0"} for v in counted.items]
    assert shown == [v["statistics"] for v in described.items]
    assert len(counted.body) < len(described.body) / 3
    assert emulator.app.quota.spent("batchGetStats") == emulator.app.quota.spent("list") == 1


@pytest.mark.parametrize("reason", ["quotaExceeded", "dailyLimitExceeded"])
def test_used_up_quota_is_never_asked_again(reason: str) -> None:
    calls = Calls()
    with (
        answering(_error(403, reason)) as address,
        opened(address, calls, retries=3) as client,
        pytest.raises(QuotaExhausted),
    ):
        client.videos(["abcdefghijk"])
    assert calls.made == 1


def test_a_used_up_ledger_sends_nothing(emulator: RunningEmulator) -> None:
    with opened(emulator.address, Calls(limit=0)) as client, pytest.raises(QuotaExhausted):
        client.videos(["abcdefghijk"])
    assert sum(emulator.app.quota.used.values()) == 0


@pytest.mark.parametrize(
    "failure",
    [
        _error(429, "tooMany"),
        _error(403, "rateLimitExceeded"),
        _error(500, "backendError"),
        (503, {}),
    ],
)
def test_passing_failures_are_asked_again_and_charged(failure: tuple[int, object]) -> None:
    calls = Calls()
    with (
        answering(failure, (200, {"items": [], "etag": "e"})) as address,
        opened(address, calls, retries=1) as client,
    ):
        assert client.videos(["abcdefghijk"]).items == []
    assert calls.made == 2


def test_a_failure_that_stays_is_reported() -> None:
    with (
        answering(_error(503, "backendError")) as address,
        opened(address, Calls()) as client,
        pytest.raises(YouTubeUnavailable),
    ):
        client.videos(["abcdefghijk"])


@pytest.mark.parametrize("refusal", [invalid_key(), _error(400, "API_KEY_INVALID")])
def test_a_bad_key_is_fatal_and_not_told(refusal: ApiError | tuple[int, object]) -> None:
    calls = Calls()
    with (
        answering(refusal) as address,
        opened(address, calls, retries=3) as client,
        pytest.raises(InvalidApiKey, match="YOUTUBE_API_KEY") as refused,
    ):
        client.videos(["abcdefghijk"])
    assert KEY not in f"{refused.value}{refused.value.__cause__}"
    assert calls.made == 1


def test_a_missing_playlist_is_told_apart(emulator: RunningEmulator) -> None:
    with opened(emulator.address, Calls()) as client:
        with pytest.raises(PlaylistNotFound):
            client.playlist_items("UUnothing")
        with pytest.raises(YouTubeError, match="50 ids"):
            client.videos(["abcdefghijk"] * 51)


def test_nobody_listening_is_one_clear_error() -> None:
    with (
        opened("http://127.0.0.1:9", Calls()) as client,
        pytest.raises(YouTubeUnavailable, match="FOREVIEW_YOUTUBE_ENDPOINT"),
    ):
        client.videos(["abcdefghijk"])


def test_quota_is_told_in_the_shape_youtube_uses_today() -> None:
    with (
        answering(quota_exceeded()) as address,
        opened(address, Calls()) as client,
        pytest.raises(QuotaExhausted),
    ):
        client.channels(["UC" + "a" * 22])
