"""What can go wrong for a client of the gateway, in the error shape of OpenAI's API.

`{"error": {"message", "type", "code", "param"}}`, with `x-should-retry` on every one, since the official client
retries 408, 409, 429 and 5xx by itself unless it is told not to.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from schemas.errors import InvalidJob, legible, shorten

CODES: dict[str, tuple[int, str]] = {
    "invalid_value": (400, "a field has a value that it cannot have; the message names the nearest that it can"),
    "missing_required_parameter": (400, "a field that is needed is missing"),
    "unknown_parameter": (400, "there is no such field"),
    "unsupported_parameter": (400, "a field that other servers of this API know and this one does not"),
    "too_many_endpoints": (400, "a tenant has as many webhook endpoints as it may"),
    "invalid_json": (400, "the body, or a field that holds JSON, is none"),
    "invalid_request": (400, "the request cannot be read"),
    "invalid_api_key": (401, "no key, or one that is unknown or revoked"),
    "development_key": (403, "the key that everybody knows, in a request that may come from another machine or page"),
    "not_found": (404, "there is no such route"),
    "video_not_found": (404, "there is no such video, or it is deleted, or another tenant's"),
    "video_not_ready": (404, "its content does not exist yet"),
    "video_failed": (404, "its content will never exist: `error` of the video says why"),
    "webhook_endpoint_not_found": (404, "there is no such endpoint, or it is another tenant's"),
    "webhook_delivery_not_found": (404, "there is no such delivery, or it is no longer remembered"),
    "variant_not_available": (404, "there is no such variant of the content"),
    "content_lost": (404, "the store has lost the file"),
    "model_not_found": (404, "the line has no such model"),
    "method_not_allowed": (405, "the route has no such method"),
    "request_timeout": (408, "the body did not arrive in time"),
    "request_too_large": (413, "the body has too many bytes"),
    "unsupported_media_type": (415, "the body is neither JSON nor a form"),
    "range_not_satisfiable": (416, "the range begins beyond the end"),
    "idempotency_key_reused": (422, "the key was used before with another body"),
    "idempotency_key_bound": (422, "the video of this key was deleted"),
    "webhook_unanswered": (424, "the receiver of a test gave no answer"),
    "rate_limit_exceeded": (429, "a tenant asks more often than it may"),
    "too_many_streams": (429, "a tenant has too many event streams open"),
    "internal_error": (500, "a fault of this server; it is logged"),
    "not_implemented": (501, "something of this API that this server does not do"),
    "starting": (503, "the gateway is still reading what there is"),
    "temporarily_unavailable": (503, "the broker or the store does not answer"),
}
"""Every code with its status and its meaning."""

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorDetail(BaseModel):
    message: str
    type: str
    code: str
    param: str | None = Field(description="the field, parameter or header that is wrong")


class ErrorAnswer(BaseModel):
    error: ErrorDetail


ANSWERS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "what is asked for cannot be done: `code` says why"},
    "5XX": {"model": ErrorAnswer, "description": "this server cannot do it now, or at all"},
}
"""Every route's, for the OpenAPI document."""


class Problem(Exception):
    """An answer that is no success. `param` names the field; `retry_after` is seconds, None: do not try again."""

    def __init__(
        self, code: str, message: str, param: str | None = None, retry_after: int | None = None,
        headers: dict[str, str] | None = None, status: int | None = None,
    ) -> None:  # fmt: skip
        self.code, self.status = code, status or CODES[code][0]
        self.message, self.param = legible(message), param and legible(param)
        self.retry_after, self.more = retry_after, headers or {}
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code, "param": self.param}}

    @property
    def headers(self) -> dict[str, str]:
        again = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return {"x-should-retry": "false" if self.retry_after is None else "true", **again, **self.more}


def not_found(video: str) -> Problem:
    """Also for another tenant's job: who may not see it learns nothing of it."""
    return Problem("video_not_found", f"there is no video {shorten(video)}", "video_id")


def away(what: str) -> Problem:
    return Problem("temporarily_unavailable", f"{what} does not answer; try again", retry_after=2)


def not_built(what: str) -> Problem:
    return Problem("not_implemented", f"{what} is not something that this server does")


def impossible(error: InvalidJob) -> Problem:
    """The line's own verdict on a prompt, in its own words."""
    if error.field == "model":
        return Problem("model_not_found", str(error), "model")
    return Problem(error.code, str(error), error.field)


LONGEST_NAME = 80
"""Characters of a field's name that are said back: it may be the caller's own."""


def malformed(error: ValidationError) -> Problem:
    """The first field that is missing or wrong."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part)[:LONGEST_NAME] for part in first["loc"])
    if first["type"] == "missing":
        return Problem("missing_required_parameter", f"{field} is missing", field)
    if first["type"] == "extra_forbidden":
        return Problem("unknown_parameter", f"there is no parameter {field}", field)
    return Problem("invalid_value", f"{field} = {shorten(first['input'])}: {first['msg']}", field)
