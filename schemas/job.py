"""The state of a job: the record of the compacted `jobs` topic, written only by the coordinator."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen, OpenEnum, plain_members
from schemas.errors import ErrorReport
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import Runs
from schemas.recipe import Recipe
from schemas.retention import Retention
from schemas.stage import Stage

FORMAT = 4
"""Raised when a field comes that a job may not lose: a release that does not know it must not carry the job on."""


class StateTooNew(Exception):
    """A newer release wrote this: carried on by this one, the job would lose what it does not know."""

    def __init__(self, job: str, written: int) -> None:
        super().__init__(
            f"the state of {job} has format {written}, and this release carries on formats up to {FORMAT}: "
            "it was written by a newer release, run that one again"
        )


@plain_members
class JobStatus(OpenEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.DELETED)


class Lease(Frozen):
    """One dispatch of a job's stage to one incarnation. Numbers rise in a cell."""

    number: int = Field(ge=1)
    incarnation: str
    worker: str
    stage: Stage
    partition: int
    dispatched_at: float
    started_at: float | None = None
    alone: bool = Field(False, description="of a suspect: nothing else runs on its node")


class Attempt(Frozen):
    """A lease that has ended, for people who ask what happened."""

    stage: Stage
    lease: int
    worker: str
    outcome: str = Field(
        description="done, failed, preempted, cancelled, lost, voided, superseded, overdue, input_lost"
    )
    dispatched_at: float
    ended_at: float
    seconds: float = 0.0
    error: ErrorReport | None = None
    suspicious: bool = Field(False, description="a loss that makes the job a suspect")
    alone: bool = Field(False, description="nothing else ran on its node")


class StageState(Frozen):
    key: str
    waiting_since: float | None = None
    not_before: float = Field(0.0, description="a retry may not be dispatched earlier")
    dispatches: int = 0
    failures: int = Field(0, description="failures that cost an attempt, since the last success")
    setbacks: int = Field(0, description="failures that cost none (infrastructure), for the back-off")
    failures_by_kind: dict[str, int] = Field({}, description="the failures, each kind of error with its own budget")
    suspicions: int = Field(0, description="started leases that vanished with their worker, since it got on")
    lost_alone: int = Field(0, description="of these, the ones with nothing else on the node: they count to the limit")
    checkpoints: dict[str, int] = Field({}, description="furthest durable step that was heard of, by bit class")
    artifact: ArtifactRef | None = None
    condemned_etag: str | None = None
    seconds: float = 0.0
    wasted_seconds: float = 0.0
    wait_seconds: float = 0.0
    worker: str | None = None
    reused: bool = False
    resumed_from_step: int | None = None
    unusable_checkpoint_step: int | None = Field(
        None, description="furthest checkpoint there was, of other bit classes alone: the stage started over"
    )
    timings: dict[str, float] = {}


class JobState(Frozen):
    """Truth about one job. An ended job keeps this as its stub, so that a replayed prompt is a no-op."""

    job: str
    tenant: str
    version: int = Field(ge=1, description="rises with every change")
    status: JobStatus
    body_digest: str = Field(
        description="of the prompt event; another body under the same id is a conflict; empty: only a cancel has come"
    )
    accepted_at: float
    updated_at: float
    ended_at: float | None = None
    priority: int = 0
    recipe: Recipe | None = None
    asked: Recipe | None = Field(None, description="what was asked for, where `recipe` is a variant of it")
    exact: bool | None = Field(None, description="no variant may be served")
    runs: Runs = {}
    stage: Stage | None = Field(None, description="the stage that waits or runs")
    stages: dict[Stage, StageState] = {}
    lease: Lease | None = None
    attempts: tuple[Attempt, ...] = Field((), description="the latest ended leases, oldest first")
    cancel_reason: str | None = Field(None, description="a cancel waits for the running lease to end")
    deleting: bool = Field(False, description="it is to be forgotten as soon as it has ended")
    error: ErrorReport | None = None
    video: ObjectRef | None = None
    poster: ObjectRef | None = None
    spritesheet: ObjectRef | None = None
    metadata: dict[str, str] = {}
    traceparent: str | None = None
    webhook_url: str | None = Field(None, description="of the prompt; its completion carries it to the notifier")
    retention: Retention | None = Field(None, description="unset: accepted before there were classes; kept")
    expires_at: float | None = Field(None, description="of its video; unset: kept until somebody deletes it")
    deleted_at: float | None = None
    format: int = Field(1, ge=1, description="a coordinator that knows only lower ones must not carry the job on")

    @property
    def migrated(self) -> JobState:
        """The state as this release carries it on. Raises `StateTooNew`."""
        if self.format > FORMAT:
            raise StateTooNew(self.job, self.format)
        return self if self.format == FORMAT else self.replace(format=FORMAT)

    @property
    def is_submitted(self) -> bool:
        """Whether its prompt has come. If not, this is what a cancel left that overtook it (protocol rule 25)."""
        return self.body_digest != ""
