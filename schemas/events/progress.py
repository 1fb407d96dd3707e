"""A finished denoise step, for whoever watches."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.stage import Stage


class StepProgress(Frozen):
    """Step k of n of a stage; best effort."""

    job: str
    tenant: str
    stage: Stage
    lease: int
    step: int
    steps: int
    step_seconds: float | None = None
    preview_step: int | None = Field(None, description="the step that the preview in the store shows")
