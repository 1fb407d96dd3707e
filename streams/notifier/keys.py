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

from schemas.webhooks import WebhookEndpoint
from streams.settings import Settings

PREFIX = "whsec_"
OVERLAP_S = 24 * 3600.0
"""For how long the secret before signs beside the one that a rotation made."""
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


def secret_of_tenant(root: SecretStr, tenant: str) -> str:
    """Signs what goes to the `webhook_url` of a prompt."""
    return derived(root, f"tenant/{tenant}", 1)


def derived(root: SecretStr, whose: str, generation: int) -> str:
    """`whsec_` and 32 bytes in base64."""
    message = f"webhook\n{whose}\n{generation}".encode()
    return PREFIX + base64.b64encode(hmac.digest(root.get_secret_value().encode(), message, hashlib.sha256)).decode()


def secrets_of(root: SecretStr, endpoint: WebhookEndpoint | None, tenant: str, now: float) -> list[str]:
    """Those that sign at this time, the newest first."""
    if endpoint is None:
        return [secret_of_tenant(root, tenant)]
    secrets = [secret_of_endpoint(root, endpoint)]
    if endpoint.former_secret_until is not None and now < endpoint.former_secret_until:
        secrets.append(derived(root, endpoint.id, endpoint.generation - 1))
    return secrets
