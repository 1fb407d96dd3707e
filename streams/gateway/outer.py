"""Around every request: its id, a limit to its body, safe headers on the answer, and how long it took."""

from __future__ import annotations

import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams import metrics
from streams.gateway.problems import Problem

LARGEST_BODY = 8 * 1024 * 1024
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Where an answer says nothing else of its own."""


class Outer:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                dress(MutableHeaders(scope=message))
                measure(scope, message["status"], time.monotonic() - began)
            await send(message)

        await self._app(scope, limited(receive), dressed)


def dress(headers: MutableHeaders) -> None:
    headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if headers.get("content-type", "").startswith("text/event-stream"):
        headers["cache-control"] = "no-cache, no-transform"


def measure(scope: Scope, status: int, seconds: float) -> None:
    route = metrics.ROUTE.of(getattr(scope.get("route"), "name", ""))
    metrics.HTTP_SECONDS.labels(route, metrics.ANSWER.of(f"{status // 100}xx")).observe(seconds)


def limited(receive: Receive) -> Receive:
    """Raises `Problem` 413 at the first byte too many, however the body says how long it is."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            raise Problem("request_too_large", f"a body has at most {LARGEST_BODY} bytes")
        return message

    return counted
