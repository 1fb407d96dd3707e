"""The catalogue: one small record of every finished video, in the compacted topic `videos`, for as long as it lives.

A job is remembered for days after its end, its video for as long as it is kept. The record has what finding, showing,
expiring and deleting the video takes, and no word of its prompt.
"""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.events import Name, ObjectRef
from schemas.job import JobState, JobStatus
from schemas.retention import Retention

FILLED = "filled"
"""The key of `CatalogueFilled`: no job is called that."""


class VideoRecord(Frozen):
    """A finished video. Its tombstone says that it is deleted or expired, and that its objects are gone."""

    job: str
    tenant: Name
    body_digest: str = Field(description="of the prompt event: another body under the same id is a conflict")
    accepted_at: float
    completed_at: float
    retention: Retention | None = Field(None, description="unset: of before there were classes; kept")
    expires_at: float | None = Field(None, description="unset: kept until somebody deletes it")
    model: str = ""
    size: str = Field("", description="WIDTHxHEIGHT in pixels")
    duration_s: float = Field(0.0, ge=0)
    video: ObjectRef
    poster: ObjectRef | None = None
    spritesheet: ObjectRef | None = None

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        return tuple(ref for ref in (self.video, self.poster, self.spritesheet) if ref is not None)

    @property
    def state(self) -> JobState:
        """What is left to say of the job once the line has forgotten it."""
        return JobState(
            job=self.job, tenant=self.tenant, version=1, status=JobStatus.COMPLETED, body_digest=self.body_digest,
            accepted_at=self.accepted_at, updated_at=self.completed_at, ended_at=self.completed_at,
            retention=self.retention, expires_at=self.expires_at, video=self.video, poster=self.poster,
            spritesheet=self.spritesheet,
        )  # fmt: skip


class CatalogueFilled(Frozen):
    """Every video of before there was a catalogue has its record: from now on one without a record is an orphan."""

    at: float


def record_of(state: JobState) -> VideoRecord | None:
    """The record of a completed job; None of another one, or of one without a video."""
    if state.status is not JobStatus.COMPLETED or state.video is None or state.ended_at is None:
        return None
    recipe = state.recipe
    return VideoRecord(
        job=state.job,
        tenant=state.tenant,
        body_digest=state.body_digest,
        accepted_at=state.accepted_at,
        completed_at=state.ended_at,
        retention=state.retention,
        expires_at=state.expires_at,
        model=recipe.model if recipe else "",
        size=f"{recipe.width}x{recipe.height}" if recipe else "",
        duration_s=recipe.seconds if recipe else 0.0,
        video=state.video,
        poster=state.poster,
        spritesheet=state.spritesheet,
    )
