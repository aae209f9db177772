"""A TCP proxy that breaks connections when told to: refuses, resets, or stalls them."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

HEALTHY, REFUSING, RESETTING, STALLING = "healthy", "refusing", "resetting", "stalling"
# The next commit is done, and nobody hears of it.
LOSING_A_COMMIT = "losing a commit"
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"  # as PostgreSQL says it


class TcpProxy:
    """Forwards a port of its own to another one, in the manner of its `mode`."""

    def __init__(self, port: int, seed: int) -> None:
        self._target = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.mode = HEALTHY
        self.broken = 0

    @property
    def address(self) -> str:
        """The address of the proxy, as HTTP."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def before(self, database_url: str) -> str:
        """Give the URL of a database with the proxy in the place of its server."""
        port = self._listener.getsockname()[1]
        url = make_url(database_url).set(host="127.0.0.1", port=port)
        return url.render_as_string(hide_password=False)

    def refuse_for(self, seconds: float) -> None:
        """Refuse new connections for a while from now on."""
        self.mode = REFUSING
        threading.Timer(seconds, setattr, (self, "mode", HEALTHY)).start()

    def serve(self) -> None:
        """Accept connections until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Stop accepting."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _handle(self, client: socket.socket) -> None:
        if self.mode == REFUSING:
            self.broken += 1
            client.close()
            return
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.mode == RESETTING and self._random.random() < 0.5:
                    self.broken += 1
                    sink.sendall(data[: len(data) // 2])
                    for one in (source, sink):
                        one.shutdown(socket.SHUT_RDWR)
                    return
                if self.mode == LOSING_A_COMMIT and _COMMITTED in data:
                    self.broken += 1
                    self.mode = HEALTHY
                    for one in (source, sink):
                        one.shutdown(socket.SHUT_RDWR)
                    return
                if self.mode == STALLING:
                    self.broken += 1
                    threading.Event().wait(0.3)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxied(port: int, seed: int) -> Iterator[TcpProxy]:
    """Run a proxy before a port."""
    proxy = TcpProxy(port, seed)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    yield proxy
    proxy.close()
    thread.join(timeout=5)
