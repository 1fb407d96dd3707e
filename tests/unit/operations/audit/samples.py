"""What tests of the audit share: a job that keeps every promise, for each test to break one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from operations.audit.jobs import JobsLog
from operations.audit.prompts import Prompt
from operations.audit.report import Violation
from schemas import envelope
from schemas.base import Frozen
from schemas.digest import sha256
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.completions import Completion, JobCancelled, JobCompleted
from schemas.events.prompts import PromptSubmitted
from schemas.job import Attempt, JobState, JobStatus, StageState
from schemas.stage import Stage
from schemas.stage_keys import job_id
from streams.coordinator.core.completion import shared

NOW = 1_800_000_000.0
ASKED = PromptSubmitted(prompt="a red square", tenant="acme", idempotency_key="one")
JOB = job_id("acme", "one")
PLACE = f"videos/acme/{JOB}"
DATA = b"a video"
VIDEO = ObjectRef(name="video", key=f"{PLACE}/v.mp4", size=len(DATA), sha256=sha256(DATA))


def attempt(lease: int, outcome: str = "done", seconds: float = 0.0, worker: str = "w") -> Attempt:
    return Attempt(
        stage=Stage.MUX, lease=lease, worker=worker, outcome=outcome, dispatched_at=NOW, ended_at=NOW, seconds=seconds
    )


def job(**changes: Any) -> JobState:
    """A job that has completed."""
    artifact = ArtifactRef(stage=Stage.MUX, key="key", manifest_key=f"{PLACE}/manifest.json", etag="e")
    state = JobState(
        job=JOB, tenant="acme", version=9, status=JobStatus.COMPLETED, accepted_at=NOW, updated_at=NOW, ended_at=NOW,
        body_digest=ASKED.body_digest, stage=Stage.MUX, video=VIDEO,
        stages={Stage.MUX: StageState(key="key", artifact=artifact, seconds=2.0)}, attempts=(attempt(7, seconds=2.0),),
    )  # fmt: skip
    return state.model_copy(update=changes)


def waiting(**changes: Any) -> JobState:
    return job(status=JobStatus.WAITING, ended_at=None, video=None, attempts=(), **changes)


def completion(state: JobState, **changes: Any) -> Completion:
    fields = shared(state) | changes
    if state.status is JobStatus.COMPLETED:
        return JobCompleted(**{"video": state.video, "seconds": 2.0, "bucket": "b"} | fields)
    return JobCancelled(reason="asked", **fields)


def log_of(*states: JobState) -> JobsLog:
    log = JobsLog()
    for state in states:
        log.take(state.job, state)
    return log


def said(violations: Iterable[Violation]) -> list[str]:
    return [violation.message for violation in violations]


def prompt_of(event: Frozen, offset: int = 3) -> Prompt:
    value, headers = envelope.write(event, id="one", source="test", time=NOW)
    return Prompt(0, offset, value, headers)
