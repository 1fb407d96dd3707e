"""Jobs as rows of the read model: put in from a state or a step, read back as `Row`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gateway.read_model.job_record import AnyJob
from schemas.catalogue import VideoRecord
from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus
from schemas.job_progress import percent_of_state


@dataclass(frozen=True)
class Row:
    """A job as the gateway knows it. `step` of `steps` belongs to the lease that runs."""

    state: JobState
    version: int
    percent: int = 0
    hidden: bool = False
    step: int | None = None
    steps: int | None = None
    step_seconds: float | None = None
    preview_step: int | None = None
    """The step that the preview in the store shows, whichever lease made it."""
    ahead: int | None = None
    """Jobs that come first, where they were counted when the row was made."""

    record: VideoRecord | None = None
    """All that there is of a job which the line has forgotten: its video lives on."""

    @property
    def is_visible(self) -> bool:
        state = self.state
        is_expired = state.expires_at is not None and state.expires_at <= time.time()
        return not (self.hidden or state.deleting or is_expired or state.status is JobStatus.DELETED)


def row_of(found: Any) -> Row:
    """`found`: a row of `statements.ROWS`."""
    if found.catalogued:
        record = VideoRecord.read(found.state)
        return Row(record.state, found.version, 100, found.hidden, record=record)
    state = JobState.read(found.state)
    percent = percent_of_state(state)
    if state.status.ended or found.lease is None:
        return Row(state, found.version, percent, found.hidden)
    running = state.lease is not None and state.lease.number == found.lease
    step, steps, seconds = (found.step, found.steps, found.step_seconds) if running else (None, None, None)
    return Row(
        state, found.version, max(percent, found.percent), found.hidden, step, steps, seconds, found.preview_step
    )


def values_of_job(state: AnyJob, data: bytes) -> dict[str, Any]:
    """`data`: the state as bytes."""
    return {
        "job": state.job, "tenant": state.tenant, "version": state.version, "status": str(state.status),
        "stage": state.stage and str(state.stage), "priority": state.priority, "accepted_at": state.accepted_at,
        "hidden": state.deleting, "state": data, "expires_at": state.expires_at, "catalogued": False,
    }  # fmt: skip


def values_of_record(record: VideoRecord) -> dict[str, Any]:
    return values_of_job(record.state, record.to_bytes()) | {"catalogued": True}


def values_of_step(step: StepProgress, percent: int) -> dict[str, Any]:
    return {
        "job": step.job, "percent": percent, "lease": step.lease, "step": step.step, "steps": step.steps,
        "step_seconds": step.step_seconds, "preview_step": step.preview_step,
    }  # fmt: skip
