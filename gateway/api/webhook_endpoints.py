"""The routes of `/v1/webhook_endpoints`, as OpenAI's clients call them (`client.webhooks`), and of the delivery log.

The gateway sends no webhook itself: what is asked for goes to the notifier through the log, which answers the same way.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from gateway.api.bodies import fields_of
from gateway.api.videos import body_of
from gateway.api.webhook_views import (
    ChangedEndpoint,
    DeletedEndpoint,
    DeliveryList,
    DeliveryView,
    EndpointList,
    EndpointView,
    EndpointWithSecret,
    NewEndpoint,
    Rotation,
    Sample,
    SampleResult,
    SigningSecret,
    delivery_view,
    endpoint_view,
)
from gateway.dependencies import Gateway, Tenant, TheCaller, TheGateway
from gateway.problems import Problem, away, malformed
from schemas.errors import shorten
from schemas.webhooks import (
    EVENT_TYPES,
    OVERLAP_S,
    DeliveryRequested,
    TenantSecret,
    WebhookDelivery,
    WebhookEndpoint,
    tenant_key,
)
from streams.kafka.topics import ENDPOINTS, WEBHOOKS
from webhooks import secrets as keys

MOST_ENDPOINTS = 50
NOTIFIED_WITHIN_S = 10.0
"""How long the notifier may take over a sample, beside what its receiver takes."""

Asked = TypeVar("Asked", bound=BaseModel)
Listed = TypeVar("Listed", WebhookEndpoint, WebhookDelivery)
After = Annotated[str | None, Query(description="id of the last one of the page before")]
Limit = Annotated[int, Query(ge=1, le=100)]

router = APIRouter(prefix="/v1", tags=["webhooks"])
PLACE = "/webhook_endpoints/{endpoint_id}"


async def asked(request: Request, model: type[Asked]) -> Asked:
    """The body, JSON or a form; none at all is an empty one. Raises `Problem`."""
    fields = await fields_of(request, optional=True)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise malformed(error) from None


def check_url(gateway: Gateway, url: str) -> None:
    if wrong := gateway.gate.problem_with_url(url):
        raise Problem("invalid_value", f"url = {shorten(url)}: {wrong}", "url")


def found(gateway: Gateway, tenant: str, key: str) -> WebhookEndpoint:
    """Raises `Problem` 404, whoever else's it may be."""
    endpoint = gateway.hooks.endpoints.get(key)
    if endpoint is None or endpoint.tenant != tenant:
        raise Problem("webhook_endpoint_not_found", f"there is no webhook endpoint {shorten(key)}", "endpoint_id")
    return endpoint


