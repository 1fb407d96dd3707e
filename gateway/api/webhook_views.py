"""What goes in and out of the webhook routes: OpenAI's shapes, and under `x_latentline` what this line knows beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from schemas.webhooks import COMPLETED, EVENT_TYPES, FAILED, THIN, Url, WebhookDelivery, WebhookEndpoint
from webhooks import secrets

if TYPE_CHECKING:
    from gateway.dependencies import Gateway


def known_type(word: str) -> str:
    if word not in EVENT_TYPES:
        raise ValueError(f"there are {', '.join(EVENT_TYPES)}")
    return word


EventType = Annotated[str, AfterValidator(known_type), Field(examples=[*EVENT_TYPES])]
EventTypes = Annotated[tuple[EventType, ...], Field(min_length=1, max_length=len(EVENT_TYPES))]
EndpointName = Annotated[str, Field(min_length=1, max_length=128)]
Payload = Literal["thin", "full"]


class NewEndpoint(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Url = Field(description="https, at a public address")
    name: EndpointName = "webhook"
    event_types: EventTypes = Field((COMPLETED, FAILED), description=f"of {', '.join(EVENT_TYPES)}")
    payload: Payload = Field("thin", description="what `data` has: the video's id, or all of the video object")


class ChangedEndpoint(BaseModel):
    """What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    name: EndpointName | None = None
    event_types: EventTypes | None = None
    payload: Payload | None = None


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keep_old_secret_active_for_24_hours: StrictBool = False


class Sample(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_type: EventType = COMPLETED


class EndpointState(BaseModel):
    status: Literal["enabled", "disabled"] = "enabled"
    disabled_at: int | None = Field(None, description="unix seconds")
    reason: str | None = None
    payload: str = Field(THIN, description="what `data` has: thin or full")


class EndpointView(BaseModel):
    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: int = Field(description="unix seconds")
    updated_at: int
    signing_secret_hint: str = Field(description="how its secret ends")
    x_latentline: EndpointState


class EndpointWithSecret(EndpointView):
    signing_secret: str = Field(description="shown here and never again")


class EndpointList(BaseModel):
    object: Literal["list"] = "list"
    data: list[EndpointView]
    has_more: bool


class DeletedEndpoint(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class SampleResult(BaseModel):
    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    event_type: str
    status_code: int = Field(description="of the receiver's answer")
    success: Literal[True] = Field(True, description="an answer came; `status_code` says which")
    webhook_endpoint_id: str


class SigningSecret(BaseModel):
    key: str
    former_active_until: int | None = Field(None, description="unix seconds; until then the one before signs as well")


class AttemptView(BaseModel):
    at: int = Field(description="unix seconds")
    seconds: float
    status_code: int | None = None
    error: str | None = None


class DeliveryView(BaseModel):
    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event_id: str = Field(description="`webhook-id`: the same in every attempt")
    event_type: str
    video_id: str
    created_at: int
    status: str = Field(description="pending, delivered, failed, or dropped: its endpoint was deleted or disabled")
    next_attempt_at: int | None = None
    attempts: list[AttemptView] = Field(description="the latest, oldest first")
    body: str


class DeliveryList(BaseModel):
    object: Literal["list"] = "list"
    data: list[DeliveryView]
    has_more: bool


def endpoint_view(gateway: Gateway, endpoint: WebhookEndpoint) -> EndpointView:
    disabled = gateway.hooks.disabled_of(endpoint)
    state = (
        EndpointState(
            status="disabled", disabled_at=int(disabled.at), reason=disabled.reason, payload=endpoint.payload
        )
        if disabled else EndpointState(payload=endpoint.payload)
    )  # fmt: skip
    secret = secrets.secret_of_endpoint(gateway.settings.webhook_secret, endpoint)
    return EndpointView(
        id=endpoint.id, name=endpoint.name, url=endpoint.url, event_types=endpoint.event_types,
        created_at=int(endpoint.created_at), updated_at=int(endpoint.updated_at),
        signing_secret_hint=f"{secrets.PREFIX}...{secret[-5:]}", x_latentline=state,
    )  # fmt: skip


def delivery_view(delivery: WebhookDelivery) -> DeliveryView:
    attempts = [
        AttemptView(at=int(each.at), seconds=round(each.seconds, 3), status_code=each.status, error=each.error)
        for each in delivery.log
    ]
    return DeliveryView(
        id=delivery.id, event_id=delivery.event, event_type=delivery.type, video_id=delivery.job,
        created_at=int(delivery.created_at), status=str(delivery.outcome), attempts=attempts, body=delivery.body,
        next_attempt_at=None if delivery.next_at is None else int(delivery.next_at),
    )  # fmt: skip
