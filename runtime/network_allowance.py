"""The exceptions that an operator makes for webhooks: hosts and networks that may be private, each at a port.

A port belongs to each, since a host that runs one receiver for tenants mostly runs other things beside it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ANY_PORT = "*"
ENTRY = re.compile(r"(?:\[(?P<six>[0-9a-f:./]+)\]|(?P<name>[^\s:,\[\]]+)):(?P<port>\*|[0-9]{1,5})")


class Allowance(NamedTuple):
    """One exception. `port` is None where any port may be reached."""

    place: str | Network
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """From `localhost:9000`, `10.1.0.0/16:443`, `[fd00::/8]:443` or `localhost:*`.

        Raises `ValueError` for anything else, also for an entry without a port.
        """
        found = ENTRY.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(f"{text.strip()!r} must be host:port or network:port, such as localhost:9000; :* is any")
        port = None if found["port"] == ANY_PORT else int(found["port"])
        if port is not None and not 1 <= port <= 65535:
            raise ValueError(f"{text.strip()!r} has the port {port}, which must be between 1 and 65535")
        return cls(ip_network(found["six"], strict=False) if found["six"] else place_of(found["name"]), port)

    def covers_host(self, host: str, port: int) -> bool:
        """Whether it names this host; `host` is in lower case, without a dot at its end."""
        return self.place == host and self.port in (None, port)

    def covers_address(self, address: Address, port: int) -> bool:
        """Whether the address lies in the network that it names."""
        if isinstance(self.place, str) or self.place.version != address.version:
            return False
        return address in self.place and self.port in (None, port)


def place_of(name: str) -> str | Network:
    """A network, or the name of a host."""
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return name.rstrip(".")


def parse_allowances(text: str) -> tuple[Allowance, ...]:
    """Entries separated by commas. Raises `ValueError` naming the first that is none."""
    return tuple(Allowance.parse(entry) for entry in text.split(",") if entry.strip())
