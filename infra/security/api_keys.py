"""The first API key of each tenant of a secure line: drawn into a file of its own, its hash told to the gateways.

Both steps may be repeated: an id follows from the key, so a start that was cut short is made good by the next one, and
a key that was revoked stays revoked. Who removes the file is given another key at the next start.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from gateway.api_keys import digest_of
from infra.security.rights import upstream_of
from infra.security.vault import Vault
from operations.tenants import put_key, read_keys
from runtime.settings import Settings
from schemas.events.tenants import ApiKey

API_KEY = "api_key"
MADE_FOR = "first key of this tenant, made by `latentline up`"


def file_of(vault: Vault, tenant: str) -> Path:
    """Where its first key is; the tenant's upstream service has the folder."""
    return vault.file(upstream_of(tenant), API_KEY)


def issue(owner: Settings, vault: Vault, tenants: Iterable[str]) -> None:
    """Write what the topic `tenants` does not have yet. Raises `ClientError`."""
    known = {key.id for key in read_keys(owner)}
    for tenant in tenants:
        digest = digest_of(vault.secret(upstream_of(tenant), API_KEY).get_secret_value(), owner)
        key = ApiKey(id=f"key_{digest[:16]}", tenant=tenant, digest=digest, name=MADE_FOR, created_at=time.time())
        if key.id not in known:
            put_key(owner, key)
