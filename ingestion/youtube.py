"""The YouTube Data API v3 through Google's client: raw answers, errors in our words."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

import httplib2  # type: ignore[import-untyped]
import orjson
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import build_http

from feature_repo.clock import Clock
from ingestion.errors import IngestionError
from ingestion.quota import LIST, SEARCH, STATISTICS, QuotaExhausted

MAX_IDS = 50
VIDEO_PARTS = "contentDetails,liveStreamingDetails,snippet,statistics,status"
STATS_PARTS = "contentDetails,statistics"
CHANNEL_PARTS = "contentDetails,snippet,statistics,status"
PLAYLIST_ITEM_PARTS = "contentDetails"

_QUOTA_REASONS = {"quotaExceeded", "dailyLimitExceeded"}
_KEY_REASONS = {"keyInvalid", "keyExpired", "API_KEY_INVALID"}
_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded"}
# Never kept with a response: they say who asked, not what was answered.
_PRIVATE_HEADERS = {"set-cookie", "content-location", "-content-encoding"}


# Bucket of units, and whether a label depends on the call.
Charge = Callable[[str, bool], None]


class YouTubeError(IngestionError):
    """YouTube refused a request."""


class YouTubeUnavailable(YouTubeError):
    """YouTube did not answer, also after waiting and asking again."""


class InvalidApiKey(YouTubeError):
    """YouTube does not accept the key."""


class RequestRefused(YouTubeError):
    """YouTube takes a request for wrong: asking it again would not help."""


class PlaylistNotFound(YouTubeError):
    """A playlist does not exist: its channel is gone, or never uploaded."""


@dataclass(frozen=True)
class ApiResponse:
    """One answer as received.

    Attributes:
        request: The method and its parameters, without the key.
        body: The bytes of the body.
        headers: The answer's headers.
        fetched_at: When the answer was there.
    """

    request: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    fetched_at: datetime

    @cached_property
    def document(self) -> dict[str, Any]:
        """Give the body, parsed."""
        return dict(orjson.loads(self.body))

    @property
    def etag(self) -> str | None:
        """Give YouTube's etag of the answer."""
        etag: str | None = self.document.get("etag")
        return etag

    @property
    def items(self) -> list[dict[str, Any]]:
        """Give the resources of the answer; an answer about nothing has no list of them."""
        items: list[dict[str, Any]] = self.document.get("items", [])
        return items


class YouTubeClient(Protocol):
    """What collection asks of YouTube; each call costs one unit."""

    def videos(self, video_ids: Sequence[str]) -> ApiResponse:
        """Ask for up to 50 videos; ids that do not exist are left out of the answer."""

    def statistics(self, video_ids: Sequence[str]) -> ApiResponse:
        """Ask for counts and durations of up to 50 videos, from a bucket of units of its own."""

    def chart(self, region_code: str) -> ApiResponse:
        """Ask for the first page of a region's most popular videos."""

    def search(self, query: str, *, channel_id: str | None = None) -> ApiResponse:
        """Search for videos; only 100 searches a day are allowed."""

    def channels(self, channel_ids: Sequence[str]) -> ApiResponse:
        """Ask for up to 50 channels."""

    def channel_by_handle(self, handle: str) -> ApiResponse:
        """Ask for the channel with a handle, with or without the @."""

    def playlist_items(
        self, playlist_id: str, *, page_token: str | None = None, max_results: int = MAX_IDS
    ) -> ApiResponse:
        """Ask for one page of a playlist; raises PlaylistNotFound."""

    def urgent(self) -> AbstractContextManager[None]:
        """Let the requests inside use the units that are kept for labels."""


