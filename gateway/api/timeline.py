"""What happened to a job, in order, from its state."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from schemas.job import JobState


class Moment(BaseModel):
    """`at`: unix seconds. `seconds` of compute."""

    at: float
    what: str
    stage: str | None = None
    worker: str | None = None
    seconds: float | None = None
    message: str | None = None


class Timeline(BaseModel):
    object: Literal["list"] = "list"
    data: list[Moment]


def timeline_of(state: JobState) -> Timeline:
    """Acceptance, every attempt that has ended, the one that runs, the end."""
    moments = [Moment(at=state.accepted_at, what="accepted")]
    for past in state.attempts:
        message = past.error.message if past.error else None
        begun = Moment(at=past.dispatched_at, what="dispatched", stage=str(past.stage), worker=past.worker)
        ended = begun.model_copy(
            update={"at": past.ended_at, "what": past.outcome, "seconds": past.seconds, "message": message}
        )
        moments += [begun, ended]
    if lease := state.lease:
        what = "dispatched" if lease.started_at is None else "running"
        moments.append(Moment(at=lease.dispatched_at, what=what, stage=str(lease.stage), worker=lease.worker))
    if state.ended_at is not None:
        message = state.error.message if state.error else state.cancel_reason
        moments.append(Moment(at=state.ended_at, what=str(state.status), message=message))
    return Timeline(data=moments)
