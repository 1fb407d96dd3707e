"""The Video object: what OpenAI's API says of a job, and under `x_latentline` what this line knows beyond it.

The gateway answers with it, and the notifier sends it to who asks for full payloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from schemas.errors import ErrorKind
from schemas.job import JobState, JobStatus, StageState
from schemas.stage import STAGES, Stage

Status = Literal["queued", "in_progress", "completed", "failed"]
CODES = {"gpu_out_of_memory": "gpu_out_of_memory", "compute_child_died": "gpu_out_of_memory"}


class VideoError(BaseModel):
    code: str
    message: str
    param: str | None = None


class StageView(BaseModel):
    stage: str
    state: Literal["waiting", "running", "done"]
    attempts: int
    seconds: float | None = Field(None, description="compute of the output that counts")
    reused: bool = False


class Extension(BaseModel):
    """What the line knows beyond the contract."""

    stage: str | None = Field(None, description="the stage that runs or waits")
    waiting: bool = Field(False, description="for a worker, or for a retry")
    step: int | None = None
    steps_total: int | None = None
    queue_position: int | None = Field(
        None, description="jobs that come first, while it waits; 1000 where there are more"
    )
    eta_s: tuple[float, float] | None = Field(None, description="seconds of work left: median and 90th percentile")
    attempt: int = Field(0, description="of the present stage, from 1")
    last_retry: str | None = Field(None, description="why the attempt before was not the last")
    stages: list[StageView] = []
    seed: int | str | None = Field(
        None, description="a number up to 2^53 - 1; beyond that decimal digits, since JavaScript has no such numbers"
    )
    num_frames: int | None = None
    fps: int | None = None
    metadata: dict[str, str] = {}
    preview_step: int | None = Field(None, description="the denoise step that the variant `preview` shows")
    variants: list[str] = Field([], description="what `content` has")
    warnings: list[str] = Field([], description="what may not come out as asked, such as words the model does not know")


class Video(BaseModel):
    id: str
    object: Literal["video"] = "video"
    created_at: int = Field(description="unix seconds")
    status: Status
    progress: int = Field(ge=0, le=100, description="percent; never falls; of a failed video where its last stage ends")
    model: str
    prompt: str | None = None
    seconds: str
    size: str
    completed_at: int | None = None
    expires_at: int | None = None
    remixed_from_video_id: str | None = None
    error: VideoError | None = None
    x_latentline: Extension


LARGEST_EXACT = 2**53 - 1
"""What a double holds, which is what a number of JSON becomes in JavaScript."""
REMIXED_FROM = "remixed_from_video_id"
"""Name under which a remix keeps its parent in its metadata."""


def status_of(state: JobState) -> Status:
    """The four words of the contract: clients take any other one as final."""
    if state.status is JobStatus.COMPLETED:
        return "completed"
    if state.status.ended:
        return "failed"
    return "queued" if not any(stage.dispatches for stage in state.stages.values()) else "in_progress"


@dataclass(frozen=True)
class Live:
    """What is known of a job beside its state, by whoever follows it."""

    percent: int
    step: int | None = None
    steps: int | None = None
    queue_position: int | None = None
    eta_s: tuple[float, float] | None = None
    preview_step: int | None = None


def video_of(state: JobState, live: Live, warnings: Sequence[str] = ()) -> Video:
    recipe = state.recipe
    return Video(
        id=state.job,
        created_at=int(state.accepted_at),
        status=status_of(state),
        progress=live.percent if state.status is JobStatus.COMPLETED else min(live.percent, 99),
        model=recipe.model if recipe else "",
        prompt=recipe.prompt if recipe else None,
        seconds=f"{recipe.seconds:g}" if recipe else "0",
        size=f"{recipe.width}x{recipe.height}" if recipe else "",
        completed_at=None if state.ended_at is None else int(state.ended_at),
        expires_at=None if state.expires_at is None else int(state.expires_at),
        remixed_from_video_id=state.metadata.get(REMIXED_FROM),
        error=error_of(state),
        x_latentline=extension_of(state, live, warnings),
    )


def error_of(state: JobState) -> VideoError | None:
    if state.status is JobStatus.CANCELLED:
        return VideoError(code="cancelled", message=state.cancel_reason or "cancelled")
    if state.error is None:
        return None
    if state.error.kind is ErrorKind.INVALID_JOB:
        return VideoError(code="invalid_input", message=state.error.message, param=state.error.field)
    return VideoError(code=CODES.get(state.error.code, "internal_error"), message=state.error.message)


def extension_of(state: JobState, live: Live, warnings: Sequence[str]) -> Extension:
    recipe = state.recipe
    waiting = state.status is JobStatus.WAITING
    present = state.stages.get(state.stage) if state.stage and not state.status.ended else None
    return Extension(
        stage=str(state.stage) if state.stage and not state.status.ended else None,
        waiting=waiting,
        step=live.step,
        steps_total=live.steps,
        queue_position=live.queue_position,
        eta_s=live.eta_s,
        attempt=0 if present is None else present.dispatches + waiting,
        last_retry=None if state.status.ended else last_retry(state),
        stages=[stage_view(state, stage, state.stages[stage]) for stage in STAGES if stage in state.stages],
        seed=recipe and exact_number(recipe.seed),
        num_frames=recipe and recipe.num_frames,
        fps=recipe and recipe.fps,
        metadata=state.metadata,
        preview_step=live.preview_step,
        variants=variants_of(state, live),
        warnings=list(warnings),
    )


def exact_number(value: int) -> int | str:
    """As JSON can carry it to any reader."""
    return value if value <= LARGEST_EXACT else str(value)


def variants_of(state: JobState, live: Live) -> list[str]:
    files = {"video": state.video, "thumbnail": state.poster, "spritesheet": state.spritesheet}
    names = [name for name, ref in files.items() if ref]
    return [*names, *["manifest"][: bool(state.video)], *["preview"][: live.preview_step is not None]]


def stage_view(state: JobState, stage: Stage, record: StageState) -> StageView:
    running = state.lease is not None and state.lease.stage is stage
    done = record.artifact is not None
    word: Any = "done" if done else "running" if running else "waiting"
    return StageView(
        stage=str(stage), state=word, attempts=record.dispatches, seconds=record.seconds if done else None,
        reused=record.reused,
    )  # fmt: skip


def last_retry(state: JobState) -> str | None:
    """In words: which stage was interrupted on which worker, and by what."""
    past = state.attempts[-1] if state.attempts else None
    if past is None or past.outcome == "done" or past.stage != state.stage:
        return None
    return f"{past.stage} {past.outcome} on {past.worker}" + (f": {past.error.message}" if past.error else "")