class GoogleYouTubeClient:
    """YouTube through google-api-python-client, over one kept connection.

    Rate limits, 429 and 5xx are asked again after a growing random wait; used-up quota and a bad
    key never are.

    Args:
        api_key: The key; it travels in a header, so that no address or log shows it.
        clock: Tells when an answer was there.
        charge: Called with the bucket, and whether a label depends on it, before every request,
            also a repeated one; may raise QuotaExhausted.
        refused: Told the bucket of which YouTube itself says that nothing is left.
        endpoint: The root of another server that speaks this API, such as the emulator.
        retries: How often a request is repeated; waits grow to 2**retries seconds.
    """

    def __init__(
        self,
        api_key: str,
        *,
        clock: Clock,
        charge: Charge,
        refused: Callable[[str], None] = lambda bucket: None,
        endpoint: str | None = None,
        retries: int = 5,
    ) -> None:
        self._clock = clock
        self._refused = refused
        self._retries = retries
        # Google's client logs a warning per repeated or refused request; ours are raised instead.
        logging.getLogger("googleapiclient.http").setLevel(logging.ERROR)
        self._http = _MeteredHttp(api_key, charge)
        service = build(
            "youtube",
            "v3",
            static_discovery=True,
            http=self._http,
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )
        self._videos, self._channels = service.videos(), service.channels()
        self._playlist_items, self._search = service.playlistItems(), service.search()

    def videos(self, video_ids: Sequence[str]) -> ApiResponse:
        """Ask for up to 50 videos; ids that do not exist are left out of the answer."""
        return self._get("videos.list", self._videos, part=VIDEO_PARTS, id=",".join(video_ids))

    def statistics(self, video_ids: Sequence[str]) -> ApiResponse:
        """Ask for counts and durations of up to 50 videos, from a bucket of units of its own."""
        ids = ",".join(video_ids)
        return self._get("videos.batchGetStats", self._videos, part=STATS_PARTS, id=ids)

    def chart(self, region_code: str) -> ApiResponse:
        """Ask for the first page of a region's most popular videos."""
        return self._get(
            "videos.list",
            self._videos,
            part=VIDEO_PARTS,
            chart="mostPopular",
            regionCode=region_code,
            maxResults=MAX_IDS,
        )

    def search(self, query: str, *, channel_id: str | None = None) -> ApiResponse:
        """Search for videos; only 100 searches a day are allowed."""
        within = {} if channel_id is None else {"channelId": channel_id}
        return self._get(
            "search.list",
            self._search,
            part="snippet",
            q=query,
            type="video",
            maxResults=MAX_IDS,
            **within,
        )

    def channels(self, channel_ids: Sequence[str]) -> ApiResponse:
        """Ask for up to 50 channels."""
        ids = ",".join(channel_ids)
        return self._get(
            "channels.list", self._channels, part=CHANNEL_PARTS, id=ids, maxResults=MAX_IDS
        )

    def channel_by_handle(self, handle: str) -> ApiResponse:
        """Ask for the channel with a handle, with or without the @."""
        return self._get("channels.list", self._channels, part=CHANNEL_PARTS, forHandle=handle)

    def playlist_items(
        self, playlist_id: str, *, page_token: str | None = None, max_results: int = MAX_IDS
    ) -> ApiResponse:
        """Ask for one page of a playlist; raises PlaylistNotFound."""
        page = {} if page_token is None else {"pageToken": page_token}
        return self._get(
            "playlistItems.list",
            self._playlist_items,
            part=PLAYLIST_ITEM_PARTS,
            playlistId=playlist_id,
            maxResults=max_results,
            **page,
        )

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Let the requests inside use the units that are kept for labels."""
        self._http.urgent = True
        try:
            yield
        finally:
            self._http.urgent = False

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _get(self, method: str, resource: Any, **parameters: Any) -> ApiResponse:
        request = getattr(resource, method.split(".")[1])(**parameters)
        request.postproc = lambda answer, content: (answer, content)
        try:
            answer, content = request.execute(num_retries=self._retries)
        except HttpError as error:
            translated = _translated(error.status_code, error.content)
            if isinstance(translated, QuotaExhausted):
                self._refused(_bucket(error.uri))
            raise translated from error
        except (OSError, httplib2.HttpLib2Error) as error:
            raise YouTubeUnavailable(
                f"YouTube cannot be reached ({error}): check the network or "
                "FOREVIEW_YOUTUBE_ENDPOINT"
            ) from error
        return ApiResponse(
            request={"method": method, **parameters},
            body=content,
            headers={k: v for k, v in answer.items() if k not in _PRIVATE_HEADERS},
            fetched_at=self._clock(),
        )


class _MeteredHttp:
    """The transport of Google's client: charges each request before it is sent."""

    def __init__(self, api_key: str, charge: Charge) -> None:
        self.urgent = False
        self._http = build_http()
        self._api_key = api_key
        self._charge = charge

    def request(self, uri: str, method: str, *, headers: Mapping[str, str], **rest: Any) -> Any:
        self._charge(_bucket(uri), self.urgent)
        keyed = {**headers, "x-goog-api-key": self._api_key}
        try:
            return self._http.request(uri, method, headers=keyed, **rest)
        except HTTPException as error:
            # An answer that is cut off: Google's client asks again only after what it knows.
            raise ConnectionError(f"the answer was cut off: {error!r}") from error

    def close(self) -> None:
        self._http.close()


def _bucket(uri: str) -> str:
    """Give the bucket of units that a request is counted in."""
    method = urlsplit(uri).path.rsplit("/", 1)[-1]
    return {"search": SEARCH, "videos:batchGetStats": STATISTICS}.get(method, LIST)


def _translated(status: int, content: bytes) -> IngestionError:
    """Say in our words what YouTube refused; its own words are kept, its addresses are not."""
    error = _error_body(content)
    message = str(error.get("message", f"HTTP {status}"))
    parts = [*error.get("errors", []), *error.get("details", [])]
    reasons = {part.get("reason") for part in parts if isinstance(part, dict)}
    if reasons & _QUOTA_REASONS:
        return QuotaExhausted("YouTube says the day's quota is used up: wait for midnight Pacific")
    if reasons & _KEY_REASONS:
        return InvalidApiKey(
            "YouTube does not accept the key in YOUTUBE_API_KEY: create one at "
            "https://console.cloud.google.com/apis/credentials and enable the YouTube Data API v3"
        )
    if "playlistNotFound" in reasons:
        return PlaylistNotFound(message)
    if status >= 500 or status == 429 or reasons & _RATE_REASONS:
        return YouTubeUnavailable(f"YouTube answered {status} ({message}): try again later")
    return RequestRefused(f"YouTube refused the request with {status}: {message}")


def _error_body(content: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {"message": error}
