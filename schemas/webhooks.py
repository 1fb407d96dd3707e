"""Webhooks: who wants to hear of which events, and how each delivery gets on. All of it internal.

`endpoints` holds what tenants have set up, written by gateways, and how often the secret of each was rotated, which an
operator writes as well. `webhooks` holds what came of it, written by the notifier, and what gateways ask of the
notifier. Signing secrets are in neither: they derive from a setting.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from schemas.base import Frozen, OpenEnum
from schemas.digest import digest
from schemas.field_types import Name

COMPLETED, FAILED, CANCELLED, STARTED = "video.completed", "video.failed", "video.cancelled", "video.started"
PROGRESS = "video.progress"
EVENT_TYPES = (COMPLETED, FAILED, CANCELLED, STARTED, PROGRESS)
OVERLAP_S = 24 * 3600.0
"""For how long the secret before signs beside the one that a rotation made."""
THIN, FULL = "thin", "full"
"""What an event's `data` has: the id of the video, or the whole of it."""

Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[\x21-\x7e]+$")]


class WebhookEndpoint(Frozen):
    """Where a tenant wants to hear of its jobs."""

    id: str = Field(pattern=r"^we_[0-9a-f]{32}$")
    tenant: Name
    name: str = Field("", max_length=128)
    url: Url
    event_types: tuple[str, ...]
    created_at: float
    updated_at: float
    revision: int = Field(1, ge=1, description="rises with every change")
    generation: int = Field(1, ge=1, description="of its signing secret; rises with every rotation")
    former_secret_until: float | None = Field(None, description="until then the secret before signs as well")
    payload: str = Field(THIN, description="of its events: `thin`, or `full`, with the whole video in `data`")


class TenantSecret(Frozen):
    """How often a tenant's own signing secret was rotated: that of what goes to the `webhook_url` of its prompts."""

    tenant: Name
    generation: int = Field(1, ge=1, description="rises with every rotation")
    former_secret_until: float | None = Field(None, description="until then the secret before signs as well")

    def rotated(self, now: float, keep_old: bool) -> Self:
        return self.replace(generation=self.generation + 1, former_secret_until=now + OVERLAP_S if keep_old else None)


class EndpointDisabled(Frozen):
    """Nothing more goes to an endpoint as it was at this revision; any later change enables it again."""

    endpoint: str
    revision: int
    at: float
    reason: str


class DeliveryOutcome(OpenEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


class DeliveryAttempt(Frozen):
    """One request to a receiver: the status that it answered, or why there was no answer."""

    at: float
    seconds: float = Field(ge=0)
    status: int | None = None
    error: str | None = Field(None, max_length=200)


class WebhookDelivery(Frozen):
    """One event on its way to one receiver: an endpoint, or the `webhook_url` of a prompt."""

    id: str = Field(pattern=r"^whd_[0-9a-f]{32}$")
    event: str = Field(description="`webhook-id`: the same over all attempts and receivers")
    type: str
    tenant: Name
    job: str
    endpoint: str | None = None
    url: Url | None = Field(None, description="of the prompt; an endpoint's is looked up at each attempt")
    body: str = Field(description="the request's body as it is sent each time")
    created_at: float
    outcome: DeliveryOutcome = DeliveryOutcome.PENDING
    attempts: int = Field(0, ge=0, description="made in the present run of the schedule")
    next_at: float | None = Field(None, description="when the next attempt is due; none: it has ended")
    log: tuple[DeliveryAttempt, ...] = Field((), description="the latest attempts, oldest first")
    test: bool = Field(False, description="asked for by its owner: one attempt, and no consequences")


class DeliveryRequested(Frozen):
    """The owner of an endpoint wants a delivery made again, or a sample of an event sent."""

    id: str = Field(pattern=r"^whr_[0-9a-f]{32}$")
    tenant: Name
    endpoint: str
    at: float
    delivery: str | None = Field(None, description="the one to make again, or the id of the sample")
    type: str | None = Field(None, description="of the sample")


def tenant_key(tenant: str) -> str:
    """Of its secret in `endpoints`."""
    return f"tenant/{tenant}"


def event_id(job: str, type: str) -> str:
    """The same event has the same id, however often it is read."""
    return f"evt_{digest([job, type])[:32]}"


def delivery_id(event: str, receiver: str) -> str:
    """`receiver`: an endpoint's id, or a URL."""
    return f"whd_{digest([event, receiver])[:32]}"
