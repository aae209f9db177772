"""Uvicorn's protocol, but an answer leaves in one piece."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD, _INFORMATION = b"HTTP/1.1 ", b"HTTP/1.1 1"
# Of a request: its head; and all of it, as a body of the largest size may come in tiny chunks.
MOST_HEAD_BYTES, MOST_BYTES = 64 * 1024, 2 * 1024 * 1024


class WholeAnswers(HttpToolsProtocol):
    """Sends the head of an answer with the first of its body: one system call, one packet.

    And ends a request that has no end: uvicorn would keep headers and trailers without a bound.
    """

    _bytes_more = 0

    def data_received(self, data: bytes) -> None:
        """Read on, up to a limit for what has come since the packet in which a request began."""
        begun = self.scope
        super().data_received(data)
        if self.scope is not begun:
            self._bytes_more = 0
            return
        self._bytes_more += len(data)
        if self._bytes_more > MOST_HEAD_BYTES and (begun is None or "method" not in begun):
            self.send_400_response("The head of the request is too large.")
        elif self._bytes_more > MOST_BYTES:
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put a transport that waits for the body before the connection's own."""
        self._waiting = _WaitsForBody(transport)
        super().connection_made(cast("asyncio.Transport", self._waiting))

    def on_response_complete(self) -> None:
        """Send a head that nothing followed: the answer to a HEAD request."""
        self._waiting.send_head()
        super().on_response_complete()


class _WaitsForBody:
    """A transport that holds the head of an answer until something follows, or nothing will."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing  # asked after each answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_INFORMATION):
            self._head = data
            return
        self._transport.write(data)

    def close(self) -> None:
        self.send_head()
        self._transport.close()

    def send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
