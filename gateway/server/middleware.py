"""Around every request: its id, a limit to its body, safe headers on the answer, and how long it took."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import Problem
from gateway.server.framing import ambiguity
from runtime import metrics

BODY_WITHIN_S = 30.0
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Where an answer says nothing else of its own."""


Header = tuple[bytes, bytes]


class Outer:
    """`largest`: bytes of a body, at most."""

    def __init__(self, app: ASGIApp, largest: int = 8 * 1024**2) -> None:
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_default_headers(message["headers"])
                measure(scope, message["status"], time.monotonic() - began)
            await send(message)

        if problem := ambiguity(scope):
            return await JSONResponse(problem.body, problem.status, problem.headers)(scope, receive, dressed)
        await self._app(scope, Body(receive, Headers(scope=scope), self._largest), dressed)


def with_default_headers(headers: Iterable[Header]) -> list[Header]:
    """Of an answer: its own, which have names in lower-case letters, and ours where it has none."""
    given = dict(headers)
    ours = [(name, value) for name, value in HEADERS.items() if name not in given]
    if given.get(b"content-type", b"").startswith(b"text/event-stream"):
        headers = [header for header in headers if header[0] != b"cache-control"]
        ours.append((b"cache-control", b"no-cache, no-transform"))
    return [*headers, *ours, (b"x-request-id", f"req_{uuid.uuid4().hex}".encode())]


def measure(scope: Scope, status: int, seconds: float) -> None:
    route = metrics.ROUTE.of(getattr(scope.get("route"), "name", ""))
    metrics.HTTP_SECONDS.labels(route, metrics.ANSWER.of(f"{status // 100}xx")).observe(seconds)


class Body:
    """What a client sends, within limits. Awaiting it raises `Problem`: 413 for a byte too many, 408 for one too late.

    A length that is declared is believed when it is too large, so nothing of such a body is read.
    """

    def __init__(self, receive: Receive, headers: Headers, largest: int) -> None:
        self._receive, self._largest = receive, largest
        self._deadline = time.monotonic() + BODY_WITHIN_S
        declared = headers.get("content-length", "")
        self._seen = int(declared) if declared.isdecimal() and int(declared) > largest else 0
        self._ended = False

    async def __call__(self) -> Message:
        self._check()
        if self._ended:
            # The next message is that the client has gone, whenever that is.
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise close_connection("request_timeout", f"the body did not arrive within {BODY_WITHIN_S:g} s") from None
        self._ended = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        self._check()
        return message

    def _check(self) -> None:
        if self._seen > self._largest:
            raise close_connection("request_too_large", f"a body has at most {self._largest} bytes")


def close_connection(code: str, message: str) -> Problem:
    """The connection ends with this answer: the rest of the body is not waited for."""
    return Problem(code, message, headers={"connection": "close"})
