"""What a create asks for: one table of fields, however its body spells them."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import Field, ValidationError

from gateway.api.bodies import fields_of, object_of
from gateway.problems import Problem, impossible, malformed
from schemas.base import Frozen, Whole
from schemas.digest import digest
from schemas.errors import InvalidJob
from schemas.events.prompts import Metadata, MetadataValue, PromptSubmitted
from schemas.field_types import Seed, Text
from schemas.limits import asked_size
from schemas.webhooks import Url

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

    prompt: Text
    model: str | None = Field(None, max_length=128)
    seconds: float | None = Field(None, description="becomes the nearest length that the model makes", examples=["2"])
    size: Text | None = Field(None, description="WIDTHxHEIGHT in pixels", examples=["64x64"])
    width: Whole | None = Field(None, description="with `height`, instead of `size`")
    height: Whole | None = None
    negative_prompt: Text | None = None
    seed: Seed | None = Field(None, description="0 to 2^64 - 1; unset, or -1: another one for each video")
    num_inference_steps: Whole | None = None
    guidance_scale: float | None = None
    scheduler: str | None = Field(None, max_length=64)
    fps: Whole | None = None
    num_frames: Whole | None = Field(None, description="wins over seconds")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    metadata: Metadata = Field({}, description="comes back with the video")
    webhook_url: Url | None = Field(None, description="hears of the end, signed with the secret of your tenant")
    retention: str | None = Field(
        None, max_length=32, description="ephemeral (1 day), standard (30 days) or keep; unset: as set for your tenant"
    )
    user: MetadataValue | None = Field(None, description="your user; kept as metadata")

    @property
    def fingerprint(self) -> str:
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    def event(self, tenant: str, key: str) -> PromptSubmitted:
        """The prompt event. Raises `Problem`."""
        fields = self.model_dump(exclude={"width", "height", "user", "size", "metadata"}, exclude_none=True)
        metadata = self.metadata | ({} if self.user is None else {"user": self.user})
        try:
            size = asked_size(self.size, self.width, self.height)
            return PromptSubmitted(**fields, tenant=tenant, idempotency_key=key, size=size, metadata=metadata)
        except InvalidJob as error:
            raise impossible(error) from None
        except ValidationError as error:
            raise malformed(error) from None


async def parse_request(request: Request) -> CreateVideo:
    """Raises `Problem`."""
    return from_fields(await fields_of(request))


def from_fields(fields: dict[str, Any]) -> CreateVideo:
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
    parsed = object_of(more, "extra_params") if isinstance(more, str) else more
    if not isinstance(parsed, dict):
        raise Problem("invalid_value", "extra_params must be a JSON object", "extra_params")
    return parsed | {name: value for name, value in fields.items() if name != "extra_params"}
