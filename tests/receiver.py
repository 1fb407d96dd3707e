"""A receiver of webhooks on loopback, which may be away, or say what it is told to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Self

from standardwebhooks import Webhook

from infra.local import ports


class Receiver:
    """`status` is what it answers. `up` and `down` as often as one likes: its address stays."""

    def __init__(self, status: int = 204) -> None:
        [self.port] = ports.choose([0])
        self.status = status
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {k.lower(): v for k, v in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                self.send_response(receiver.answer(self.path, headers, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> int:
        return self.status

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def verified(self, path: str, secret: str) -> list[dict[str, Any]]:
        """The events that came there so far. Raises for one that this secret has not signed."""
        return [Webhook(secret).verify(body, headers) for at, headers, body in [*self.requests] if at == path]

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()


@contextmanager
def endless_continue() -> Iterator[str]:
    """The URL of a receiver that answers `100 Continue` for as long as the other side takes it."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while True:
                    self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    class Server(ThreadingTCPServer):
        daemon_threads, request_queue_size = True, 100

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
