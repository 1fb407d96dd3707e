"""What a webhook says: OpenAI's thin shape, and what Standard Webhooks asks for beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from schemas.events import Completion, JobCancelled, JobCompleted
from schemas.job import JobState, JobStatus
from schemas.webhooks import CANCELLED, COMPLETED, FAILED, STARTED, event_id

SEQUENCE = {STARTED: 1, COMPLETED: 2, FAILED: 2, CANCELLED: 2}
"""Deliveries come in any order: a receiver drops what has a lower number than what it knows of the video."""


@dataclass(frozen=True)
class Happening:
    """Something about a job that somebody may want to hear of."""

    job: str
    tenant: str
    type: str
    at: float
    url: str | None = None
    """The `webhook_url` of its prompt, where that one is to hear of it."""


def end_of(completion: Completion) -> Happening:
    kind = (
        COMPLETED if isinstance(completion, JobCompleted)
        else CANCELLED if isinstance(completion, JobCancelled)
        else FAILED
    )  # fmt: skip
    return Happening(completion.job, completion.tenant, kind, completion.ended_at, completion.webhook_url)


def start_of(state: JobState) -> Happening | None:
    """None unless the job's very first task has just been taken up."""
    lease = state.lease
    first = sum(stage.dispatches for stage in state.stages.values()) == 1
    if state.status is not JobStatus.RUNNING or lease is None or lease.started_at is None or not first:
        return None
    return Happening(state.job, state.tenant, STARTED, lease.started_at)


def type_for(happening: Happening, wanted: tuple[str, ...]) -> str | None:
    """As what a receiver hears of it. A cancelled video has failed, as the API says, unless one asks to be told."""
    if happening.type in wanted:
        return happening.type
    return FAILED if happening.type == CANCELLED and FAILED in wanted else None


def body_of(job: str, type: str, at: float) -> str:
    """The request's body, the same for every receiver of the event."""
    event = {
        "id": event_id(job, type),
        "object": "event",
        "created_at": int(at),
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": type,
        "data": {"id": job, "sequence": SEQUENCE[type]},
    }
    return orjson.dumps(event).decode()
