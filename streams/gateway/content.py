"""`/videos/{id}/content`: the finished files, seekable."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from schemas.errors import shorten
from schemas.events import ObjectRef
from schemas.job import JobState, JobStatus
from streams.gateway.delivery import CACHE, disposition
from streams.gateway.gateway import Tenant, TheGateway
from streams.gateway.problems import Problem, not_built
from streams.gateway.ranges import Span, Unsatisfiable, span_of

router = APIRouter(prefix="/v1", tags=["videos"])


@router.head("/videos/{video_id}/content", name="content", include_in_schema=False)
@router.get(
    "/videos/{video_id}/content", name="content", summary="The finished file", response_class=Response,
    responses={200: {"content": {"video/mp4": {}, "image/webp": {}}}, 206: {}, 302: {}, 304: {}, 416: {}},
)  # fmt: skip
async def video_content(
    video_id: str,
    request: Request,
    gateway: TheGateway,
    tenant: Tenant,
    variant: Annotated[str, Query(description="video or thumbnail")] = "video",
    delivery: Annotated[
        Literal["proxy", "redirect"] | None, Query(description="instead of what this server is set to")
    ] = None,
) -> Response:
    """Through the gateway, with ranges, or as a redirect to a signed link to the store."""
    state = (await gateway.row(tenant, video_id)).state
    ref = ref_of(state, variant)
    filename = state.job + (".mp4" if variant == "video" else ".webp")
    if request.method == "GET" and (delivery or gateway.settings.gateway_delivery) == "redirect":
        link = await run_in_threadpool(gateway.delivery.link, ref, filename)
        return RedirectResponse(link, 302, headers={"cache-control": "no-store"})
    headers = headers_of(ref, filename)
    if headers["etag"] in etags(request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    span = wanted_span(request, ref)
    headers |= {"content-length": str(span.length if span else ref.size)}
    headers |= {"content-range": span.of(ref.size)} if span else {}
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=ref.media_type)
    pieces = await run_in_threadpool(gateway.delivery.read, ref, span)
    return StreamingResponse(pieces, status, headers, ref.media_type)


def ref_of(state: JobState, variant: str) -> ObjectRef:
    """Raises `Problem` 404; never 409, which clients would try again."""
    if variant == "hls":
        raise not_built("streaming by HLS")
    if variant not in ("video", "thumbnail"):
        message = f"variant = {shorten(variant)}: there are video and thumbnail"
        raise Problem("variant_not_available", message, "variant")
    if state.status.ended and state.status is not JobStatus.COMPLETED:
        raise Problem("video_failed", "this video has failed; `error` of the video says why", "video_id")
    found = state.video if variant == "video" else state.poster
    if found is None:
        raise Problem("video_not_ready", "this video is not finished yet", "video_id")
    return found


def headers_of(ref: ObjectRef, filename: str) -> dict[str, str]:
    return {
        "accept-ranges": "bytes", "etag": f'"{ref.sha256}"', "cache-control": CACHE,
        "content-disposition": disposition(filename),
    }  # fmt: skip


def etags(header: str | None) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]


def wanted_span(request: Request, ref: ObjectRef) -> Span | None:
    """Raises `Problem` 416. A part of another file than the one the client has is no use: it gets all of this one."""
    condition = request.headers.get("if-range")
    if condition is not None and condition != f'"{ref.sha256}"':
        return None
    try:
        return span_of(request.headers.get("range"), ref.size)
    except Unsatisfiable:
        message = f"the file has {ref.size} bytes"
        headers = {"content-range": f"bytes */{ref.size}"}
        raise Problem("range_not_satisfiable", message, "Range", headers=headers) from None
