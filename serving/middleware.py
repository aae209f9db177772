"""What every request passes and every answer carries; plain ASGI, to cost little."""

import itertools
import re
import secrets
from collections.abc import Awaitable, Callable
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Problem, RequestTooLarge
from serving.life import Life
from serving.logs import AccessLog, request_id
from serving.problems import response, unexpected

MAX_BODY_BYTES = 256 * 1024

_API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI sets styles and images inline.
_DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_COMMON = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_API_HEADERS = [
    *_COMMON, (b"content-security-policy", _API_POLICY), (b"cache-control", b"no-store"),
]  # fmt: skip
_PAGE_HEADERS = [*_COMMON, (b"content-security-policy", _PAGE_POLICY)]
_DOCS_HEADERS = [*_COMMON, (b"content-security-policy", _DOCS_POLICY)]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Envelope:
    """Names each request, adds the security headers to its answer and notes it in the log.

    It answers what failed as well: what Starlette has for that is outside of all middleware, where
    neither headers nor the request's name are known.
    """

    def __init__(self, app: ASGIApp, access: AccessLog, life: Life) -> None:
        self._app = app
        self._life = life
        self._access = access
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers that suit the path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _given_name(scope) or f"{self._prefix}{next(self._numbers):08x}"
        headers = [*_headers_for(scope["path"]), (b"x-request-id", name.encode())]
        if self._life.is_draining:
            headers.append((b"connection", b"close"))  # so that clients turn to another instance
        token = request_id.set(name)
        started, status = perf_counter(), 0

        def send_with_headers(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
            return send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            answer = unexpected(scope, error)
            if status:  # part of another answer is sent
                raise
            await answer(scope, receive, send_with_headers)
        finally:
            request_id.reset(token)
            if self._access.wants(status or 500):
                self._access.note(scope, name, status or 500, perf_counter() - started)


class Gate:
    """Lets a request in, or answers with the problem that the guard raises."""

    def __init__(self, app: ASGIApp, guard: Callable[[Scope], None]) -> None:
        self._app = app
        self._guard = guard

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Ask the guard first."""
        if scope["type"] == "http":
            try:
                self._guard(scope)
            except Problem as problem:
                return response(problem, problem.headers)(scope, receive, send)
        return self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body beyond the limit, whether its length is declared or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Read the body up to the limit, then hand it on."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return self._app(scope, receive, send)
        return self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body_within_limit(receive)
        if body is None:
            problem = RequestTooLarge(f"The body exceeds {MAX_BODY_BYTES // 1024} KiB")
            await response(problem, {"Connection": "close"})(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)


async def _body_within_limit(receive: Receive) -> bytes | None:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def given_once() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return given_once


def _given_name(scope: Scope) -> str | None:
    """Give the caller's own name for the request, if it is one that may be logged."""
    for header, value in scope["headers"]:
        if header == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


def _headers_for(path: str) -> list[tuple[bytes, bytes]]:
    if path.startswith("/v1/"):
        return _API_HEADERS
    if path.startswith("/docs"):
        return _DOCS_HEADERS
    return _PAGE_HEADERS if path == "/" or path.startswith("/web/") else _API_HEADERS
