"""The routes of `/v1/videos`, as OpenAI's clients call them."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from gateway.api import timeline
from gateway.api.bodies import fields_of
from gateway.api.create import RequestContext, accept, check_hook, create
from gateway.api.create_request import CreateVideo, from_fields, parse_request
from gateway.api.prefer import preferred_wait, waited
from gateway.api_keys import Caller
from gateway.dependencies import Gateway, Tenant, TheCaller, TheGateway
from gateway.problems import Problem, not_built
from gateway.read_model.rows import Row
from gateway.video import DeletedVideo, VideoList, poll_after_ms
from schemas.errors import shorten
from schemas.events.prompts import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.job import JobState
from schemas.video import REMIXED_FROM, Video

CANCEL_SHOWN_WITHIN_S = 2.0
LISTED_WITHIN_S = 1.0
Order = Literal["asc", "desc"]

router = APIRouter(prefix="/v1", tags=["videos"])

FORM = "multipart/form-data"
KINDS = ("application/json", FORM)
CREATE = CreateVideo.model_json_schema()
REMIX = {
    "type": "object", "required": ["prompt"],
    "properties": {name: CREATE["properties"][name] for name in ("prompt", "webhook_url")},
}  # fmt: skip


def body_of(schema: dict[str, Any], required: bool = True, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """The same fields in each encoding, for the OpenAPI document."""
    return {
        "requestBody": {
            "required": required,
            "content": {kind: {"schema": as_form(schema) if kind == FORM else schema} for kind in kinds},
        }
    }


def as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The same fields in a form, in which an empty one is unset."""
    required = schema.get("required", ())
    fields = schema.get("properties", {})
    optional = {name: {"anyOf": [field, {"const": ""}]} for name, field in fields.items() if name not in required}
    return schema | {"properties": fields | optional}


async def answer(gateway: Gateway, row: Row) -> Response:
    video = await gateway.video(row)
    headers = {"openai-poll-after-ms": str(poll_after_ms(video))}
    return Response(video.model_dump_json(), media_type="application/json", headers=headers)


async def made(request: Request, gateway: Gateway, caller: Caller, row: Row) -> Response:
    """What was accepted; with `Prefer: wait=N` what has become of it by then."""
    if (seconds := preferred_wait(request)) is None:
        return await answer(gateway, row)
    response = await answer(gateway, await waited(gateway, caller, row, seconds))
    response.headers["preference-applied"] = f"wait={seconds}"
    return response


@router.post(
    "/videos", name="create", response_model=Video, openapi_extra=body_of(CREATE),
    summary="Ask for a video",
)  # fmt: skip
async def create_video(request: Request, gateway: TheGateway, caller: TheCaller) -> Response:
    """Answered once the line has it for good; with `Prefer: wait=N` once it has ended, within N of at most 60 seconds.
    The same `Idempotency-Key` is the same video."""
    gateway.rates.create(caller.tenant)
    call, asked = RequestContext.of(request, caller.tenant), await parse_request(request)
    return await made(request, gateway, caller, await create(gateway, call, asked))


