"""What a webhook says: OpenAI's thin shape, and what Standard Webhooks asks for beside it; or the whole video."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.events.completions import Completion, JobCancelled, JobCompleted
from schemas.job import JobState, JobStatus
from schemas.video import Live
from schemas.webhooks import CANCELLED, COMPLETED, FAILED, STARTED, event_id
from webhooks.delivery.full_payload import full_video

SEQUENCE = {STARTED: 1, COMPLETED: 100, FAILED: 100, CANCELLED: 100}
"""Deliveries come in any order: a receiver drops what has a lower number than what it knows of the video. That of
`video.progress` is its percent, a whole ten."""

THIN_FIELDS = ("id", "sequence")


@dataclass(frozen=True)
class Deletion:
    """A job has been deleted: nothing that its user wrote may stay in a record of ours."""

    job: str


@dataclass(frozen=True)
class JobEvent:
    """Something about a job that somebody may want to hear of."""

    job: str
    tenant: str
    type: str
    at: float
    url: str | None = None
    """The `webhook_url` of its prompt, where that one is to hear of it."""
    percent: int | None = None
    """Of `video.progress`: the whole ten that the job has reached."""
    subject: JobState | Completion | None = None
    live: Live | None = None
    """What is known beside the subject, of a job that runs."""

    @property
    def sequence(self) -> int:
        return SEQUENCE[self.type] if self.percent is None else self.percent

    @property
    def is_end(self) -> bool:
        return self.type in (COMPLETED, FAILED, CANCELLED)


def end_of(completion: Completion) -> JobEvent:
    kind = (
        COMPLETED if isinstance(completion, JobCompleted)
        else CANCELLED if isinstance(completion, JobCancelled)
        else FAILED
    )  # fmt: skip
    return JobEvent(
        completion.job, completion.tenant, kind, completion.ended_at, completion.webhook_url, subject=completion
    )


def start_of(state: JobState) -> JobEvent | None:
    """None unless the job's very first task has just been taken up."""
    lease = state.lease
    first = sum(stage.dispatches for stage in state.stages.values()) == 1
    if state.status is not JobStatus.RUNNING or lease is None or lease.started_at is None or not first:
        return None
    return JobEvent(state.job, state.tenant, STARTED, lease.started_at, subject=state)


def type_for(job_event: JobEvent, wanted: tuple[str, ...]) -> str | None:
    """As what a receiver hears of it. A cancelled video has failed, as the API says, unless one asks to be told."""
    if job_event.type in wanted:
        return job_event.type
    return FAILED if job_event.type == CANCELLED and FAILED in wanted else None


def event_of(job_event: JobEvent, type: str) -> str:
    """The id of the event that a receiver hears of as `type`: each ten of percent is an event of its own."""
    return event_id(job_event.job, type if job_event.percent is None else f"{type}/{job_event.percent}")


def body_of(job_event: JobEvent, type: str, full: bool = False) -> str:
    """The request's body, the same for every receiver of the event that wants as much of it."""
    moment = datetime.fromtimestamp(job_event.at, UTC)
    event = {
        "id": event_of(job_event, type),
        "object": "event",
        "created_at": int(job_event.at),
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": type,
        "data": whole(job_event) if full else summary(job_event),
    }
    return orjson.dumps(event).decode()


def without_video(body: str) -> str:
    """The same event without the whole video in it: what is left of a full body once its job has been deleted."""
    event = orjson.loads(body)
    data = {name: value for name, value in event["data"].items() if name in THIN_FIELDS}
    return orjson.dumps(event | {"data": data}).decode()


def summary(job_event: JobEvent) -> dict[str, str | int]:
    data: dict[str, str | int] = {"id": job_event.job, "sequence": job_event.sequence}
    return data if job_event.percent is None else data | {"progress": job_event.percent}


def whole(job_event: JobEvent) -> dict[str, Any]:
    """The Video object beside the sequence; what is thin where nothing more is known."""
    if job_event.subject is None:
        return summary(job_event)
    video = full_video(job_event.subject, job_event.live)
    return video.model_dump(mode="json") | {"sequence": job_event.sequence}
