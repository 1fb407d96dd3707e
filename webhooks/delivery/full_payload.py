"""The Video object that a full webhook carries: what the gateway says of the job at that moment, as far as an event
tells. Where a job stands in the queue and how long it takes is the gateway's to know."""

from __future__ import annotations

from typing import Any

from schemas.base import construct
from schemas.errors import NoVideo
from schemas.events.artifacts import ArtifactRef
from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed, StageSummary
from schemas.job import JobState, JobStatus, StageState
from schemas.job_progress import percent_of_state
from schemas.stage import STAGES, Stage
from schemas.video import Live, Video, video_of
from schemas.webhooks import CANCELLED, COMPLETED, FAILED

ENDS = {COMPLETED: JobStatus.COMPLETED, FAILED: JobStatus.FAILED, CANCELLED: JobStatus.CANCELLED}
SAMPLE_ERROR = NoVideo("this is a sample").report()


def full_video(subject: JobState | Completion, live: Live | None = None) -> Video:
    """`live`: what is known beside the state; without it the stages that are done say how far the job is."""
    state = state_at(subject) if isinstance(subject, Completion) else subject
    return video_of(state, live or Live(percent_of_state(state)))


def state_at(end: Completion) -> JobState:
    """The last state of a job as far as its completion has it.

    Made of the event alone, so that it is the same whenever the event is read again.
    """
    return JobState(
        job=end.job, tenant=end.tenant, version=1, body_digest="", accepted_at=end.accepted_at,
        updated_at=end.ended_at, ended_at=end.ended_at, recipe=end.recipe, metadata=end.metadata,
        stages={each.stage: stage_at(each, each.stage in done_at(end)) for each in end.stages}, **outcome_of(end),
    )  # fmt: skip


def outcome_of(end: Completion) -> dict[str, Any]:
    if isinstance(end, JobCompleted):
        files = {"video": end.video, "poster": end.poster, "spritesheet": end.spritesheet}
        return {"status": JobStatus.COMPLETED, "expires_at": end.expires_at, **files}
    if isinstance(end, JobFailed):
        return {"status": JobStatus.FAILED, "error": end.error}
    return {"status": JobStatus.CANCELLED, "cancel_reason": end.reason if isinstance(end, JobCancelled) else None}


def done_at(end: Completion) -> tuple[Stage, ...]:
    if isinstance(end, JobFailed | JobCancelled):
        return STAGES[: STAGES.index(end.stage)] if end.stage else ()
    return STAGES


def stage_at(summary: StageSummary, done: bool) -> StageState:
    # Completions do not name artifacts; whether there is one is all that a video shows.
    artifact = construct(ArtifactRef, stage=summary.stage, key="", manifest_key="", etag="") if done else None
    return StageState(
        key="", dispatches=summary.attempts, seconds=summary.seconds, reused=summary.reused, artifact=artifact
    )


def sample_state(job: str, tenant: str, type: str, at: float) -> JobState:
    """A job that never was, as it is when such an event is told."""
    status = ENDS.get(type, JobStatus.RUNNING)
    return JobState(
        job=job, tenant=tenant, version=1, status=status, body_digest="", accepted_at=at, updated_at=at,
        ended_at=at if status.ended else None, stage=STAGES[0], stages={STAGES[0]: StageState(key="", dispatches=1)},
        error=SAMPLE_ERROR if status is JobStatus.FAILED else None,
    )  # fmt: skip
