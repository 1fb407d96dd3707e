"""What operators keep of tenants: API keys and settings."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.field_types import Name
from schemas.retention import Retention


class ApiKey(Frozen):
    """A key of a tenant. The key itself is shown once, to the person who made it, and is nowhere."""

    id: str = Field(pattern=r"^key_[0-9a-f]{16}$")
    tenant: Name
    digest: str = Field(description="HMAC-SHA256 of the key under the secret of the gateways")
    name: str = Field("", max_length=128, description="what it is for, in its maker's words")
    created_at: float
    revoked_at: float | None = None


class TenantSettings(Frozen):
    """What an operator has set for a tenant."""

    tenant: Name
    retention: Retention | None = Field(None, description="of jobs that name none; unset: the line's, `standard`")
    retention_of_earlier: Retention | None = Field(
        None, description="of videos from before there were classes, counted from `set_at`; unset: they are kept"
    )
    set_at: float
