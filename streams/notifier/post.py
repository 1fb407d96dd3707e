"""One request to a receiver: to an address that was checked, once, and never anywhere else.

The host is resolved here and the connection goes to the address that was looked at, so a name that answers differently
the second time gains nothing. TLS is still verified for the name. There is no client around the transport, so there are
no redirects, cookies, proxies or kept connections. Of the answer only its head is read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import structlog

from streams.notifier.addresses import Gate

Resolve = Callable[[str, int], Awaitable[list[str]]]
MOST_ADDRESSES = 4
LONGEST_ERROR = 200
AGENT = "latentline-webhooks/1"

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


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order of the system's choice."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Poster:
    """Lives on one event loop. `trust`: whose certificates count; the system's and certifi's by default."""

    def __init__(
        self, gate: Gate, timeout: float, trust: ssl.SSLContext | None = None, resolve: Resolve = resolve
    ) -> None:
        self._gate, self._timeout, self._resolve = gate, timeout, resolve
        self._transport = httpx.AsyncHTTPTransport(
            verify=trust or httpx.create_ssl_context(), trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )  # fmt: skip

    async def post(self, url: str, headers: dict[str, str], body: str) -> Answer:
        """Never raises: whatever goes wrong is an answer."""
        began = time.monotonic()
        status, error, wish = None, None, None
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._send(url, headers, body)
            status, wish = response.status_code, seconds_of(response.headers.get("retry-after"))
            await response.aclose()
        except TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except (Refused, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as why:
            error = f"{type(why).__name__}: {why}"
        except Exception as why:
            log.exception("a webhook could not be sent")
            error = f"a fault of ours: {type(why).__name__}"
        return Answer(time.monotonic() - began, status, error and error[:LONGEST_ERROR], wish)

    async def close(self) -> None:
        await self._transport.aclose()

    async def _send(self, url: str, headers: dict[str, str], body: str) -> httpx.Response:
        """The answer, of which only the head has been read."""
        more = {"content-type": "application/json", "user-agent": AGENT, "connection": "close"}
        request = httpx.Request("POST", url, headers=headers | more, content=body.encode())
        failure: httpx.HTTPError | None = None
        for address in await self._addresses(request.url):
            try:
                return await self._transport.handle_async_request(sent_to(address, request))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or Refused("its host has no address")

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """Raises `Refused`, also when only one of several addresses is forbidden: such a name is up to something."""
        host = url.raw_host.decode()
        if problem := self._gate.problem_with(url.scheme, host):
            raise Refused(problem)
        try:
            found = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except OSError:
            raise Refused(f"{host} cannot be resolved") from None
        if not all(self._gate.admits(host, address) for address in found):
            raise Refused(f"{host} has a private or reserved address")
        return found[:MOST_ADDRESSES]


def sent_to(address: str, request: httpx.Request) -> httpx.Request:
    """The same request, `Host` and name for TLS included, on a connection to this address."""
    name = {"sni_hostname": request.url.raw_host.decode()}
    return httpx.Request(
        request.method, request.url.copy_with(host=address), headers=request.headers, stream=request.stream,
        extensions=request.extensions | name,
    )  # fmt: skip


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
