"""Usage by tenant and by stage, as a fold over `jobs` and `completions`: plain functions, no Kafka, no clock.

The fold gives the same view whatever the order of events and however often each is seen: a job counts once, in the
window in which it ended, from whichever of the two topics says so first (both say the same); until then its highest
version wins. Durations add up in whole milliseconds, since sums of floats would depend on their order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed, StageSummary
from schemas.events.usage import UsageWindow
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.kafka.topics import COMPLETIONS

WINDOW_SECONDS = 3600.0
KEPT_SECONDS = COMPLETIONS.retention_ms / 1000
"""Windows older than this are let go: their sources may no longer be there to rebuild them from."""

OUTCOMES = {JobCompleted: "completed", JobFailed: "failed", JobCancelled: "cancelled"}


@dataclass(frozen=True)
class Ended:
    """What the end of a job adds to usage."""

    job: str
    tenant: str
    outcome: str
    at: float
    video_ms: int
    stages: tuple[StageSummary, ...]


@dataclass(frozen=True)
class Active:
    """A job that has not ended, as of one version of its state."""

    tenant: str
    version: int
    status: JobStatus
    stage: Stage | None


@dataclass
class TenantWindow:
    """Sums over the jobs of a tenant that ended in one window."""

    jobs: Counter[str] = field(default_factory=Counter)
    video_ms: int = 0
    compute_ms: Counter[Stage] = field(default_factory=Counter)

    def add(self, ended: Ended) -> None:
        self.jobs[ended.outcome] += 1
        self.video_ms += ended.video_ms
        for stage in ended.stages:
            self.compute_ms[stage.stage] += milliseconds(stage.seconds)

    def event(self, tenant: str, start: float) -> UsageWindow:
        return UsageWindow(
            tenant=tenant,
            window_start=start,
            window_seconds=WINDOW_SECONDS,
            jobs=dict(self.jobs),
            video_seconds=self.video_ms / 1000,
            compute_seconds={stage.value: total / 1000 for stage, total in self.compute_ms.items()},
        )


@dataclass
class StageWindow:
    """Sums over the jobs that reached a stage and ended in one window, by the jobs' outcome."""

    jobs: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    reused: int = 0
    compute_ms: int = 0
    wasted_ms: int = 0
    wait_ms: int = 0

    def add(self, ended: Ended, stage: StageSummary) -> None:
        self.jobs[ended.outcome] += 1
        self.attempts += stage.attempts
        self.reused += stage.reused
        self.compute_ms += milliseconds(stage.seconds)
        self.wasted_ms += milliseconds(stage.wasted_seconds)
        self.wait_ms += milliseconds(stage.wait_seconds)


@dataclass
class Usage:
    """The accumulated view. Windows are tumbling and named by their start, unix seconds."""

    tenants: dict[tuple[str, float], TenantWindow] = field(default_factory=dict)
    stages: dict[tuple[Stage, float], StageWindow] = field(default_factory=dict)
    active: dict[str, Active] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    """Job to the window in which it ended."""

    def take_state(self, job: str, state: JobState | None, horizon: float = 0.0) -> tuple[str, float] | None:
        """Fold in a record of `jobs`; None is its tombstone. The tenant window that changed, if one did."""
        if state is None:
            self.active.pop(job, None)
            return None
        if not state.is_submitted:
            return None
        if state.status is JobStatus.DELETED:
            # Nothing is left to count there; `completions` tells how it ended.
            self.active.pop(job, None)
            return None
        if state.status.ended:
            return self.count(ended_of_state(state), horizon)
        known = self.active.get(job)
        if job not in self.ended and (known is None or known.version < state.version):
            self.active[job] = Active(state.tenant, state.version, state.status, state.stage)
        return None

    def take_completion(self, completion: Completion, horizon: float = 0.0) -> tuple[str, float] | None:
        """Fold in a record of `completions`. The tenant window that changed, if one did."""
        return self.count(ended_of_completion(completion), horizon)

    def count(self, ended: Ended, horizon: float) -> tuple[str, float] | None:
        """Count an ended job once, unless it ended in a window that begins before `horizon`."""
        self.active.pop(ended.job, None)
        start = window_start(ended.at)
        if ended.job in self.ended or start < horizon:
            return None
        self.ended[ended.job] = start
        self.tenants.setdefault((ended.tenant, start), TenantWindow()).add(ended)
        for stage in ended.stages:
            self.stages.setdefault((stage.stage, start), StageWindow()).add(ended, stage)
        return ended.tenant, start

    def forget(self, horizon: float) -> None:
        """Let go of the windows that begin before `horizon`, and of their jobs."""
        self.tenants = {key: window for key, window in self.tenants.items() if key[1] >= horizon}
        self.stages = {key: window for key, window in self.stages.items() if key[1] >= horizon}
        self.ended = {job: start for job, start in self.ended.items() if start >= horizon}


def ended_of_state(state: JobState) -> Ended:
    """The end that a terminal state tells of."""
    completed = state.status is JobStatus.COMPLETED and state.recipe is not None
    stages = tuple(
        StageSummary(
            stage=stage, attempts=of.dispatches, wait_seconds=of.wait_seconds, seconds=of.seconds,
            wasted_seconds=of.wasted_seconds, reused=of.reused,
        )
        for stage, of in state.stages.items()
    )  # fmt: skip
    video = state.recipe.seconds if completed and state.recipe else 0.0
    at = state.updated_at if state.ended_at is None else state.ended_at
    return Ended(state.job, state.tenant, state.status.value, at, milliseconds(video), stages)


def ended_of_completion(completion: Completion) -> Ended:
    video = completion.seconds if isinstance(completion, JobCompleted) else 0.0
    outcome = OUTCOMES[type(completion)]
    return Ended(
        completion.job, completion.tenant, outcome, completion.ended_at, milliseconds(video), completion.stages
    )


def window_start(at: float) -> float:
    return at // WINDOW_SECONDS * WINDOW_SECONDS


def horizon_of(now: float) -> float:
    """Start of the oldest window that is kept."""
    return window_start(now - KEPT_SECONDS) + WINDOW_SECONDS


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
