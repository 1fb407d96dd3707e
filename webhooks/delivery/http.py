"""One request to a receiver: to an address that was checked, once, and never anywhere else.

The host is resolved here and the connection goes to the address that was looked at, so a name that answers differently
the second time gains nothing. TLS is still verified for the name. There is no client around the connection pool, so
there are no redirects, cookies, proxies or kept connections. Of the answer only its head is read, and of that only so
many bytes.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx
import structlog

from webhooks.address_policy import Gate, port_of
from webhooks.delivery.bounded_stream import BoundedBackend
from webhooks.delivery.resolver import Resolve

MOST_ADDRESSES = 4
LONGEST_ERROR = 200
AGENT = "latentline-webhooks/1"
UNREACHABLE = httpcore.ConnectError, httpcore.ConnectTimeout
FAILURES = httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol

log = structlog.get_logger(__name__)


class Refused(Exception):
    """The request was not made: its receiver is nowhere, or nowhere that it may go."""


@dataclass(frozen=True)
class Answer:
    """The status of the answer, or why there was none. `retry_after`: seconds that the receiver asks for."""

    seconds: float
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None


class Poster:
    """Lives on one event loop. `trust`: whose certificates count; the system's and certifi's by default."""

    def __init__(self, gate: Gate, timeout: float, resolve: Resolve, trust: ssl.SSLContext | None = None) -> None:
        self._gate, self._timeout, self._resolve = gate, timeout, resolve
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or httpx.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=BoundedBackend(),
        )

    async def post(self, url: str, headers: dict[str, str], body: str) -> Answer:
        """Never raises: whatever goes wrong is an answer."""
        began = time.monotonic()
        status, error, wish = None, None, None
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._send(url, headers, body)
            status, wish = response.status, seconds_of(header_of(response, b"retry-after"))
            await response.aclose()
        except TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except (Refused, *FAILURES, httpx.InvalidURL, OSError, UnicodeError) as why:
            error = f"{type(why).__name__}: {why}"
        except Exception as why:
            log.exception("a webhook could not be sent")
            error = f"a fault of ours: {type(why).__name__}"
        return Answer(time.monotonic() - began, status, error and error[:LONGEST_ERROR], wish)

    async def close(self) -> None:
        await self._pool.aclose()

    async def _send(self, url: str, headers: dict[str, str], body: str) -> httpcore.Response:
        """The answer, of which only the head has been read."""
        more = {"content-type": "application/json", "user-agent": AGENT, "connection": "close"}
        request = httpx.Request("POST", url, headers=headers | more, content=body.encode())
        failure: Exception | None = None
        for address in await self._addresses(request.url):
            try:
                return await self._pool.handle_async_request(addressed(request, address))
            except UNREACHABLE as error:
                failure = error
        raise failure or Refused("its host has no public address")

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """Raises `Refused`, also when only one of several addresses is forbidden: such a name is up to something.

        A name that is private and one that does not exist are refused in the same words: who reads the log of a
        delivery must not learn which names there are inside.
        """
        host, port = url.raw_host.decode(), url.port or port_of(url.scheme)
        if problem := self._gate.problem_with(url.scheme, host, port):
            raise Refused(problem)
        try:
            found = await self._resolve(host, port)
        except OSError:
            found = []
        if not found or not all(self._gate.admits(host, address, port) for address in found):
            raise Refused(f"{host} has no public address")
        return found[:MOST_ADDRESSES]


def addressed(request: httpx.Request, address: str) -> httpcore.Request:
    """The same request, `Host` and name for TLS included, on a connection to this address."""
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=address.encode(), port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.content,
        extensions={"sni_hostname": url.raw_host.decode()},
    )


def header_of(response: httpcore.Response, name: bytes) -> str | None:
    """The first value of a header; `name` is in lower case."""
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def seconds_of(retry_after: str | None) -> float | None:
    """Of the header, a number or a date; None for anything else."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
