"""API keys: shown once to who made them, kept as keyed hashes in the compacted `tenants` topic.

A key is 256 random bits, so no slow hash is needed: nobody guesses it. The secret of the hash keeps a copy of the topic
from being useful without the gateways' own settings.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from gateway.development_key import unsafe_because
from runtime.settings import Settings
from schemas.events.tenants import ApiKey
from webhooks.secrets import weakness

PREFIX = "ll_"
DEFAULT_TENANT = "default"
LEAST_SECRET = 16


class UnsafeSettings(ValueError):
    """The gateway refuses to start like this."""


def check_mode(settings: Settings) -> None:
    """Raises `UnsafeSettings` naming the variable."""
    if unsafe := unsafe_because(settings):
        raise UnsafeSettings(unsafe)
    if settings.gateway_mode != "production":
        return
    if 0 < len(settings.gateway_default_key.get_secret_value()) < LEAST_SECRET:
        raise UnsafeSettings(
            f"LATENTLINE_GATEWAY_DEFAULT_KEY has fewer than {LEAST_SECRET} characters: set a random one, or nothing"
        )
    if len(settings.gateway_key_secret.get_secret_value()) < LEAST_SECRET:
        raise UnsafeSettings(
            f"LATENTLINE_GATEWAY_KEY_SECRET has fewer than {LEAST_SECRET} characters: set a random one, and keep it"
        )
    if weak := weakness(settings):
        raise UnsafeSettings(weak)


def digest_of(key: str, settings: Settings) -> str:
    """Hex HMAC-SHA256."""
    secret = settings.gateway_key_secret.get_secret_value().encode()
    return hmac.digest(secret, key.encode(), hashlib.sha256).hex()


def new_key(tenant: str, name: str, now: float, settings: Settings) -> tuple[str, ApiKey]:
    """The key, and what is kept of it. Raises `pydantic.ValidationError` for a tenant that cannot be named so."""
    key = PREFIX + secrets.token_urlsafe(32)
    kept = ApiKey(
        id=f"key_{secrets.token_hex(8)}", tenant=tenant, digest=digest_of(key, settings), name=name, created_at=now
    )
    return key, kept


@dataclass(frozen=True)
class Caller:
    """Who asks, and the digest of the API key by which: what is open under a revoked one ends."""

    tenant: str
    key: str


@dataclass
class Keys:
    """The keys of which `tenants` has told so far. Read by many threads, changed by one."""

    settings: Settings
    by_id: dict[str, ApiKey] = field(default_factory=dict)
    _tenants: dict[str, str] = field(default_factory=dict)
    _revoked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if default := self.settings.gateway_default_key.get_secret_value():
            self._tenants[digest_of(default, self.settings)] = DEFAULT_TENANT

    def take(self, key: ApiKey) -> None:
        self.by_id[key.id] = key
        if key.revoked_at is None:
            self._tenants[key.digest] = key.tenant
        else:
            self._tenants.pop(key.digest, None)
            self._revoked.add(key.digest)

    def news(self) -> set[str]:
        """Digests of the keys that were revoked since this was last asked, by the thread that takes them."""
        revoked, self._revoked = self._revoked, set()
        return revoked

    def caller_of(self, key: str) -> Caller | None:
        """Whose key it is; None for one that is unknown or revoked."""
        digest = digest_of(key, self.settings)
        tenant = self._tenants.get(digest)
        return None if tenant is None else Caller(tenant, digest)

    def is_valid(self, caller: Caller) -> bool:
        """Whether the key by which somebody asked has not been revoked since."""
        return self._tenants.get(caller.key) == caller.tenant
