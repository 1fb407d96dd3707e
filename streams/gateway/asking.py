"""The body of a create: JSON or a form, one table of fields for both.

The official client sends JSON up to 2.26 and forms from 2.28 on, where everything is text and nested values have
bracketed keys: `metadata[order]=7`, `tags[]=a`. A field means the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Request
from pydantic import ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from schemas.base import Frozen, Whole
from schemas.digest import digest
from schemas.errors import shorten
from schemas.events import Metadata, PromptSubmitted
from schemas.webhooks import Url
from streams.gateway.problems import Problem, malformed

JSON, FORMS = "application/json", ("multipart/form-data", "application/x-www-form-urlencoded")
KEY = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")
DEEPEST, MOST_FIELDS, LARGEST_FIELD = 4, 100, 1024 * 1024

NOT_SUPPORTED = {
    "input_reference": "the models of this line are asked in words alone",
    "image_reference": "the models of this line are asked in words alone",
    "guidance_scale_2": "no model of this line has a second guidance",
    "flow_shift": "it belongs to the model here",
    "lora": "no model of this line takes one",
    "deadline_s": "there are no deadlines yet",
}
"""What other servers of this API take, and why it is refused here instead of ignored."""


class CreateVideo(Frozen):
    """What a client may ask for. Only `prompt` is required; the rest becomes the model's default."""

    # A number in a form is text: `metadata[order]=7` and {"order": 7} are the same.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    prompt: str
    model: str | None = Field(None, max_length=128)
    seconds: float | None = Field(None, description="becomes the nearest length that the model makes", examples=["2"])
    size: str | None = Field(None, description="WIDTHxHEIGHT in pixels", examples=["64x64"])
    width: Whole | None = Field(None, description="with `height`, instead of `size`")
    height: Whole | None = None
    negative_prompt: str | None = None
    seed: Whole | None = Field(None, description="unset: another one for each video")
    num_inference_steps: Whole | None = None
    guidance_scale: float | None = None
    scheduler: str | None = Field(None, max_length=64)
    fps: Whole | None = None
    num_frames: Whole | None = Field(None, description="wins over seconds")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    metadata: Metadata = Field({}, description="comes back with the video")
    webhook_url: Url | None = Field(None, description="hears of the end, signed with the secret of your tenant")
    user: str | None = Field(None, max_length=512, description="your user; kept as metadata")

    @property
    def fingerprint(self) -> str:
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    def event(self, tenant: str, key: str) -> PromptSubmitted:
        """The prompt event. Raises `Problem`."""
        fields = self.model_dump(exclude={"width", "height", "user", "size", "metadata"}, exclude_none=True)
        metadata = self.metadata | ({} if self.user is None else {"user": self.user})
        try:
            return PromptSubmitted(
                **fields, tenant=tenant, idempotency_key=key, size=self._size(), metadata=metadata
            )  # fmt: skip
        except ValidationError as error:
            raise malformed(error) from None

    def _size(self) -> str | None:
        if self.width is None and self.height is None:
            return self.size
        missing = "height" if self.height is None else "width" if self.width is None else None
        if missing:
            raise Problem("missing_required_parameter", "width and height come together, or as size", missing)
        asked = f"{self.width}x{self.height}"
        if self.size not in (None, asked):
            raise Problem("invalid_value", f"size = {self.size}: width and height say {asked}", "size")
        return asked


async def asked_in(request: Request) -> CreateVideo:
    """Raises `Problem`."""
    return asked_by(await fields_of(request))


def asked_by(fields: dict[str, Any]) -> CreateVideo:
    """The request that these fields make; what is null is unset. Raises `Problem`."""
    given = {name: value for name, value in merged(fields).items() if value is not None}
    for name, why in NOT_SUPPORTED.items():
        if name in given:
            raise Problem("unsupported_parameter", f"{name} is not supported: {why}", name)
    try:
        return CreateVideo.model_validate(given)
    except ValidationError as error:
        raise malformed(error) from None


def merged(fields: dict[str, Any]) -> dict[str, Any]:
    """With what stands in `extra_params`: an object, or its JSON as text."""
    more = fields.get("extra_params")
    if more is None:
        return {name: value for name, value in fields.items() if name != "extra_params"}
    parsed = parsed_json(more.encode(), "extra_params") if isinstance(more, str) else more
    if not isinstance(parsed, dict):
        raise Problem("invalid_value", "extra_params must be a JSON object", "extra_params")
    return parsed | {name: value for name, value in fields.items() if name != "extra_params"}


async def fields_of(request: Request) -> dict[str, Any]:
    """The body as an object. Raises `Problem`: 415 for what is neither JSON nor a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if encoding := request.headers.get("content-encoding"):
        raise Problem("unsupported_media_type", f"content-encoding = {shorten(encoding)}: a body comes as it is")
    if kind == JSON:
        body = parsed_json(await request.body())
        if not isinstance(body, dict):
            raise Problem("invalid_json", "the body must be a JSON object")
        return body
    if kind in FORMS:
        refuse_other_encodings(kind, await request.body())
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD) as form:
            return folded(form.multi_items())
    raise Problem("unsupported_media_type", f"a body is {JSON} or {FORMS[0]}, not {kind or 'without a type'}")


def refuse_other_encodings(kind: str, body: bytes) -> None:
    """Raises `Problem`. The parser of forms would make other letters of what is not UTF-8, and not say so."""
    if kind == FORMS[0] and b"filename" in body:
        # A file has any bytes, and no field takes one: what is asked for is refused by its name.
        return
    try:
        (unquote_to_bytes(body) if kind == FORMS[1] else body).decode()
    except UnicodeDecodeError as error:
        raise Problem("invalid_request", f"the form is not UTF-8: {error.reason} at byte {error.start}") from None


def parsed_json(body: bytes, param: str | None = None) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("invalid_json", f"{param or 'the body'} is not JSON: {error}", param) from None


def folded(pairs: Iterable[tuple[str, str | UploadFile]]) -> dict[str, Any]:
    """Bracketed keys as nested values. A file stays one: no field takes it for its text."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        path = [part.strip("[]") for part in KEY.findall(key)]
        if "".join(KEY.findall(key)) != key or not path or not path[0] or len(path) > DEEPEST:
            raise Problem("unknown_parameter", f"there is no parameter {key[:80]!r}", key[:80])
        put(fields, path, value, key)
    return fields


def put(fields: dict[str, Any], path: list[str], value: str | UploadFile, key: str) -> None:
    inner: Any = fields
    for part, following in pairwise(path):
        inner = inner.setdefault(part, [] if following == "" else {}) if isinstance(inner, dict) else None
    if isinstance(inner, list) and path[-1] == "":
        inner.append(value)
    elif isinstance(inner, dict) and path[-1] != "" and not isinstance(inner.get(path[-1]), dict | list):
        inner[path[-1]] = value
    else:
        raise Problem("invalid_value", f"{key[:80]} contradicts another field of the form", path[0])
