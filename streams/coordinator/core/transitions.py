"""The state machine of one job: pure transitions from a state to the next, or to what changes in it.

Those that every job goes through give the changes alone: `Ledger.put` makes the next state of them, in one copy.
"""

from __future__ import annotations

from typing import Any

from schemas.base import construct
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import LONGEST_URL
from schemas.events.reports import Done
from schemas.job import FORMAT, Attempt, JobState, JobStatus, Lease, StageState
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage

Changes = dict[str, Any]
"""Fields of a job's state with their next values."""

ATTEMPTS_KEPT, LATEST_KEPT = 20, 4
LATEST_ERROR, EARLIER_ERROR = 1000, 200
"""Characters of each text of an error in a job's history: of the latest attempts, of those before (`bounds`)."""


def change_stage(state: JobState, stage: Stage, **changes: Any) -> JobState:
    """The state with some fields of one stage changed."""
    return state.replace(stages=state.stages | {stage: state.stages[stage].replace(**changes)})


def with_recipe(state: JobState, recipe: Recipe, keys: dict[Stage, str], now: float) -> JobState:
    """An accepted job: it waits for its first stage."""
    stages = {stage: construct(StageState, key=keys[stage]) for stage in STAGES}
    return state.replace(recipe=recipe, **waiting(stages, STAGES[0], now))


def wait_for(state: JobState, stage: Stage, now: float, delay: float = 0.0) -> JobState:
    """The job waits for a worker of `stage`, not before `delay` seconds have passed."""
    return state.replace(**waiting(state.stages, stage, now, delay))


def waiting(records: dict[Stage, StageState], stage: Stage, now: float, delay: float = 0.0) -> Changes:
    """These are the records of its stages, and one of them waits."""
    record = records[stage].replace(waiting_since=now, not_before=now + delay if delay else 0.0)
    return {"stages": records | {stage: record}, "status": JobStatus.WAITING, "stage": stage, "lease": None}


def dispatched(state: JobState, lease: Lease) -> Changes:
    """The job's stage is leased. Waiting time counts from when the job could have been placed."""
    now, records = lease.dispatched_at, state.stages
    record = records[lease.stage]
    waited = record.wait_seconds + max(now - max(record.waiting_since or now, record.not_before), 0.0)
    record = record.replace(dispatches=record.dispatches + 1, waiting_since=None, not_before=0.0, wait_seconds=waited)
    return {"stages": records | {lease.stage: record}, "status": JobStatus.RUNNING, "lease": lease}


def lease_ended(
    state: JobState, outcome: str, now: float, seconds: float = 0.0, error: ErrorReport | None = None,
    suspicious: bool = False,
) -> JobState:  # fmt: skip
    """The current lease goes into the history, and its seconds count as wasted: it led to nothing."""
    lease = state.lease
    if lease is None:
        return state
    state = state.replace(lease=None, attempts=history(state, outcome, now, seconds, error, suspicious))
    if lease.stage not in state.stages:
        return state
    stage = state.stages[lease.stage]
    return change_stage(state, lease.stage, wasted_seconds=stage.wasted_seconds + seconds)


def history(
    state: JobState, outcome: str, now: float, seconds: float = 0.0, error: ErrorReport | None = None,
    suspicious: bool = False,
) -> tuple[Attempt, ...]:  # fmt: skip
    """The latest ended leases of a job, with the one that it holds."""
    lease = state.lease
    if lease is None:
        return state.attempts
    attempt = construct(
        Attempt, stage=lease.stage, lease=lease.number, worker=lease.worker, outcome=outcome,
        dispatched_at=lease.dispatched_at, ended_at=now, seconds=seconds, error=error and error.brief(LATEST_ERROR),
        suspicious=suspicious, alone=lease.alone,
    )  # fmt: skip
    kept = (*state.attempts, attempt)[-ATTEMPTS_KEPT:]
    if len(kept) <= LATEST_KEPT:
        return kept
    return (*[shortened(past) for past in kept[:-LATEST_KEPT]], *kept[-LATEST_KEPT:])


def shortened(past: Attempt) -> Attempt:
    return past if past.error is None else past.replace(error=past.error.brief(EARLIER_ERROR))


def accepted_output(
    state: JobState, done: Done, attempts: tuple[Attempt, ...], now: float, bit_class: str | None
) -> Changes:
    """The output of a stage exists. The job waits for the next stage, or has all it needs to complete.

    `attempts`: its ended leases, with the one that has ended by this. `bit_class`: of the worker that made it; None
    where nobody knows it any more. Of a repair the failures stay counted: an output that is lost again and again ends
    the job.
    """
    stage, records = done.stage, state.stages
    record = records[stage]
    has_repaired = bool(record.condemned_etag)
    records = records | {stage: record.replace(
        artifact=done.artifact, condemned_etag=None, seconds=done.seconds, worker=done.worker, reused=done.reused,
        resumed_from_step=done.resumed_from_step, unusable_checkpoint_step=unusable_checkpoint(record, done, bit_class),
        timings=done.timings,
        failures=record.failures if has_repaired else 0,
        failures_by_kind=record.failures_by_kind if has_repaired else {},
        setbacks=0, suspicions=0, lost_alone=0, checkpoints={},
    )}  # fmt: skip
    downstream = stage.downstream
    changes = {"stages": records, "lease": None} if downstream is None else waiting(records, downstream, now)
    return changes | {"attempts": attempts}


