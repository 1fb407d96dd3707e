"""/metrics and /healthz of a process, from threads beside its work: `200 ready`, or `503` with the reason.

Behind `ready` may come lines that begin with `warning: `: the process does its work, and somebody has to see to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from runtime.settings import Settings

Ready = Callable[[], str | None]
"""None when ready, else the reason why not, in a few words for people. Called from other threads."""

Warnings = Callable[[], Sequence[str]]
"""Each a line for people. Called from other threads."""

log = structlog.get_logger(__name__)


class HealthServer(ThreadingHTTPServer):
    """Serves until `close`. Its threads never keep a process alive."""

    daemon_threads = True
    # A restarted service takes its port back although connections of its former life linger.
    allow_reuse_address = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry, ready: Ready, warnings: Warnings) -> None:
        """Raises `OSError` when the port is taken; port 0 takes any free one."""
        super().__init__((host, port), _Handler)
        self.registry, self.ready, self.warnings = registry, ready, warnings
        self._thread = Thread(target=self.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up before its answer is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("a request failed", client=client_address)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(settings: Settings, registry: CollectorRegistry, ready: Ready, warnings: Warnings = tuple) -> HealthServer:
    """Start serving at the settings' `metrics_host` and `metrics_port`. Raises `OSError` when the port is taken."""
    server = HealthServer(settings.metrics_host, settings.metrics_port, registry, ready, warnings)
    log.info("serving /metrics and /healthz", host=settings.metrics_host, port=server.port)
    return server


class _Handler(BaseHTTPRequestHandler):
    server: HealthServer
    # A client that connects and says nothing holds its thread no longer than this.
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, encode(self.server.registry), content_type)
        elif path == "/healthz":
            reason = self._reason()
            status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
            lines = [reason] if reason else ["ready", *(f"warning: {one}" for one in self.server.warnings())]
            self._answer(status, "".join(f"{line}\n" for line in lines).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"here are /metrics and /healthz\n")

    def _reason(self) -> str | None:
        try:
            return self.server.ready()
        except Exception as error:
            log.exception("the readiness check failed")
            return f"the readiness check failed: {type(error).__name__}"

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes every few seconds are no news."""
