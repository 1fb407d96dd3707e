"""How jobs end, for downstream services."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.errors import ErrorReport
from schemas.events.artifacts import ObjectRef
from schemas.recipe import Recipe
from schemas.stage import Stage


class StageSummary(Frozen):
    stage: Stage
    attempts: int
    wait_seconds: float = Field(ge=0)
    seconds: float = Field(ge=0, description="compute seconds of the accepted attempt")
    wasted_seconds: float = Field(0.0, ge=0, description="compute seconds of attempts that gave nothing")
    worker: str | None = None
    reused: bool = False
    resumed_from_step: int | None = None
    unusable_checkpoint_step: int | None = Field(
        None, description="furthest checkpoint there was, of other bit classes alone: the stage started over"
    )
    timings: dict[str, float] = {}


class Completion(Frozen):
    """What all three ends of a job share. `recipe`, what was served, is absent when the prompt never became one."""

    job: str
    tenant: str
    accepted_at: float
    ended_at: float
    recipe: Recipe | None = None
    asked: Recipe | None = Field(None, description="what was asked for, where `recipe` is a variant of it")
    stages: tuple[StageSummary, ...] = ()
    metadata: dict[str, str] = {}
    webhook_url: str | None = Field(None, description="of the prompt")


class JobCompleted(Completion):
    """The video is in the store, until `expires_at`."""

    video: ObjectRef
    poster: ObjectRef | None = None
    expires_at: float | None = Field(None, description="unset: it is kept until somebody deletes it")
    spritesheet: ObjectRef | None = Field(None, description="jpeg: small frames of the video, 5 a row")
    seconds: float = Field(description="duration of the video")
    bucket: str


class JobFailed(Completion):
    """No video: `error` says why, and what would be valid."""

    error: ErrorReport
    stage: Stage | None = None


class JobCancelled(Completion):
    """No video: somebody asked for the job to stop."""

    reason: str
    stage: Stage | None = None
