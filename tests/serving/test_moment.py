"""The moment of a server whose clock is an emulator's, asked over a real socket."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

import pytest

from feature_repo.clock import open_clock
from serving.moment import Moment

_START = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
_FAULTS = {
    "closed without a word": b"",
    "no HTTP": b"what?\r\n\r\n",
    "cut short": f"{_START}100\r\n\r\n{{".encode(),
    "no JSON": f"{_START}5\r\n\r\nhello".encode(),
    "another document": f"{_START}2\r\n\r\n{{}}".encode(),
    "a list": f"{_START}2\r\n\r\n[]".encode(),
}


def _instant(second: int) -> bytes:
    body = json.dumps({"now": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC).isoformat()})
    return f"{_START}{len(body)}\r\n\r\n{body}".encode()


@contextmanager
def emulator(answers: list[bytes]) -> Iterator[str]:
    """Answer one connection after the other; the last answer stays."""

    def serve() -> None:
        at = 0
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(answers[min(at, len(answers) - 1)])
                at += 1

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("fault", _FAULTS)
def test_the_clock_is_followed_on_after_an_answer_that_is_none(fault):
    async def problems_until_it_moves() -> set[str | None]:
        moment = Moment(open_clock(address))
        await moment.start()
        seen, end = set(), time.perf_counter() + 10
        while moment().second != 2 and time.perf_counter() < end:
            seen.add(moment.problem)
            await asyncio.sleep(0.02)
        last = moment()
        await moment.stop()
        assert last.second == 2
        assert moment.problem is None
        return seen

    with emulator([_instant(1), _FAULTS[fault], _instant(2)]) as address:
        seen = asyncio.run(problems_until_it_moves())
    assert any(problem and "FOREVIEW_CLOCK" in problem for problem in seen)
