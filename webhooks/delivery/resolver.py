"""Addresses of a receiver's name, asked for without a thread, so that a silent name server holds up nobody.

`getaddrinfo` of the C library cannot be cancelled: as many names as there are threads, each with a name server that
does not answer, stop every lookup behind them. c-ares asks on the event loop, and gives up when the delivery does. It
reads the hosts file and resolv.conf as the C library does; what only an NSS module knows it does not find.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiodns

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Resolver:
    """Lives on the event loop that it is made on. `nameservers` and `udp_port`: those of the system by default."""

    def __init__(self, timeout: float, nameservers: list[str] | None = None, udp_port: int | None = None) -> None:
        more = {} if udp_port is None else {"udp_port": udp_port, "tcp_port": udp_port}
        self._resolver = aiodns.DNSResolver(nameservers, asyncio.get_running_loop(), timeout=timeout, tries=2, **more)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a host, in the order in which they are to be tried. Raises `OSError` where it has none."""
        try:
            found = await self._resolver.getaddrinfo(
                host, port=port, family=socket.AddressFamily.AF_UNSPEC, type=socket.SOCK_STREAM
            )
        except aiodns.error.DNSError as error:
            raise OSError(f"{host} has no address") from error
        return list(dict.fromkeys(text_of(node.addr[0]) for node in found.nodes))

    async def close(self) -> None:
        await self._resolver.close()


def text_of(address: bytes | str) -> str:
    return address if isinstance(address, str) else address.decode()
