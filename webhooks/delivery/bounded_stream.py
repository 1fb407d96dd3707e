"""Connections on which a receiver can answer so many bytes and no more.

HTTP allows any number of informational answers (100 to 199) before the one that counts, so a receiver that sends them
for ever would keep the parser, and with it everybody's deliveries, busy for as long as a delivery may take
(RFC 9110 section 15.2). Only the head of an answer is read, so a bound on bytes bounds them all.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

MOST_BYTES = 16 * 1024
"""Of an answer's head, the informational answers before it included."""
BYTES_AT_ONCE = 4096


class TooLong(httpcore.ReadError):
    """The head of the answer is larger than a receiver may send."""

    def __init__(self) -> None:
        super().__init__(f"the head of the answer is larger than {MOST_BYTES} bytes")


class BoundedBackend(httpcore.AnyIOBackend):
    """TCP connections that give up reading after `MOST_BYTES`."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return BoundedStream(stream)


class BoundedStream(httpcore.AsyncNetworkStream):
    """Counts what was read; what TLS needs for its handshake is not counted."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MOST_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Raises `TooLong` once there is no more to be had."""
        if self._left <= 0:
            raise TooLong
        data = await self._stream.read(min(max_bytes, BYTES_AT_ONCE), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
