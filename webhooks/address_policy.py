"""Which addresses a webhook may reach: public ones, and what the operator names (LATENTLINE_WEBHOOK_ALLOW).

A receiver is named by a tenant and reached from inside, so a private address would be somebody else's door.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from runtime.network_allowance import Address, Allowance, Network, parse_allowances

DEFAULT_PORTS = {"https": 443, "http": 80}

NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address is in its last 32 bits (RFC 6052)."""
REFUSED: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; releases of Python differ about them
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a site's own choice (RFC 8215)
    IPv6Network("2002::/16"),  # 6to4, which leads to any IPv4 address
    IPv6Network("2001::/23"),  # Teredo, likewise, and other protocol assignments
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # site-local, from before private addresses
    IPv4Network("168.63.129.16/32"),  # the host of Azure's machines: public, and yet inside
)


def forbidden(address: Address) -> bool:
    """Whether it is loopback, private, link-local, multicast, reserved, or one of these in the clothes of IPv6."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None)
        if inner is not None:
            return forbidden(inner)
    special = address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global
    return special or any(address.version == net.version and address in net for net in REFUSED)


@dataclass(frozen=True)
class Gate:
    """`allowances` may be reached whatever they are, also without TLS."""

    allowances: tuple[Allowance, ...] = ()

    @classmethod
    def of(cls, text: str) -> Gate:
        """From the setting: `localhost:9000, 10.1.0.0/16:443`. Raises `ValueError` for an entry that is none."""
        return cls(parse_allowances(text))

    def admits(self, host: str, address: str, port: int) -> bool:
        """Whether a receiver of that name may be reached at an address that it has."""
        parsed = ip_address(address)
        return self._allows_host(host, port) or self._allows_address(parsed, port) or not forbidden(parsed)

    def problem_with(self, scheme: str, host: str, port: int) -> str | None:
        """What is wrong with such a URL before anybody asks for the addresses of its host."""
        literal = literal_of(host)
        known = self._allows_host(host, port) or (literal is not None and self._allows_address(literal, port))
        if scheme != "https" and not (scheme == "http" and known):
            return "a webhook needs https"
        if literal is not None and not known and forbidden(literal):
            return "a webhook cannot go to a private or reserved address"
        return None

    def problem_with_url(self, url: str) -> str | None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            return f"it is no URL: {error}"
        if not host:
            return "it names no host"
        if parts.username is not None or parts.password is not None:
            return "it may not carry a user name or password: verify the signature instead"
        return self.problem_with(parts.scheme, host, port or port_of(parts.scheme))

    def _allows_host(self, host: str, port: int) -> bool:
        name = host.lower().rstrip(".")
        return any(allowance.covers_host(name, port) for allowance in self.allowances)

    def _allows_address(self, address: Address, port: int) -> bool:
        return any(allowance.covers_address(address, port) for allowance in self.allowances)


def port_of(scheme: str) -> int:
    """The port of a URL that names none; of a scheme that we do not speak, one that nobody allows."""
    return DEFAULT_PORTS.get(scheme, 0)


def literal_of(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