@router.get("/videos", name="list", response_model=VideoList, summary="Your videos, a page at a time")
async def list_videos(
    gateway: TheGateway,
    tenant: Tenant,
    after: Annotated[str | None, Query(description="id of the last video of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Order, Query(description="by when they were accepted")] = "desc",
) -> Response:
    await until_listed(gateway, tenant)
    mark = await run_in_threadpool(gateway.model.find, after) if after else None
    if after and (mark is None or mark.state.tenant != tenant):
        raise Problem("invalid_value", f"after = {shorten(after)}: there is no such video", "after")
    rows, has_more = await run_in_threadpool(gateway.model.page, tenant, mark, limit, order == "desc")
    data = await gateway.videos(rows)
    ids = {"first_id": data[0].id, "last_id": data[-1].id} if data else {}
    return JSONResponse(VideoList(data=data, has_more=has_more, **ids).model_dump(mode="json"))


async def until_listed(gateway: Gateway, tenant: str) -> None:
    """Who has just created a video finds it in the list, at the place that the line has given it."""
    deadline = time.monotonic() + LISTED_WITHIN_S
    for job in await run_in_threadpool(gateway.model.expected, tenant, time.time() - 2 * LISTED_WITHIN_S):

        async def listed(job: str = job) -> bool:
            row = await run_in_threadpool(gateway.model.find, job)
            return row is None or row.version > 0

        await gateway.changes.until(job, listed, deadline - time.monotonic())


@router.get("/videos/{video_id}", name="retrieve", response_model=Video, summary="How a video gets on")
async def retrieve_video(video_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    return await answer(gateway, await gateway.row(tenant, video_id))


@router.delete("/videos/{video_id}", name="delete", response_model=DeletedVideo, summary="Forget a video")
async def delete_video(video_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    """Its files, its prompt and everything else; one that is not finished is cancelled first."""
    async with gateway.lock_of(video_id):
        row = await gateway.row(tenant, video_id)
        await gateway.intake.accept(DeleteRequested(job=row.state.job, tenant=tenant))
        await run_in_threadpool(gateway.model.hide, row.state.job)
    gateway.changes.tell([row.state.job])
    return JSONResponse(DeletedVideo(id=row.state.job).model_dump())


@router.post("/videos/{video_id}/cancel", name="cancel", response_model=Video, summary="Stop a video")
async def cancel_video(video_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    """It ends as `failed` with the code `cancelled`, within a denoise step; one that has ended stays as it is."""
    row = await gateway.row(tenant, video_id)
    if not row.state.status.ended:
        await gateway.intake.accept(CancelRequested(job=row.state.job, tenant=tenant))

        async def ended() -> bool:
            return (await gateway.row(tenant, video_id)).state.status.ended

        await gateway.changes.until(row.state.job, ended, CANCEL_SHOWN_WITHIN_S)
    return await answer(gateway, await gateway.row(tenant, video_id))


@router.post(
    "/videos/{video_id}/remix", name="remix", response_model=Video, summary="The same video in other words",
    openapi_extra=body_of(REMIX),
)  # fmt: skip
async def remix_video(video_id: str, request: Request, gateway: TheGateway, caller: TheCaller) -> Response:
    """Another prompt with the recipe of an earlier video, its seed included. Its `webhook_url` is its own."""
    tenant = caller.tenant
    gateway.rates.create(tenant)
    call = RequestContext.of(request, tenant)
    parent = (await gateway.row(tenant, video_id)).state
    fields = await fields_of(request)
    if not isinstance(prompt := fields.get("prompt"), str):
        raise Problem("missing_required_parameter", "prompt is missing", "prompt")
    asked = from_fields(
        {"prompt": prompt, "metadata": {REMIXED_FROM: parent.job}, "webhook_url": fields.get("webhook_url")}
    )
    check_hook(gateway, asked)
    key = call.key or gateway.retries.key_of(tenant, asked.fingerprint, call.is_retry)
    return await made(request, gateway, caller, await accept(gateway, remixed(parent, asked, key), call.traceparent))


def remixed(parent: JobState, asked: CreateVideo, key: str) -> PromptSubmitted:
    """Raises `Problem` for a parent that never became a recipe."""
    recipe = parent.recipe
    if recipe is None:
        why = "was made too long ago: what was asked for is forgotten" if parent.video else "was never valid"
        raise Problem("invalid_value", f"that video {why}, and there is nothing to remix", "video_id")
    return PromptSubmitted(
        prompt=asked.prompt, tenant=parent.tenant, idempotency_key=key, model=recipe.model,
        negative_prompt=recipe.negative_prompt, size=f"{recipe.width}x{recipe.height}", num_frames=recipe.num_frames,
        fps=recipe.fps, num_inference_steps=recipe.num_inference_steps, guidance_scale=recipe.guidance_scale,
        scheduler=recipe.scheduler, seed=recipe.seed, priority=parent.priority, metadata=asked.metadata,
        webhook_url=asked.webhook_url,
    )  # fmt: skip


@router.get(
    "/videos/{video_id}/timeline", name="timeline", response_model=timeline.Timeline, summary="What happened to a video"
)
async def video_timeline(video_id: str, gateway: TheGateway, tenant: Tenant) -> Response:
    row = await gateway.row(tenant, video_id)
    return JSONResponse(timeline.timeline_of(row.state).model_dump(mode="json"))


@router.get("/models", name="models", summary="The models of this line, with what each allows")
async def list_models(gateway: TheGateway, tenant: Tenant) -> Response:
    models = [model_of(gateway, name) for name in gateway.bundles]
    return JSONResponse({"object": "list", "data": models})


@router.get("/models/{model}", name="models", summary="One model")
async def retrieve_model(model: str, gateway: TheGateway, tenant: Tenant) -> Response:
    if model not in gateway.bundles:
        raise Problem("model_not_found", f"there is no model {shorten(model)}", "model")
    return JSONResponse(model_of(gateway, model))


def model_of(gateway: Gateway, name: str) -> dict[str, Any]:
    bundle = gateway.bundles[name]
    return {
        "id": name, "object": "model", "created": 0, "owned_by": "latentline",
        "x_latentline": {
            "default": name == gateway.settings.default_model, "revision": bundle.revision,
            "limits": bundle.limits.model_dump(mode="json"), "defaults": bundle.defaults.model_dump(mode="json"),
        },
    }  # fmt: skip


@router.post("/content_provenance_checks", include_in_schema=False)
async def not_checked(tenant: Tenant) -> Response:
    raise not_built("checking provenance")


@router.post("/videos/edits", include_in_schema=False)
@router.post("/videos/extensions", include_in_schema=False)
@router.post("/videos/characters", include_in_schema=False)
@router.get("/videos/characters/{character_id}", include_in_schema=False)
@router.post("/videos/{video_id}/edit", include_in_schema=False)
@router.post("/videos/{video_id}/extend", include_in_schema=False)
async def not_offered(request: Request, tenant: Tenant) -> Response:
    raise not_built("editing, extending and characters")
