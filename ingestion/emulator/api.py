"""The HTTP side of the local YouTube: keys, quota, faults, partial answers, a clock; bare ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from ingestion.emulator.errors import ApiError, invalid_key, not_found
from ingestion.emulator.faults import Fault, Faults, refusal
from ingestion.emulator.fields import parse_fields, selected
from ingestion.emulator.queries import Site
from ingestion.emulator.quota import Quota

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Path below /youtube/v3/ -> method, bucket of units.
_METHODS = {
    "videos": ("videos.list", "list"),
    "videos:batchGetStats": ("videos.batchGetStats", "batchGetStats"),
    "channels": ("channels.list", "list"),
    "playlistItems": ("playlistItems.list", "list"),
    "search": ("search.list", "search"),
    "videoCategories": ("videoCategories.list", "list"),
}
_ROOT = "/youtube/v3/"


class _Answer(NamedTuple):
    status: int
    content: bytes
    etag: str | None = None
    fault: Fault | None = None


class WorldClock:
    """The time of a site: moves when told to, never back, never past the site's end."""

    def __init__(self, site: Site, now: datetime) -> None:
        self._site = site
        self._now = site.settle(now.astimezone(UTC))

    def now(self) -> datetime:
        """Give the world's present."""
        return self._now

    def advance(self, to: datetime) -> datetime:
        """Move on to a moment; raises ValueError for one that is past or beyond the world's end."""
        if not self._now <= to <= self._site.end:
            raise ValueError(
                f"the clock stands at {self._now.isoformat()} and can move on to "
                f"{self._site.end.isoformat()}, the end of this world; {to.isoformat()} is outside"
            )
        self._now = self._site.settle(to.astimezone(UTC))
        return self._now


class EmulatorApp:
    """An ASGI application that answers the YouTube Data API v3 from a site.

    Beside the API: `/emulator/clock` (GET; POST {"now": …}, {"advance_seconds": …} or
    {"step": true}), `/emulator/requests` (what covers all that is to be seen now, where known) and
    `/emulator/faults` (GET; POST {"kind": …, "share": …, "count": …, "seconds": …}; DELETE).

    Args:
        site: What is shown.
        clock: Its time.
        limits: Units per key and Pacific day, by bucket; YouTube's own by default.
        keys: The keys that are accepted; every key by default.
        faults: The faults in force.
    """

    def __init__(
        self,
        site: Site,
        clock: WorldClock,
        *,
        limits: Mapping[str, int] | None = None,
        keys: frozenset[str] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.site = site
        self.clock = clock
        self.quota = Quota(limits or {})
        self.faults = faults or Faults()
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"].startswith("/emulator/"):
            status, body = self._control(scope["path"], scope["method"], await _body(receive))
            answer = _Answer(status, orjson.dumps(body))
        else:
            answer = self._api_request(scope)
        await _respond(answer, send)

    def _control(self, path: str, method: str, content: bytes) -> tuple[int, Any]:
        try:
            if path == "/emulator/clock":
                return 200, self._clock_request(method, content)
            if path == "/emulator/faults":
                return 200, self._faults_request(method, content)
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {"error": str(error)}
        if path == "/emulator/requests":
            return 200, {"requests": self.site.requests(self.clock.now())}
        return 404, {"error": f"there is nothing at {path}"}

    def _clock_request(self, method: str, content: bytes) -> dict[str, str]:
        if method == "POST":
            now, asked = self.clock.now(), orjson.loads(content)
            step = asked.get("step")
            self.clock.advance(self.site.after(now) if step else _asked_moment(asked, now))
        moments = {"now": self.clock.now(), "start": self.site.start, "end": self.site.end}
        told = {name: moment.isoformat() for name, moment in moments.items()}
        return {**told, "world": self.site.world}

    def _faults_request(self, method: str, content: bytes) -> dict[str, Any]:
        if method == "POST":
            self.faults.add(orjson.loads(content))
        elif method == "DELETE":
            self.faults.clear()
        return self.faults.as_json()

    def _api_request(self, scope: Scope) -> _Answer:
        path = scope["path"]
        known = _METHODS.get(path.removeprefix(_ROOT)) if path.startswith(_ROOT) else None
        if known is None or scope["method"] != "GET":
            return _refused(not_found("notFound", "Not Found", "global", None))
        query = _query(scope["query_string"].decode())
        fault = self.faults.next()
        try:
            self._charge(scope, query, known[1], fault)
            body = self.site.answer(known[0], query, self.clock.now())
            return _answered(body, query, _header(scope, b"if-none-match"), fault)
        except ApiError as error:
            return _refused(error)

    def _charge(
        self, scope: Scope, query: Mapping[str, str], bucket: str, fault: Fault | None
    ) -> None:
        """Take a unit, also for a call that fails; one without a key or quota costs nothing."""
        key = query.get("key") or _header(scope, b"x-goog-api-key")
        if not key or (self._keys is not None and key not in self._keys):
            raise invalid_key()
        refused = None if fault is None else refusal(fault)
        if fault is None or fault.kind not in ("quota", "daily_limit"):
            self.quota.charge(key, bucket, self.clock.now())
        if refused is not None:
            raise refused


def _answered(body: Any, query: Mapping[str, str], known_etag: str, fault: Fault | None) -> _Answer:
    if "fields" in query:
        tree = parse_fields(query["fields"])
        # Parts that are kept as JSON have to be read again before some of them can be chosen.
        content = orjson.dumps(selected(orjson.loads(_encoded(body)), tree))
    else:
        content = _encoded(body)
    etag = None if isinstance(body, bytes) else body["etag"]
    if etag is not None and known_etag.strip('"') == etag:
        return _Answer(304, b"", etag)
    return _Answer(200, content, etag, fault)


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else orjson.dumps(body)


def _refused(error: ApiError) -> _Answer:
    status, body = error.response
    return _Answer(status, orjson.dumps(body))


async def _respond(answer: _Answer, send: Send) -> None:
    fault, content = answer.fault, answer.content
    if fault is not None and fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    headers = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"content-length", str(len(content)).encode()),
    ]
    if answer.etag is not None:
        headers.append((b"etag", f'"{answer.etag}"'.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if fault is not None and fault.kind == "cut":
        # Less than was promised: the server then closes the connection.
        part = content[: len(content) // 2]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        return
    await send({"type": "http.response.body", "body": content})


def _query(text: str) -> dict[str, str]:
    """Read parameters; one that is repeated is a list, as with commas."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _asked_moment(asked: Mapping[str, Any], now: datetime) -> datetime:
    if "advance_seconds" in asked:
        return datetime.fromtimestamp(now.timestamp() + float(asked["advance_seconds"]), UTC)
    moment = datetime.fromisoformat(str(asked.get("now")))
    if moment.tzinfo is None:
        raise ValueError("give the moment with its offset, such as 2026-01-01T00:00:00Z")
    return moment


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode() for name, value in scope["headers"] if name == wanted), "")


async def _body(receive: Receive) -> bytes:
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            return content
