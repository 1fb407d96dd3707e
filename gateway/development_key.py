"""The development key, which everybody knows: it opens a gateway to programs of its own machine alone.

Such a key proves nothing, so the way a request has come must. The gateway listens on loopback; `Host` names loopback,
since a page whose own name was made to resolve to 127.0.0.1 (DNS rebinding) sends that name; and `Origin`, which a
browser sends for a page, is the gateway's own or one that the settings name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

from gateway.cors import origins_of
from runtime.settings import DEFAULT_KEY, Settings

SCHEMES = ("http://", "https://")


def has_development_key(settings: Settings) -> bool:
    """Whether the gateway takes the key that everybody knows."""
    return settings.gateway_default_key.get_secret_value() == DEFAULT_KEY


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this name or address means this machine alone. No name is looked up but `localhost`."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host in a `Host` header, its port left out: `[::1]:8080` is `[::1]`."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def foreign_because(settings: Settings, headers: Mapping[str, str]) -> str | None:
    """Why a request may have come from elsewhere; None for one of this machine. Header names are in lower case."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_loopback(host_of(host)):
        return f"the Host header must be a loopback name such as 127.0.0.1, not {host[:80]!r}"
    if origin is None or origin in origins_of(settings) or origin.lower() in {f"{s}{host.lower()}" for s in SCHEMES}:
        return None
    return f"pages of {origin[:80]!r} may not ask: LATENTLINE_GATEWAY_CORS_ORIGINS does not name that origin"


def unsafe_because(settings: Settings) -> str | None:
    """Why a gateway with the development key may not start; None where it may, or has another key."""
    if not has_development_key(settings):
        return None
    another = "set LATENTLINE_GATEWAY_DEFAULT_KEY to a key of your own, or to nothing (`latentline keys create`)"
    if settings.gateway_mode == "production":
        return f"LATENTLINE_GATEWAY_DEFAULT_KEY is the one that everybody knows: {another}"
    if not is_loopback(settings.gateway_host):
        return (
            f"LATENTLINE_GATEWAY_HOST = {settings.gateway_host}: with the API key that everybody knows a gateway "
            f"listens on loopback alone, such as 127.0.0.1; for another address {another}"
        )
    if "*" in origins_of(settings):
        return (
            "LATENTLINE_GATEWAY_CORS_ORIGINS = *: with the API key that everybody knows any page in a browser of this "
            f"machine could use the line; name the origins, or {another}"
        )
    return None
