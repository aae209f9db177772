"""Uvicorn's protocol, but an answer leaves in one piece."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD, _INFORMATION = b"HTTP/1.1 ", b"HTTP/1.1 1"


class WholeAnswers(HttpToolsProtocol):
    """Sends the head of an answer with the first of its body: one system call, one packet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put a transport that waits for the body before the connection's own."""
        super().connection_made(cast("asyncio.Transport", _WaitsForBody(transport, self.loop)))


class _WaitsForBody:
    """A transport that holds the head of an answer until something follows, or nothing does."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_INFORMATION):
            self._head = data
            self._loop.call_soon(self._send_head)  # to a HEAD request nothing follows
            return
        self._transport.write(data)

    def close(self) -> None:
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
