"""Signing secrets of webhooks, which nobody keeps.

A secret is the HMAC of whose it is and of how often it was rotated, under the one secret of the settings: gateway and
notifier both derive it, a copy of the topics gives it to nobody, and there is none to lose. Whoever changes that one
secret changes all of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from pydantic import SecretStr

from runtime.settings import Settings
from schemas.webhooks import TenantSecret, WebhookEndpoint, tenant_key

PREFIX = "whsec_"
LEAST_ROOT = 16


def weakness(settings: Settings) -> str | None:
    """Why production mode does not sign webhooks like this."""
    if settings.gateway_mode != "production" or len(settings.webhook_secret.get_secret_value()) >= LEAST_ROOT:
        return None
    return (
        f"LATENTLINE_WEBHOOK_SECRET has fewer than {LEAST_ROOT} characters: set a random one, the same for gateways "
        "and notifier, and keep it"
    )


def secret_of_endpoint(root: SecretStr, endpoint: WebhookEndpoint) -> str:
    return derived(root, endpoint.id, endpoint.generation)


def secret_of_tenant(root: SecretStr, tenant: str, generation: int = 1) -> str:
    """Signs what goes to the `webhook_url` of a prompt."""
    return derived(root, tenant_key(tenant), generation)


def derived(root: SecretStr, whose: str, generation: int) -> str:
    """`whsec_` and 32 bytes in base64."""
    message = f"webhook\n{whose}\n{generation}".encode()
    return PREFIX + base64.b64encode(hmac.digest(root.get_secret_value().encode(), message, hashlib.sha256)).decode()


def secrets_of(root: SecretStr, holder: WebhookEndpoint | TenantSecret, now: float) -> list[str]:
    """Those that sign at this time, the newest first."""
    whose = holder.id if isinstance(holder, WebhookEndpoint) else tenant_key(holder.tenant)
    secrets = [derived(root, whose, holder.generation)]
    if holder.former_secret_until is not None and now < holder.former_secret_until:
        secrets.append(derived(root, whose, holder.generation - 1))
    return secrets
