"""Answers leave in one piece, whatever kind of answer they are."""

import socket
from contextlib import contextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from serving.middleware import MAX_BODY_BYTES
from serving.server import run_in_thread
from serving.whole_answers import MOST_BYTES, MOST_HEAD_BYTES, _WaitsForBody


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse(b"x" * int(request.query_params.get("size", 5)))


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(iter([b"HTTP/1.1 200 is no head", b"here"]))


APP = Starlette(
    routes=[Route("/", plain), Route("/echo", echo, methods=["POST"]), Route("/stream", stream)]
)


@contextmanager
def connected():
    with run_in_thread(APP) as running:
        port = int(running.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            yield connection


def until(connection, end):
    received = b""
    while not received.endswith(end):
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


class Recorder:
    """A transport that notes what is written to it."""

    def __init__(self):
        self.written = []

    def is_closing(self):
        return False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")


def test_head_and_body_are_written_at_once_and_a_head_alone_is_not_kept():
    recorder = Recorder()
    transport = _WaitsForBody(recorder)
    for part in (b"HTTP/1.1 200 OK\r\n\r\n", b"body", b"more", b"HTTP/1.1 404 \r\n\r\n"):
        transport.write(part)
    assert recorder.written == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]
    transport.send_head()
    transport.write(b"HTTP/1.1 400 \r\n\r\n")
    transport.close()
    assert recorder.written[2:] == [
        b"HTTP/1.1 404 \r\n\r\n", b"HTTP/1.1 400 \r\n\r\n", "closed",
    ]  # fmt: skip


def test_one_connection_is_answered_again_and_again():
    with connected() as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert until(connection, b"xxxxx").startswith(b"HTTP/1.1 200")


def test_a_large_body_comes_whole():
    with connected() as connection:
        connection.sendall(b"GET /?size=3000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while chunk := connection.recv(1 << 20):
            received += chunk
        assert received.partition(b"\r\n\r\n")[2] == b"x" * 3_000_000


def test_a_head_without_a_body_is_sent():
    with connected() as connection:
        connection.settimeout(2)  # less than a connection is kept for nothing
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_who_waits_for_leave_to_send_a_body_gets_it():
    with connected() as connection:
        head = (
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head)
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(b"body")
        assert until(connection, b"body").startswith(b"HTTP/1.1 200")


def test_what_is_no_request_is_told_before_the_connection_closes():
    with connected() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_an_answer_in_pieces_keeps_their_order():
    with connected() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = until(connection, b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.index(b"is no head") < answer.index(b"here")


HEADER = b"X-Endless: " + b"x" * 8000 + b"\r\n"


@pytest.mark.parametrize(
    ("begun", "endless", "most"),
    [(b"GET / HTTP/1.1\r\n", HEADER, MOST_HEAD_BYTES),
     (b"GET / HTTP/1.1\r\nX-Endless: ", b"x" * 8000, MOST_HEAD_BYTES),
     (b"GET /", b"x" * 8000, MOST_HEAD_BYTES),
     (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", HEADER, MOST_BYTES)],
)  # fmt: skip
def test_a_request_without_an_end_is_ended(begun, endless, most):
    with connected() as connection, suppress(ConnectionError):
        connection.sendall(begun)
        for _ in range((2**20 + most) // len(endless)):  # the first of it may come in one packet
            connection.sendall(endless)
        while connection.recv(65536):  # one that is read on never ends
            pass


def test_requests_that_come_together_have_no_limit_together():
    request = b"GET /?size=1 HTTP/1.1\r\nX-Some: " + b"x" * 8000 + b"\r\n\r\n"
    last = request.replace(b"size=1", b"size=9")
    with connected() as connection:
        connection.sendall(50 * request + last)
        assert until(connection, b"x" * 9).count(b"200 OK") == 51


def test_a_body_as_large_as_may_be_is_taken_in_tiny_chunks():
    chunk, chunks = b"1\r\nx\r\n", MAX_BODY_BYTES
    with connected() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(chunk * chunks + b"0\r\n\r\n")
        assert until(connection, b"x" * chunks).startswith(b"HTTP/1.1 200")
