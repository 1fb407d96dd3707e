"""The ends of a job: one terminal state, one completion event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from schemas.base import construct
from schemas.catalogue import CatalogueRecord, record_of
from schemas.errors import ChildDied, ErrorKind, ErrorReport, report_of
from schemas.events.artifacts import ObjectRef
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed, StageSummary
from schemas.events.prompts import LONGEST_URL
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.core import transitions
from streams.coordinator.core.effects import Catalogue, Complete, DeadLetter, Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger


def complete(
    ledger: Ledger, policy: Policy, state: JobState, objects: Mapping[str, ObjectRef], now: float
) -> list[Effect]:
    """`objects`: those of the last stage by name, a `video` among them.

    The catalogue has the video from its completion on, unless the job was to be deleted meanwhile.
    """
    files = {name: objects.get(name) for name in ("video", "poster", "spritesheet")}
    expires_at = policy.expiry(state.retention, now)
    state = end(ledger, state, JobStatus.COMPLETED, now, expires_at=expires_at, **files)
    assert state.recipe is not None
    event = construct(
        JobCompleted, **shared(state), **files, seconds=state.recipe.seconds, bucket=policy.bucket,
        expires_at=expires_at,
    )  # fmt: skip
    record = None if state.deleting else record_of(state)
    catalogued = [Catalogue(state.job, CatalogueRecord.of(record))] if record else []
    return [Complete(event, state.traceparent), *catalogued]


def fail(
    ledger: Ledger, state: JobState, error: ErrorReport, now: float, evidence: tuple[str, ...] = ()
) -> list[Effect]:
    """A bug, and what killed its compute child each time, also leave a dead letter with the evidence at hand."""
    stage = state.stage
    state = end(ledger, state, JobStatus.FAILED, now, error=error)
    effects: list[Effect] = [
        Complete(construct(JobFailed, **shared(state), error=error, stage=stage), state.traceparent)
    ]
    if error.kind in (ErrorKind.BUG, ErrorKind.UNKNOWN) or error.code == ChildDied.code:
        message = "\n".join((error.message, *evidence))
        effects.append(DeadLetter(error.code, message, state.to_bytes(), [], f"jobs/{state.job}", state.job))
    return effects


def cancel(ledger: Ledger, state: JobState, reason: str, now: float) -> list[Effect]:
    stage = state.stage
    state = end(ledger, state, JobStatus.CANCELLED, now, cancel_reason=reason)
    return [Complete(construct(JobCancelled, **shared(state), reason=reason, stage=stage), state.traceparent)]


def end(ledger: Ledger, state: JobState, status: JobStatus, now: float, **changes: Any) -> JobState:
    """The state that the completion tells of. A job that was to be deleted is remembered as that alone."""
    state = ledger.put(transitions.ended(state, status, now, **changes), now)
    if state.deleting:
        ledger.put(transitions.deleted(state, now), now)
    return state


def guarded(ledger: Ledger, job: str, now: float, act: Callable[[], list[Effect]]) -> list[Effect]:
    """What a timer does to one job. If it raises, that job is failed and dead-lettered; the cell goes on (rule 17)."""
    try:
        return act()
    except Exception as error:
        state = ledger.jobs.get(job)
        return [] if state is None or state.status.ended else fail(ledger, state, report_of(error), now)


def shared(state: JobState) -> dict[str, Any]:
    """What every completion says."""
    return {
        "job": state.job,
        "tenant": state.tenant,
        "accepted_at": state.accepted_at,
        "ended_at": state.ended_at,
        "recipe": state.recipe,
        "asked": state.asked,
        "stages": tuple(summary(state, stage) for stage in state.stages),
        "metadata": state.metadata,
        "webhook_url": state.webhook_url,
    }


def slim(event: JobCompleted | JobFailed | JobCancelled) -> JobCompleted | JobFailed | JobCancelled:
    """A completion without what a tenant or a worker may make long."""
    less: dict[str, Any] = {"recipe": None, "asked": None, "stages": (), "metadata": {}}
    if isinstance(event, JobCompleted):
        refs = {"video": event.video, "poster": event.poster, "spritesheet": event.spritesheet}
        less |= {name: transitions.brief_ref(ref) for name, ref in refs.items()}
    elif isinstance(event, JobFailed):
        less["error"] = event.error.brief(transitions.EARLIER_ERROR)
    elif isinstance(event, JobCancelled):
        less["reason"] = event.reason[:512]
    if len(event.webhook_url or "") > LONGEST_URL:
        less["webhook_url"] = None
    return event.replace(**less)


def summary(state: JobState, stage: Stage) -> StageSummary:
    record = state.stages[stage]
    return construct(
        StageSummary, stage=stage, attempts=record.dispatches, wait_seconds=record.wait_seconds, seconds=record.seconds,
        wasted_seconds=record.wasted_seconds, worker=record.worker, reused=record.reused,
        resumed_from_step=record.resumed_from_step, unusable_checkpoint_step=record.unusable_checkpoint_step,
        timings=record.timings,
    )  # fmt: skip
