"""`/videos/{id}/content`: the finished files, seekable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from gateway.api_keys import Caller, Keys
from gateway.byte_ranges import Span, Unsatisfiable, span_of
from gateway.content_delivery import CACHE, disposition
from gateway.dependencies import Gateway, TheCaller, TheGateway
from gateway.problems import CODES, Problem, not_built
from gateway.read_model.rows import Row
from schemas import store_layout
from schemas.digest import sha256
from schemas.errors import shorten
from schemas.events.artifacts import ObjectRef
from schemas.job import JobState, JobStatus
from schemas.stage import Stage

FILES = {"video": ".mp4", "thumbnail": ".webp", "spritesheet": ".jpg"}
"""Variants that a completed job has for good, by the ends of their names."""
LIVE = {"preview": "image/webp", "manifest": "application/json"}
"""Small ones that are read whole, since they may change: the last preview, and what the files are, with digests."""

router = APIRouter(prefix="/v1", tags=["videos"])


@router.head("/videos/{video_id}/content", name="content", include_in_schema=False)
@router.get(
    "/videos/{video_id}/content", name="content", summary="The finished file", response_class=Response,
    responses={200: {"content": {kind: {} for kind in ("video/mp4", "image/webp", "image/jpeg", "application/json")}},
               206: {}, 302: {}, 304: {}, 416: {"description": CODES["range_not_satisfiable"][1]}},
)  # fmt: skip
async def video_content(
    video_id: str,
    request: Request,
    gateway: TheGateway,
    caller: TheCaller,
    variant: Annotated[str, Query(description="video, thumbnail, spritesheet, preview or manifest")] = "video",
    delivery: Annotated[
        Literal["proxy", "redirect"] | None,
        Query(description="`proxy`: where this server is set to redirect, through it all the same"),
    ] = None,
) -> Response:
    """Through the gateway, with ranges, or as a redirect to a signed link to the store.

    A spritesheet is a jpeg of up to 25 frames, evenly spread, 5 a row. A preview shows what a denoise is becoming;
    `preview_step` says that there is one.
    """
    row = await gateway.row(caller.tenant, video_id)
    if variant in LIVE:
        return await live(gateway, row, variant)
    ref, filename = ref_of(row.state, variant), row.state.job + FILES.get(variant, "")
    if request.method == "GET" and chosen(delivery, gateway.settings.gateway_delivery) == "redirect":
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
    return StreamingResponse(while_valid(gateway.keys, caller, pieces), status, headers, ref.media_type)


class KeyRevoked(Exception):
    """The connection is cut: its answer has promised more bytes than it will have."""


def while_valid(keys: Keys, caller: Caller, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Raises `KeyRevoked` instead of the next piece."""
    for piece in pieces:
        if not keys.is_valid(caller):
            raise KeyRevoked(f"the API key of a download of tenant {caller.tenant} was revoked")
        yield piece


def chosen(asked: str | None, offered: str) -> str:
    """How a file goes out. Raises `Problem` for a link to the store where the operator keeps it from clients."""
    if asked == "redirect" != offered:
        message = "delivery = redirect: this server hands out no links to its store; leave it out, or say proxy"
        raise Problem("invalid_value", message, "delivery")
    return asked or offered


def ref_of(state: JobState, variant: str) -> ObjectRef:
    """Raises `Problem` 404; never 409, which clients would try again."""
    if variant == "hls":
        raise not_built("streaming by HLS")
    if variant not in FILES:
        message = f"variant = {shorten(variant)}: there are {', '.join((*FILES, *LIVE))}"
        raise Problem("variant_not_available", message, "variant")
    if state.status.ended and state.status is not JobStatus.COMPLETED:
        raise Problem("video_failed", "this video has failed; `error` of the video says why", "video_id")
    if state.video is None:
        raise Problem("video_not_ready", "this video is not finished yet", "video_id")
    found = {"video": state.video, "thumbnail": state.poster, "spritesheet": state.spritesheet}[variant]
    if found is None:
        raise Problem("variant_not_available", f"this video was made without a {variant}", "variant")
    return found


async def live(gateway: Gateway, row: Row, variant: str) -> Response:
    """Raises `Problem`."""
    key = preview_key(row) if variant == "preview" else manifest_key(row.state)
    data = await run_in_threadpool(gateway.delivery.whole, key)
    headers = {"etag": f'"{sha256(data)}"', "cache-control": "private, no-cache"}
    return Response(data, media_type=LIVE[variant], headers=headers)


def preview_key(row: Row) -> str:
    if row.preview_step is None:
        raise Problem("variant_not_available", "there is no preview of this video, or not yet", "variant")
    return store_layout.preview(row.state.tenant, row.state.job)


def manifest_key(state: JobState) -> str:
    ref_of(state, "video")
    return f"{store_layout.folder(state.tenant, Stage.MUX, '', state.job)}/{store_layout.MANIFEST}"


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