def unusable_checkpoint(record: StageState, done: Done, own: str | None) -> int | None:
    """The furthest step that was saved, where the stage began anew since none was of the worker's `own` bit class."""
    if own is None or not record.checkpoints or done.reused or done.resumed_from_step is not None:
        return None
    return max((step for bit_class, step in record.checkpoints.items() if bit_class != own), default=None)


def failed_attempt(state: JobState, stage: Stage, error: ErrorReport, charged: bool = True) -> JobState:
    """Count the failure where its kind says that it counts; one that is not `charged` costs no attempt."""
    record = state.stages[stage]
    if charged and error.retry.costs_attempt:
        return change_stage(state, stage, **one_more_failure(record, error.kind))
    return change_stage(state, stage, setbacks=record.setbacks + 1)


def one_more_failure(record: StageState, kind: ErrorKind) -> dict[str, Any]:
    by_kind = record.failures_by_kind
    return {
        "failures": record.failures + 1,
        "failures_by_kind": by_kind | {kind.value: by_kind.get(kind.value, 0) + 1},
    }


def condemn(state: JobState, stage: Stage, etag: str) -> JobState:
    """The output of `stage` at `etag` is no good: that stage runs again."""
    counted = one_more_failure(state.stages[stage], ErrorKind.INPUT_LOST)
    return change_stage(state, stage, artifact=None, condemned_etag=etag, **counted)


def is_output_wanted(state: JobState, stage: Stage, key: str, artifact: ArtifactRef | None = None) -> bool:
    """Whether a result for `key` is one the job still asks for (also under a lease that is void)."""
    records, upstream = state.stages, stage.upstream
    record = records.get(stage)
    if state.status.ended or record is None or record.key != key or record.artifact is not None:
        return False
    if upstream is not None and records[upstream].artifact is None:
        return False
    return artifact is None or artifact.etag != record.condemned_etag


def is_suspect(state: JobState) -> bool:
    """Whether workers have vanished with its present stage: then it runs alone."""
    stage = state.stage
    return stage is not None and state.stages[stage].suspicions > 0


def ended(state: JobState, status: JobStatus, now: float, **changes: Any) -> JobState:
    return state.replace(status=status, ended_at=now, lease=None, **changes)


def slim(state: JobState) -> JobState:
    """What always fits into a record: the job and how it stands, without what a tenant or a worker may make long.

    Of its leases the newest stays, from which the next life of the coordinator learns where the numbers go on.
    """
    newest = max(state.attempts, key=lambda past: past.lease, default=None)
    attempts = () if newest is None else (newest.replace(error=None, worker=newest.worker[:255]),)
    keys = {stage: construct(StageState, key=record.key) for stage, record in state.stages.items()}
    return state.replace(
        attempts=attempts, stages=keys, recipe=None, asked=None, runs={}, metadata={}, traceparent=None,
        error=state.error and state.error.brief(EARLIER_ERROR), cancel_reason=brief(state.cancel_reason, 512),
        webhook_url=state.webhook_url if len(state.webhook_url or "") <= LONGEST_URL else None,
        video=brief_ref(state.video), poster=brief_ref(state.poster), spritesheet=brief_ref(state.spritesheet),
    )  # fmt: skip


def brief_ref(ref: ObjectRef | None) -> ObjectRef | None:
    """With words no longer than any that the line itself gives an object."""
    return ref and ref.replace(name=ref.name[:255], sha256=ref.sha256[:255], media_type=ref.media_type[:255])


def brief(text: str | None, longest: int) -> str | None:
    return text and text[:longest]


def deleted(state: JobState, now: float) -> JobState:
    """What stays of a deleted job: that there was one, so that a replay of its prompt is no new job.

    Its leases stay too, since from them the next life of the coordinator learns where the numbers go on, and the keys
    of its stages, by which what it left in the store can be found and removed.
    """
    attempts = tuple(past.replace(error=None, seconds=0.0) for past in state.attempts)
    keys = {stage: construct(StageState, key=record.key) for stage, record in state.stages.items()}
    return state.replace(
        status=JobStatus.DELETED, deleting=False, deleted_at=now, attempts=attempts, stage=None, stages=keys,
        recipe=None, asked=None, exact=None, runs={}, priority=0, lease=None, retention=None, expires_at=None,
        cancel_reason=None, error=None, video=None, poster=None, spritesheet=None, metadata={}, traceparent=None,
        webhook_url=None,
    )  # fmt: skip


def new_job(job: str, tenant: str, body_digest: str, now: float, **fields: Any) -> JobState:
    return construct(
        JobState, job=job, tenant=tenant, version=1, status=JobStatus.WAITING, body_digest=body_digest,
        accepted_at=now, updated_at=now, format=FORMAT, **fields,
    )  # fmt: skip
