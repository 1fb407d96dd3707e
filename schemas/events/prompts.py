"""What services ask for: prompts, cancels and deletes, on the public topic `prompts`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.base import Frozen, Whole
from schemas.bounds import MOST_METADATA
from schemas.digest import digest
from schemas.field_types import Name, Seed, Text, few, unbroken, without_nulls
from schemas.printable import one_plain_line, plain_lines
from schemas.recipe import FeatureCache
from schemas.stage import STAGES, Stage

LONGEST_URL = 2048
"""Characters."""
MetadataName = Annotated[str, Field(max_length=64), AfterValidator(unbroken), AfterValidator(one_plain_line)]
"""As long as OpenAI takes them: a job carries them through its whole life."""
MetadataValue = Annotated[str, Field(max_length=512, coerce_numbers_to_str=True), AfterValidator(plain_lines)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=MOST_METADATA), few(MOST_METADATA)]
Reason = Annotated[str, Field(max_length=512), AfterValidator(one_plain_line)]
Runs = dict[Stage, Annotated[int, Field(ge=1, lt=2**31)]]


class Asked(Frozen):
    """What others write to the line: a field that is null is unset."""

    @model_validator(mode="before")
    @classmethod
    def _unset(cls, fields: Any) -> Any:
        return without_nulls(fields)


class PromptSubmitted(Asked):
    """Please make a video. Only `prompt` is required; what is unset, or null, becomes the bundle's default."""

    prompt: Text
    tenant: Name = "default"
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=256, description="unset: the event's ce_source and ce_id"
    )
    model: str | None = Field(None, max_length=128)
    negative_prompt: Text | None = None
    size: Text | None = Field(None, description="WIDTHxHEIGHT in pixels", examples=["832x480"])
    width: Whole | None = Field(None, description="with `height`, instead of `size`")
    height: Whole | None = None
    seconds: float | None = Field(None, description="nearest valid frame count to seconds x fps + 1")
    num_frames: Whole | None = Field(None, description="wins over seconds")
    fps: Whole | None = None
    num_inference_steps: Whole | None = None
    guidance_scale: float | None = None
    scheduler: str | None = Field(None, max_length=64)
    cache: Annotated[FeatureCache, BeforeValidator(without_nulls)] | None = Field(
        None, description="faster and less exact; unset: no feature cache"
    )
    seed: Seed | None = Field(None, description="0 to 2^64 - 1; unset, or -1: derived from the job id")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    metadata: Metadata = {}
    exact: bool | None = Field(
        None, description="true: fail where memory is too small, rather than decode in tiles, which changes pixels"
    )
    runs: Annotated[Runs, few(len(STAGES))] | None = Field(
        None, description="run numbers: such a stage, and all after it, take no output from any other run"
    )
    webhook_url: str | None = Field(
        None, max_length=LONGEST_URL, pattern=r"^https?://[\x21-\x7e]+$", description="hears of the end of this job"
    )
    retention: str | None = Field(
        None,
        max_length=32,
        description="ephemeral (1 day), standard (30 days), keep; unset: the tenant's, or standard",
    )

    @property
    def body_digest(self) -> str:
        """Of what was asked beyond the defaults: a field that a later version adds changes no earlier digest."""
        return digest(self._asked())

    def has_body(self, body_digest: str) -> bool:
        """Whether a job with this `body_digest` was asked for in these words, also where an older release took it."""
        return body_digest == self.body_digest or body_digest in self._older_digests()

    def _asked(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)

    def _older_digests(self) -> list[str]:
        """An older release overlooked width and height, and refused a seed of -1, which is unset here."""
        asked = self._asked()
        bodies = [{name: value for name, value in asked.items() if name not in ("width", "height")}]
        if self.seed is None:
            bodies.append(bodies[0] | {"seed": -1})
        return [digest(body) for body in bodies]


class CancelRequested(Asked):
    """Please stop a job. The job still ends in exactly one completion event, whichever won."""

    job: str = Field(pattern=r"^video_[0-9a-f]{32}$")
    tenant: Name = "default"
    reason: Reason = "asked by the user"


class DeleteRequested(Asked):
    """Please forget a job and its video. One that has not ended is cancelled first; the id stays taken."""

    job: str = Field(pattern=r"^video_[0-9a-f]{32}$")
    tenant: Name = "default"