async def kept(gateway: Gateway, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    await gateway.intake.keep(ENDPOINTS, endpoint.id, endpoint)
    gateway.hooks.put(endpoint)
    return endpoint


def changed(endpoint: WebhookEndpoint, **fields: Any) -> WebhookEndpoint:
    """Any change enables the endpoint again."""
    return endpoint.replace(**fields, revision=endpoint.revision + 1, updated_at=time.time())


def with_secret(gateway: Gateway, endpoint: WebhookEndpoint) -> Response:
    """The one answer that shows the secret."""
    secret = keys.secret_of_endpoint(gateway.settings.webhook_secret, endpoint)
    view = EndpointWithSecret(**endpoint_view(gateway, endpoint).model_dump(), signing_secret=secret)
    return JSONResponse(view.model_dump(mode="json"))


def page_of(listed: list[Listed], after: str | None, limit: int) -> tuple[list[Listed], bool]:
    """A page, and whether there is more. Raises `Problem` for a mark that is none."""
    ids = [each.id for each in listed]
    if after is not None and after not in ids:
        raise Problem("invalid_value", f"after = {shorten(after)}: there is no such id", "after")
    begin = 0 if after is None else ids.index(after) + 1
    return listed[begin : begin + limit], len(listed) > begin + limit


@router.post(
    "/webhook_endpoints", name="webhooks", response_model=EndpointWithSecret, summary="Hear of your videos",
    openapi_extra=body_of(NewEndpoint.model_json_schema()),
)  # fmt: skip
async def create_endpoint(request: Request, gateway: TheGateway, tenant: Tenant) -> Response:
    """The signing secret is shown in this answer and in no other."""
    wanted = await asked(request, NewEndpoint)
    check_url(gateway, wanted.url)
    if len(gateway.hooks.of(tenant)) >= MOST_ENDPOINTS:
        raise Problem("too_many_endpoints", f"a tenant has at most {MOST_ENDPOINTS} webhook endpoints")
    now = time.time()
    endpoint = WebhookEndpoint(
        id=f"we_{secrets.token_hex(16)}", tenant=tenant, created_at=now, updated_at=now, **wanted.model_dump()
    )
    return with_secret(gateway, await kept(gateway, endpoint))


@router.get("/webhook_endpoints", name="webhooks", response_model=EndpointList, summary="Your endpoints, newest first")
async def list_endpoints(gateway: TheGateway, tenant: Tenant, after: After = None, limit: Limit = 20) -> Response:
    page, has_more = page_of(gateway.hooks.of(tenant), after, limit)
    answer = EndpointList(data=[endpoint_view(gateway, each) for each in page], has_more=has_more)
    return JSONResponse(answer.model_dump(mode="json"))


@router.get(PLACE, name="webhooks", response_model=EndpointView, summary="One endpoint")
async def retrieve_endpoint(endpoint_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    return JSONResponse(endpoint_view(gateway, found(gateway, tenant, endpoint_id)).model_dump(mode="json"))


@router.post(
    PLACE, name="webhooks", response_model=EndpointView, summary="Change an endpoint",
    openapi_extra=body_of(ChangedEndpoint.model_json_schema(), required=False),
)  # fmt: skip
async def update_endpoint(endpoint_id: str, request: Request, gateway: TheGateway, tenant: Tenant) -> Response:
    """One that was disabled is enabled again."""
    wanted = (await asked(request, ChangedEndpoint)).model_dump(exclude_none=True)
    check_url(gateway, wanted.get("url", found(gateway, tenant, endpoint_id).url))
    async with gateway.lock_of(endpoint_id):
        endpoint = await kept(gateway, changed(found(gateway, tenant, endpoint_id), **wanted))
    return JSONResponse(endpoint_view(gateway, endpoint).model_dump(mode="json"))


@router.delete(PLACE, name="webhooks", response_model=DeletedEndpoint, summary="Forget an endpoint")
async def delete_endpoint(endpoint_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    """What was still on its way there is dropped."""
    async with gateway.lock_of(endpoint_id):
        endpoint = found(gateway, tenant, endpoint_id)
        await gateway.intake.keep(ENDPOINTS, endpoint.id, None)
        gateway.hooks.remove(endpoint.id)
    return JSONResponse(DeletedEndpoint(id=endpoint.id).model_dump())


@router.post(
    f"{PLACE}/rotate_secret", name="webhooks", response_model=EndpointWithSecret, summary="Another signing secret",
    openapi_extra=body_of(Rotation.model_json_schema(), required=False, kinds=("application/json",)),
)  # fmt: skip
async def rotate_secret(endpoint_id: str, request: Request, gateway: TheGateway, tenant: Tenant) -> Response:
    """If it is asked for, the old secret signs beside the new one for 24 hours."""
    overlap = (await asked(request, Rotation)).keep_old_secret_active_for_24_hours
    until = time.time() + OVERLAP_S if overlap else None
    async with gateway.lock_of(endpoint_id):
        endpoint = found(gateway, tenant, endpoint_id)
        rotated = changed(endpoint, generation=endpoint.generation + 1, former_secret_until=until)
        return with_secret(gateway, await kept(gateway, rotated))


@router.post(
    f"{PLACE}/test", name="webhooks", response_model=SampleResult, summary="Send a sample",
    openapi_extra=body_of(Sample.model_json_schema(), required=False),
)  # fmt: skip
async def test_endpoint(endpoint_id: str, request: Request, gateway: TheGateway, caller: TheCaller) -> Response:
    """Answered with the status that the receiver gave: it is tried once."""
    tenant = caller.tenant
    kind = (await asked(request, Sample)).event_type
    endpoint = found(gateway, tenant, endpoint_id)
    gateway.rates.webhook(tenant)
    delivery = f"whd_{secrets.token_hex(16)}"
    await request_delivery(gateway, endpoint, delivery, kind)

    async def attempted() -> bool:
        return bool((known := gateway.hooks.delivery(endpoint.id, delivery)) and known.log)

    if not await gateway.until(caller, delivery, attempted, gateway.settings.webhook_timeout_s + NOTIFIED_WITHIN_S):
        raise away("the notifier")
    sent = gateway.hooks.delivery(endpoint.id, delivery)
    if sent is None or sent.log[-1].status is None:
        why = sent.log[-1].error if sent else "it was deleted"
        raise Problem("webhook_unanswered", f"the receiver gave no answer: {why}", "url")
    answer = SampleResult(event_type=kind, status_code=sent.log[-1].status, webhook_endpoint_id=endpoint.id)
    return JSONResponse(answer.model_dump(mode="json"))


async def request_delivery(gateway: Gateway, endpoint: WebhookEndpoint, delivery: str, kind: str | None) -> None:
    request = DeliveryRequested(
        id=f"whr_{secrets.token_hex(16)}", tenant=endpoint.tenant, endpoint=endpoint.id, at=time.time(),
        delivery=delivery, type=kind,
    )  # fmt: skip
    await gateway.intake.keep(WEBHOOKS, request.id, request)


@router.get(
    f"{PLACE}/deliveries", name="webhooks", response_model=DeliveryList, summary="The latest deliveries, newest first"
)
async def list_deliveries(
    endpoint_id: str, gateway: TheGateway, tenant: Tenant, after: After = None, limit: Limit = 20
) -> Response:
    return deliveries(gateway, found(gateway, tenant, endpoint_id).id, after, limit)


@router.get(
    "/videos/{video_id}/deliveries", name="webhooks", response_model=DeliveryList,
    summary="What went to the `webhook_url` of a video",
)  # fmt: skip
async def list_deliveries_of_video(
    video_id: str, gateway: TheGateway, tenant: Tenant, after: After = None, limit: Limit = 20
) -> Response:
    row = await gateway.row(tenant, video_id)
    return deliveries(gateway, row.state.job, after, limit)


def deliveries(gateway: Gateway, log: str, after: str | None, limit: int) -> Response:
    page, has_more = page_of(gateway.hooks.log_of(log), after, limit)
    answer = DeliveryList(data=[delivery_view(each) for each in page], has_more=has_more)
    return JSONResponse(answer.model_dump(mode="json"))


@router.post(
    f"{PLACE}/deliveries/{{delivery_id}}/redeliver", name="webhooks", response_model=DeliveryView, status_code=202,
    summary="Make a delivery again",
)  # fmt: skip
async def redeliver(endpoint_id: str, delivery_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    """Under the same `webhook-id`, from the begin of the schedule. Answered with what the log says so far."""
    endpoint = found(gateway, tenant, endpoint_id)
    delivery = gateway.hooks.delivery(endpoint.id, delivery_id)
    if delivery is None:
        message = f"there is no delivery {shorten(delivery_id)} to {endpoint.id}"
        raise Problem("webhook_delivery_not_found", message, "delivery_id")
    gateway.rates.webhook(tenant)
    await request_delivery(gateway, endpoint, delivery.id, None)
    return JSONResponse(delivery_view(delivery).model_dump(mode="json"), status_code=202)


@router.get("/webhook_event_types", name="webhooks", summary="What an endpoint can hear of")
async def list_event_types(tenant: Tenant) -> Response:
    return JSONResponse({"object": "list", "data": EVENT_TYPES})


@router.get(
    "/webhooks/default/secret", name="webhooks", response_model=SigningSecret,
    summary="The secret that signs what goes to a `webhook_url`",
)  # fmt: skip
async def default_secret(gateway: TheGateway, tenant: Tenant) -> Response:
    """Of your tenant: it stays the same until it is rotated."""
    return shown(gateway, gateway.hooks.secret_of(tenant))


@router.post(
    "/webhooks/default/rotate_secret", name="webhooks", response_model=SigningSecret,
    summary="Another secret for what goes to a `webhook_url`",
    openapi_extra=body_of(Rotation.model_json_schema(), required=False, kinds=("application/json",)),
)  # fmt: skip
async def rotate_default_secret(request: Request, gateway: TheGateway, tenant: Tenant) -> Response:
    """If it is asked for, the old secret signs beside the new one for 24 hours."""
    overlap = (await asked(request, Rotation)).keep_old_secret_active_for_24_hours
    async with gateway.lock_of(tenant_key(tenant)):
        rotated = gateway.hooks.secret_of(tenant).rotated(time.time(), overlap)
        await gateway.intake.keep(ENDPOINTS, tenant_key(tenant), rotated)
        gateway.hooks.put_secret(rotated)
    return shown(gateway, rotated)


def shown(gateway: Gateway, secret: TenantSecret) -> Response:
    key = keys.secret_of_tenant(gateway.settings.webhook_secret, secret.tenant, secret.generation)
    until = secret.former_secret_until
    active = int(until) if until is not None and time.time() < until else None
    return JSONResponse(SigningSecret(key=key, former_active_until=active).model_dump(mode="json"))
